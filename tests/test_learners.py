"""Learners against NumPy ones, known curves and each other's promises."""

import dataclasses
import json
import pathlib
from typing import NamedTuple
from unittest import mock

import gymnax
from gymnax.environments import environment
from gymnax.environments import spaces
import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax import metrics
from adjax import types
from adjax.envs import adapters
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import annealed_oracle
from adjax.learners import coverage_search
from adjax.learners import exploration
from adjax.learners import posterior
from adjax.learners import references
from adjax.learners import rmax
from adjax.learners import tables
from adjax.learners import tabular_q

CURVES = json.loads((pathlib.Path(__file__).parents[1] / 'adjax' / 'experiment'
                     / 'paper_curves.json').read_text())['curves']
KEY_TO_DOOR = dark_room.Config(
    size=5, num_goals=2, episode_length=30, pays_once=True, random_start=True,
    num_train=20, num_validation=5, num_held_out=5)


def curve(learner, tasks, some, runs, episodes):
  """Mean return [E] on some tasks."""
  history, _ = histories.generate(
      learner, some, jax.random.key(0), runs, episodes * tasks.episode_length)
  return np.asarray(metrics.learning_curves(
      history.reward, history.done, episodes)).mean((0, 1))


class CorridorState(NamedTuple):
  time: jax.Array
  cell: jax.Array


class Corridor(environment.Environment):
  """Five cells in a row; the right end pays 1 and ends the episode."""

  @property
  def default_params(self):
    return environment.EnvParams(max_steps_in_episode=30)

  def action_space(self, params=None):
    return spaces.Discrete(2)

  def observation_space(self, params=None):
    return spaces.Box(0, 4, (1,), jnp.int8)

  def reset_env(self, key, params):
    return jnp.zeros(1, jnp.int8), CorridorState(jnp.int32(0), jnp.int32(0))

  def step_env(self, key, state, action, params):
    cell = jnp.clip(state.cell + 2 * action - 1, 0, 4)
    end = cell == 4
    state = CorridorState(state.time + 1, cell)
    return (cell[None].astype(jnp.int8), state, end.astype(jnp.float32), end,
            {})


def corridor_tasks(env=None):
  env = env or Corridor()
  one = jax.tree.map(lambda x: jnp.array([x]), env.default_params)
  return types.TaskDistribution(env, one, one, one, 30, one)


class NoisyState(NamedTuple):
  time: jax.Array
  cell: jax.Array
  hidden: jax.Array


class Noisy(Corridor):
  """A corridor with something that is drawn, or only looks like it."""

  def __init__(self, where):
    self.where = where

  def reset_env(self, key, params):
    cell = jnp.int32(0)
    if self.where == 'start':
      cell = jax.random.randint(key, (), 0, 3)
    hidden = key if self.where == 'key in the state' else jnp.float32(0)
    return cell[None].astype(jnp.int8), NoisyState(jnp.int32(0), cell, hidden)

  def step_env(self, key, state, action, params):
    die, _ = jax.random.uniform(key), jax.random.split(key)
    slips = {'rare slip': die < 1e-6}.get(self.where, False)
    obs, inner, reward, end, info = super().step_env(
        key, state, jnp.where(slips, 0, action), params)
    reward += {'reward': die}.get(self.where, 0)
    hidden = {'hidden': die}.get(self.where, state.hidden)
    seen = jax.jit(lambda obs, key: obs)(obs, key)
    return seen, NoisyState(*inner, hidden), reward, end, info

  def step(self, key, state, action, params=None):
    obs, state, reward, *rest = super().step(key, state, action, params)
    if self.where == 'reward of a wrapper':
      reward += jax.random.normal(key)
    return obs, state, reward, *rest


@pytest.mark.parametrize('name, config, runs', [
    ('dark_room', dark_room.DARK_ROOM, 90),
    ('dark_room_hard', dark_room.DARK_ROOM_HARD, 20),
    ('key_to_door', dark_room.KEY_TO_DOOR, 1)])
@pytest.mark.long
def test_memory_and_posterior_sampling_follow_their_known_curves(
    name, config, runs):
  tasks = dark_room.tasks(config)
  some, learners = tasks.hypotheses, [(
      references.random_walk_with_memory(tasks), 'random_walk_with_memory', 30)]
  if name == 'key_to_door':  # 6561 hypotheses each are for longer runs.
    some = jax.tree.map(lambda x: x[::3], some)
  else:
    learners.append((posterior.learner(posterior.Config(), tasks),
                     'posterior_sampling', 12))
  for learner, known, episodes in learners:
    found = curve(learner, tasks, some, runs, episodes)
    expected = np.asarray(CURVES[name][known][:episodes])
    spread = {'dark_room': 0.35, 'dark_room_hard': 0.02,
              'key_to_door': 0.06}[name]
    np.testing.assert_allclose(found, expected, atol=spread)
    # No learner is above the bound, and the means of many episodes agree.
    bound = np.asarray(CURVES[name]['upper_bound'][:episodes])
    assert (found < bound + spread).all()
    assert found.mean() == pytest.approx(expected.mean(), abs=spread)


def test_random_acts_at_random():
  tasks = dark_room.tasks()
  history, _ = histories.generate(
      references.random(tasks), tasks.train, jax.random.key(0), 4, 500)
  share = np.bincount(np.asarray(history.action).ravel(), minlength=5)
  np.testing.assert_allclose(share / share.sum(), 0.2, atol=0.01)


def test_a_posterior_never_drops_the_truth_and_samples_what_is_left():
  """With random starts and all 625 key-to-door tasks of a 5x5 grid."""
  tasks = dark_room.tasks(KEY_TO_DOOR)
  learner = posterior.learner(posterior.Config(), tasks)
  goals = np.asarray(tasks.hypotheses.goals)

  def rollout(task, key):
    init_key, step_key = jax.random.split(key)
    def step(state, key):
      state, transition = learner.step(task, state, key)
      return state, (state.alive, state.target, transition.reward)
    return jax.lax.scan(step, learner.init(task, init_key),
                        jax.random.split(step_key, 300))[1]

  for n in range(4):
    task = jax.tree.map(lambda x, n=n: x[n], tasks.held_out)
    alive, target, reward = map(np.asarray, jax.jit(rollout)(
        task, jax.random.key(n)))
    truth = (goals == np.asarray(task.goals)).all((1, 2))
    assert truth.sum() == 1 and alive[:, truth].all()
    assert (alive[1:] <= alive[:-1]).all()  # Dropped for good.
    assert alive[np.arange(300), target].all()
    assert alive[-1].sum() < 10 and reward.reshape(10, 30).sum(1)[-1] == 2


@pytest.mark.parametrize('make', [
    posterior.Config().make, coverage_search.Config().make],
    ids=['posterior', 'coverage_search'])
@pytest.mark.parametrize('where', [
    'rare slip', 'reward', 'hidden', 'key in the state', 'reward of a wrapper',
    'start', 'nowhere'])
def test_hypotheses_are_not_told_what_the_task_draws_in_a_step(make, where):
  tasks = dataclasses.replace(
      corridor_tasks(Noisy(where)), goal_policy=lambda obs, goal, key: 1,
      optimal_policy=lambda task, state, key: 1)
  if where in ('start', 'nowhere'):
    make(tasks)
    return
  with pytest.raises(ValueError, match=(
      r"^tasks\.env='Noisy': must be an environment whose steps draw nothing "
      r'at random.*$')):
    make(tasks)


@pytest.mark.parametrize('make', [
    dark_room.DarkRoom, lambda: dark_room.DarkRoom(KEY_TO_DOOR),
    watermaze.Watermaze, watermaze.Frames, lambda: adapters.Adapter(
        adapters.Config('CartPole-v1', permute=True))],
    ids=['dark_room', 'key_to_door', 'watermaze', 'frames', 'cart_pole'])
def test_built_ins_draw_nothing_in_a_step(make):
  posterior.check_steps_draw_nothing(make())


@pytest.mark.parametrize('reward', ['bernoulli', 'gaussian'])
def test_but_bandits_do(reward):
  with pytest.raises(ValueError, match='draw nothing'):
    posterior.check_steps_draw_nothing(
        bandit.Bandit(bandit.Config(reward=reward)))


def test_a_prior_without_the_task_searches_on():
  tasks = dark_room.tasks()
  learner = posterior.learner(posterior.Config(prior='train'), tasks)
  both = jax.tree.map(
      lambda x, y: jnp.concatenate([x[::4], y]), tasks.train, tasks.held_out)
  history, finite = histories.generate(
      learner, both, jax.random.key(0), 8, 60 * tasks.episode_length)
  curves = np.asarray(metrics.learning_curves(
      history.reward, history.done, 60)).mean(1)
  known, found = curves[:-8, 15:20], curves[-8:, -10:]
  assert len(known) == 17 and known.mean() > 16 and found.mean() < 8
  assert finite.all()


@pytest.mark.parametrize('config', [
    tabular_q.Config(),
    tabular_q.Config(learning_rate=1.0, optimism=2.0, epsilon=0.5,
                     final_epsilon=0.0, epsilon_episodes=5),
    tabular_q.Config(count_rewards=2),
    tabular_q.Config(learning_rate=0.5, epsilon=0.5, final_epsilon=0.3,
                     epsilon_episodes=9, lambda_=0.7),
])
def test_q_learning_is_the_textbooks(config):
  """A plain table that replays the history must hold the learner's values."""
  grid = KEY_TO_DOOR if config.count_rewards else dark_room.Config(
      size=5, num_train=5, num_validation=5, num_held_out=5)
  tasks = dark_room.tasks(grid)
  learner = tabular_q.learner(config, tasks)
  task = jax.tree.map(lambda x: x[3], tasks.train)

  def step(state, noise):
    new, transition = learner.step(task, state, noise)
    return new, (jax.tree.map(lambda x: x[0, 0], transition), state.values)

  steps = 12 * grid.episode_length
  _, (moves, before) = jax.lax.scan(
      step, learner.init(task, jax.random.key(0)),
      learner.sample_noise(jax.random.key(1), steps))
  moves, before = jax.tree.map(np.asarray, (moves, before))
  counts = config.count_rewards + 1
  values = np.full((5, 5, counts, 5), config.optimism, np.float32)
  traces = np.zeros_like(values)
  rewards, greedy = 0, []
  for t in range(steps):
    np.testing.assert_allclose(
        before[t], values.reshape(-1, 5), atol=1e-4)
    here = (*moves.obs[t], min(rewards, counts - 1))
    greedy.append(
        values[here][moves.action[t]] >= values[here].max() - 1e-5)
    rewards += int(moves.reward[t] > 0)
    there = (*moves.next_obs[t], min(rewards, counts - 1))
    target = moves.reward[t] + config.discount * values[there].max()
    # Sutton & Barto 1998, figure 7.14, with replacing traces.
    traces *= config.discount * config.lambda_ * greedy[-1]
    traces[here] = np.eye(5)[moves.action[t]]
    values += config.learning_rate * (
        target - values[here][moves.action[t]]) * traces
    if moves.done[t]:
      rewards, traces = 0, np.zeros_like(values)
  assert moves.reward.sum() > 0
  if config.final_epsilon == 0.0:
    assert all(greedy[5 * grid.episode_length:])
    assert not all(greedy[:5 * grid.episode_length])


def test_q_learning_stops_bootstrapping_where_an_episode_ends_by_itself():
  tasks = corridor_tasks()
  learner = tabular_q.learner(
      tabular_q.Config(learning_rate=1.0, optimism=1.0, epsilon=0.2), tasks)
  task = jax.tree.map(lambda x: x[0], tasks.train)
  state, _ = jax.lax.scan(
      lambda state, noise: (learner.step(task, state, noise)[0], None),
      learner.init(task, jax.random.key(0)),
      learner.sample_noise(jax.random.key(1), 2000))
  right = np.asarray(state.values)[:4, 1]
  np.testing.assert_allclose(right, 0.9 ** np.arange(3, -1, -1), atol=1e-5)


def test_rmax_learns_the_corridor_and_tries_everything_once():
  tasks = corridor_tasks()
  learner = rmax.learner(rmax.Config(optimism=10.0), tasks)
  task = jax.tree.map(lambda x: x[0], tasks.train)
  state, _ = jax.lax.scan(
      lambda state, noise: (learner.step(task, state, noise)[0], None),
      learner.init(task, jax.random.key(0)),
      learner.sample_noise(jax.random.key(1), 400))
  assert np.asarray(state.known)[:4].all()
  np.testing.assert_allclose(
      np.asarray(state.values)[:4, 1], 0.9 ** np.arange(3, -1, -1), atol=1e-4)


def test_sources_that_know_nothing_learn_every_goal():
  tasks = dark_room.tasks()
  for learner, episodes in (
      (tabular_q.learner(tabular_q.Config(
          learning_rate=1.0, optimism=1.0, epsilon=0.1, final_epsilon=0.0,
          epsilon_episodes=120), tasks), 170),
      (rmax.learner(rmax.Config(), tasks), 60)):
    found = curve(learner, tasks, tasks.held_out, 4, episodes)
    optimum = np.mean(jax.vmap(tasks.optimal_return)(tasks.held_out))
    assert found[:5].mean() < 0.4 * optimum < 0.97 * optimum < (
        found[-10:].mean())


def test_a_hidden_key_needs_the_rewards_so_far():
  tasks = dark_room.tasks(KEY_TO_DOOR)
  config = dict(learning_rate=1.0, discount=0.9, optimism=0.05)
  blind, told = (
      curve(tabular_q.learner(tabular_q.Config(count_rewards=n, **config),
                              tasks), tasks, tasks.train, 2, 100)[-20:].mean()
      for n in (0, 2))
  assert blind < 1.7 < 1.85 < told


def test_an_oracle_is_annealed():
  tasks = dark_room.tasks()
  learner = annealed_oracle.learner(
      annealed_oracle.Config(anneal_episodes=20), tasks)
  found = curve(learner, tasks, tasks.validation, 40, 25)
  optimum = np.mean(jax.vmap(tasks.optimal_return)(tasks.validation))
  np.testing.assert_allclose(found[20:], optimum, rtol=1e-6)
  assert found[0] < 2 and found[5] < found[10] < found[15] < found[20]


def test_epsilon_greedy_breaks_ties_evenly():
  values = jnp.array([1.0, 3.0, 0.0, 3.0])
  shares = jax.random.uniform(jax.random.key(0), (20_000,))
  for epsilon in (0.0, 0.4, 1.0):
    actions = jax.vmap(exploration.epsilon_greedy, (None, None, 0))(
        values, epsilon, shares)
    share = np.bincount(np.asarray(actions), minlength=4) / len(shares)
    expected = epsilon / 4 + (1 - epsilon) * np.array([0, 0.5, 0, 0.5])
    np.testing.assert_allclose(share, expected, atol=0.015)


choose_allowed = jax.jit(exploration.choose_allowed)
maximum = jax.jit(lambda x: exploration.reduce_values(jnp.maximum, x))


# Few lengths on either side of the switch from one to the other: each compiles.
@hypothesis.given(
    st.sampled_from([1, 7, 32, 33, 60]).flatmap(lambda size: st.lists(
        st.booleans(), min_size=size, max_size=size)).filter(any),
    st.floats(0, 1, exclude_max=True, width=32))
@hypothesis.settings(max_examples=100, deadline=None)
def test_short_and_long_lists_are_chosen_from_alike(allowed, share):
  where = np.flatnonzero(allowed)
  picked = choose_allowed(jnp.array(allowed), jnp.float32(share))
  assert picked == where[min(int(np.float32(share) * np.float32(len(where))),
                             len(where) - 1)]
  values = np.arange(len(allowed)) * np.array(allowed)
  assert maximum(values) == values.max()


def test_a_table_has_a_row_for_every_observation():
  env = dark_room.DarkRoom(KEY_TO_DOOR)
  cells = jnp.asarray(np.indices((5, 5)).reshape(2, -1).T, jnp.int8)
  for count in (0, 2):
    table = tables.table(env, count)
    rewards = jnp.arange(count + 1)
    rows = jax.vmap(lambda obs, table=table, rewards=rewards: jax.vmap(
        table.row, (None, 0))(obs, rewards))(cells)
    assert table.size == 25 * (count + 1)
    assert sorted(np.asarray(rows).ravel()) == list(range(table.size))
    # More rewards than are told apart are the last that are.
    np.testing.assert_array_equal(
        jax.vmap(table.row, (0, None))(cells, jnp.int32(7)), rows[:, -1])


class Shown:
  """What a table asks of an environment."""
  default_params, name = None, 'shown'

  def __init__(self, low, high, dtype):
    self.space = spaces.Box(
        np.array(low, dtype), np.array(high, dtype), (len(low),), dtype)

  def observation_space(self, params):
    return self.space


@hypothesis.given(
    st.sampled_from(['int8', 'int16', 'int32', 'uint8']).flatmap(
        lambda dtype: st.tuples(st.just(dtype), st.lists(
            st.tuples(st.integers(-20, 100).filter(
                lambda low: low >= 0 or dtype != 'uint8'), st.integers(0, 20),
                st.integers(np.iinfo(dtype).min, np.iinfo(dtype).max)),
            min_size=1, max_size=3))),
    st.integers(0, 2))
@hypothesis.settings(max_examples=60, deadline=None)
def test_beyond_its_bounds_a_table_reads_the_nearest_cells_row(box, count):
  dtype, entries = box
  low, more, obs = map(np.array, zip(*entries))
  table = tables.table(Shown(low, low + more, dtype), count)
  nearest = np.clip(obs, low, low + more)
  sizes = more + 1
  row = np.ravel_multi_index(nearest - low, sizes) * (count + 1) + count
  for shown in (obs, nearest):
    assert table.row(jnp.asarray(shown, dtype), jnp.int32(7)) == row
  assert 0 <= row < table.size == sizes.prod() * (count + 1)


def test_a_table_has_a_row_for_every_id():
  env = Corridor()
  with mock.patch.object(env, 'observation_space', lambda _: spaces.Discrete(5),
                         create=True):
    table = tables.table(env, 1)
    rows = [int(table.row(jnp.int32(n), jnp.int32(1))) for n in range(-1, 7)]
  assert table.size == 10 and rows == [1, 1, 3, 5, 7, 9, 9, 9]


@pytest.mark.parametrize('make, message', [
    (lambda: tables.table(Shown([0] * 40, [1] * 40, 'int8')),
     "^env=shown: must have observations of small integers"),
    (lambda: tabular_q.Config(epsilon=2.0), r'^epsilon=2\.0.*0 to 1'),
    (lambda: rmax.Config(discount=1.0), r'^discount=1\.0.*below 1'),
    (lambda: annealed_oracle.Config(anneal_episodes=0),
     '^anneal_episodes=0.*at least 1'),
    (lambda: posterior.Config(prior='some'), "^prior='some'.*'all' or 'train'"),
    (lambda: tables.table(gymnax.make('CartPole-v1')[0]), 'small integers'),
    (lambda: references.oracle(corridor_tasks()),
     '^tasks.optimal_policy=None: must be there for an oracle$'),
    (lambda: references.random_walk_with_memory(corridor_tasks()),
     '^tasks.goal_policy=None: must be there for a random walk with memory$'),
    (lambda: annealed_oracle.Config().make(corridor_tasks()),
     '^tasks.optimal_policy=None: must be there for source=annealed_oracle, '),
    (lambda: posterior.Config().make(corridor_tasks()),
     '^tasks.optimal_policy=None: must be there for source=posterior$'),
    (lambda: posterior.Config().make(dataclasses.replace(
        corridor_tasks(), hypotheses=None)),
     '^tasks.hypotheses=None: must be there for source=posterior, or prior='),
])
def test_a_bad_source_is_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()
