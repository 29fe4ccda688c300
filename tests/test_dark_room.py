"""The grids against plain Python ones, and what is said of their tasks."""

import dataclasses
import itertools

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import metrics
from adjax import types
from adjax.envs import dark_room
from adjax.learners import references

PAPER = {
    'dark_room': dark_room.DARK_ROOM,
    'dark_room_hard': dark_room.DARK_ROOM_HARD,
    'key_to_door': dark_room.KEY_TO_DOOR,
}


class PlainGrid:
  """The rules as the paper tells them, one step at a time, in plain Python."""

  def __init__(self, config, goals):
    self.config, self.goals = config, [tuple(g) for g in goals]

  def reset(self, cell):
    self.x, self.y = cell
    self.time, self.has_key, self.over = 0, False, False
    return self.x, self.y

  def step(self, action):
    size = self.config.size
    if action == 0:
      self.x = max(self.x - 1, 0)
    elif action == 1:
      self.x = min(self.x + 1, size - 1)
    elif action == 2:
      self.y = min(self.y + 1, size - 1)
    elif action == 3:
      self.y = max(self.y - 1, 0)
    self.time += 1
    here, reward, last = (self.x, self.y), 0, False
    if self.config.num_goals == 1:
      if here == self.goals[0] and not (self.config.pays_once and self.over):
        reward, last, self.over = 1, True, True
    elif not self.has_key:
      if here == self.goals[0]:
        reward, self.has_key = 1, True
    elif here == self.goals[1] and not self.over:
      reward, last, self.over = 1, True, True
    terminated = last and self.config.terminate
    return here, reward, terminated, self.time >= self.config.episode_length


def random_task(config, rng):
  goals = rng.integers(0, config.size, (config.num_goals, 2)).astype(np.int8)
  return dark_room.EnvParams(
      goals=jnp.asarray(goals), max_steps_in_episode=config.episode_length)


@hypothesis.given(
    st.sampled_from(sorted(PAPER)), st.booleans(), st.integers(0, 2**31 - 1))
@hypothesis.settings(max_examples=24, deadline=None)
def test_grid_is_the_plain_grid_under_random_actions(name, terminate, seed):
  # A small grid, so that goals are met.
  config = dataclasses.replace(
      PAPER[name], size=5, terminate=terminate, num_train=1, num_validation=1,
      num_held_out=1)
  rng = np.random.default_rng(seed)
  task = random_task(config, rng)
  env, plain = dark_room.DarkRoom(config), PlainGrid(config, task.goals)
  obs, state = env.reset(jax.random.key(seed), task)
  if not config.random_start:
    assert tuple(obs) == (2, 2)
  plain.reset(np.asarray(obs))
  for t, action in enumerate(rng.integers(0, 5, 120)):
    obs, state, reward, terminated, truncated, info = env.step(
        jax.random.fold_in(jax.random.key(seed), t), state, action, task)
    cell, expected, ends, time_up = plain.step(action)
    assert tuple(info['final_observation']) == tuple(cell)
    assert float(reward) == expected
    assert bool(terminated) == ends and bool(truncated) == time_up
    if ends or time_up:
      plain.reset(np.asarray(obs))
    assert tuple(obs) == (plain.x, plain.y)
    assert obs.dtype == env.observation_space(task).dtype


@pytest.mark.parametrize('name', sorted(PAPER))
def test_the_optimal_policy_earns_the_optimal_return(name):
  config = PAPER[name]
  tasks = dark_room.tasks(config)
  some = tasks.held_out if name == 'key_to_door' else tasks.hypotheses
  keys = jax.random.split(jax.random.key(0), types.num_tasks(some))
  steps = 3 * config.episode_length
  history, _ = jax.jit(jax.vmap(lambda task, key: types.unroll(
      references.oracle(tasks), task, key, steps)))(some, keys)
  returns = metrics.learning_curves(history.reward, history.done, 3)[:, 0]
  optimum = jax.vmap(tasks.optimal_return)(some)
  np.testing.assert_array_equal(returns, np.repeat(optimum[:, None], 3, 1))
  if name == 'dark_room':
    assert optimum.mean() == pytest.approx(1340 / 81)


def test_optimal_actions_are_drawn_evenly():
  keys = jax.random.split(jax.random.key(0), 4000)
  actions = jax.vmap(dark_room.goal_policy, (None, None, 0))(
      jnp.array([4, 4], jnp.int8), jnp.array([1, 7], jnp.int8), keys)
  share = np.bincount(np.asarray(actions), minlength=5) / 4000
  np.testing.assert_allclose(share, [0.5, 0, 0.5, 0, 0], atol=0.04)


def test_the_goal_policy_takes_the_shortest_way():
  cells = [jnp.array(cell, jnp.int8)
           for cell in itertools.product(range(5), repeat=2)]
  for a, b in itertools.product(cells[::3], cells[::2]):
    action = int(dark_room.goal_policy(a, b, jax.random.key(0)))
    distance = int(jnp.abs(a - b).sum())
    after = int(jnp.abs(a + dark_room.MOVES[action] - b).sum())
    assert after == max(distance - 1, 0)


@pytest.mark.parametrize('name', sorted(PAPER))
@pytest.mark.parametrize('split_seed', [0, 1, 7])
def test_the_three_sets_are_disjoint(name, split_seed):
  config = dataclasses.replace(PAPER[name], split_seed=split_seed)
  tasks = dark_room.tasks(config)
  sets = [{tuple(g.ravel()) for g in np.asarray(some.goals)}
          for some in (tasks.train, tasks.validation, tasks.held_out)]
  assert [len(s) for s in sets] == [
      config.num_train, config.num_validation, config.num_held_out]
  assert len(set.union(*sets)) == sum(map(len, sets))
  assert types.num_tasks(tasks.hypotheses) == config.num_tasks


def test_there_are_as_many_tasks_as_in_the_paper():
  counts = {name: config.num_tasks for name, config in PAPER.items()}
  assert counts == {'dark_room': 81, 'dark_room_hard': 289,
                    'key_to_door': 6561}
  apart = dataclasses.replace(dark_room.KEY_TO_DOOR, same_cell=False)
  assert types.num_tasks(dark_room.tasks(apart).hypotheses) == 6480


def test_random_starts_are_uniform():
  env = dark_room.DarkRoom(dark_room.KEY_TO_DOOR)
  obs, _ = jax.vmap(env.reset, (0, None))(
      jax.random.split(jax.random.key(0), 81 * 200), env.default_params)
  counts = np.zeros((9, 9))
  np.add.at(counts, tuple(np.asarray(obs).T), 1)
  assert counts.min() > 140 and counts.max() < 260


def test_equal_environments_share_their_programs():
  assert dark_room.DarkRoom() == dark_room.DarkRoom(dark_room.DARK_ROOM)
  assert hash(dark_room.DarkRoom()) == hash(dark_room.DarkRoom())
  # Of the same config, but not the same environment.
  Other = type('Other', (dark_room.DarkRoom,), {})
  assert Other() == Other() and Other() != dark_room.DarkRoom() != Other()


@pytest.mark.parametrize('field, value, allowed', [
    ('size', 8, 'odd'), ('num_goals', 3, '1 or 2'), ('num_train', 80, 'all'),
    ('num_held_out', 0, 'at least 1'), ('episode_length', 7, 'at least 8'),
    ('split_seed', -1, 'at least 0')])
def test_a_bad_grid_is_named(field, value, allowed):
  with pytest.raises(ValueError, match=rf'^[\w +]*{field}.*{allowed}'):
    dark_room.Config(**{field: value})
