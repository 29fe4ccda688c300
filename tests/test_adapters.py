"""Adapted environments against gymnax's own, driven by hand."""

import collections
import functools
import itertools
import os
import subprocess
import sys
from typing import NamedTuple

from flax import struct
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
from adjax import types
from adjax.envs import adapters
from adjax.envs import gymnax_builtins
from adjax.learners import references
from adjax.learners import tables

FEW = dict(num_train=4, num_validation=1, num_held_out=1)
CASES = {
    'cart_pole': adapters.Config(
        'CartPole-v1', ranges=(('length', 0.25, 1.0), ('force_mag', 5.0, 15.0)),
        episode_length=20, **FEW),
    'point_robot': adapters.Config(
        'PointRobot-misc', bins=5, episode_length=15, **FEW),
    'meta_maze': adapters.Config('MetaMaze-misc', episode_length=15, **FEW),
    'catch': adapters.Config('Catch-bsuite', permute=True, **FEW),
    'breakout': adapters.Config('Breakout-MinAtar', permute=True, **FEW),
}
STEPS = 120
BUILTINS = [name for name in gymnax.registered_envs
            if name != 'MNISTBandit-bsuite']
# Nothing is drawn of which there are three, and they have two actions.
TOO_FEW = {'BernoulliBandit-misc', 'CartPole-v1', 'MemoryChain-bsuite',
           'UmbrellaChain-bsuite'}


class Step(NamedTuple):
  """One step: what it began with, and what came of it."""
  key: jax.Array
  state: object
  obs: jax.Array
  action: jax.Array
  reward: jax.Array
  terminated: jax.Array
  truncated: jax.Array
  final_obs: jax.Array


@functools.cache
def rollouts(name):
  """(env, [4] training tasks, Step [4, T]) of a random learner."""
  tasks = adapters.tasks(CASES[name])
  env = tasks.env

  def rollout(task, key):
    reset_key, act_key, step_key = jax.random.split(key, 3)
    actions = jax.random.randint(act_key, (STEPS,), 0, env.num_actions)

    def step(carry, x):
      state, obs = carry
      action, key = x
      new_obs, new, reward, terminated, truncated, info = env.step(
          key, state, action, task)
      return (new, new_obs), Step(
          key, state, obs, action, reward, terminated, truncated,
          info['final_observation'])

    obs, state = env.reset(reset_key, task)
    return jax.lax.scan(
        step, (state, obs), (actions, jax.random.split(step_key, STEPS)))[1]

  keys = jax.random.split(jax.random.key(1), types.num_tasks(tasks.train))
  return env, tasks.train, jax.jit(jax.vmap(rollout))(tasks.train, keys)


def take(tree, *index):
  return jax.tree.map(lambda x: x[index], tree)


def by_hand(name, action, task):
  """What an action means, said again."""
  if name in ('catch', 'breakout'):
    return task.permutation[action]
  if name == 'point_robot':
    values = jnp.array([-0.1, -0.05, 0, 0.05, 0.1])
    return jnp.array([values[action // 5], values[action % 5]])
  return action


@pytest.mark.parametrize('name', sorted(CASES))
def test_a_rollout_is_the_environments_own(name):
  _, tasks, steps = rollouts(name)
  inner, _ = gymnax.make(CASES[name].env_id)

  @jax.jit
  @jax.vmap
  def own(task, steps):
    """What the environment itself makes of every state and action."""
    def one(step):
      # As gymnax 1.0 splits them: for the step, and for the reset after it.
      step_key, reset_key = jax.random.split(step.key)
      begun = inner.reset_env(reset_key, task.inner)
      return inner.step_env(step_key, step.state, by_hand(
          name, step.action, task), task.inner), (
              begun[0], begun[1].replace(**task.drawn))
    return jax.vmap(one)(steps)

  (obs, state, reward, terminated, _), begun = jax.tree.map(
      np.asarray, own(tasks, steps))
  limit = CASES[name].episode_length or 1000
  time, late = np.zeros(4, int), []
  for t in range(STEPS):
    time += 1
    late.append(time == limit)
    time[late[-1] | terminated[:, t]] = 0
  late = np.stack(late, 1)
  np.testing.assert_allclose(steps.final_obs, obs, atol=1e-5)
  np.testing.assert_allclose(steps.reward, reward, atol=1e-5)
  np.testing.assert_array_equal(steps.terminated, terminated)
  np.testing.assert_array_equal(steps.truncated, late)
  over = terminated | late
  assert (over.sum(1) >= 3).all() or name == 'breakout'

  def compare(found, after, begun):
    end = over[:, :-1].reshape(4, STEPS - 1, *[1] * (found.ndim - 2))
    np.testing.assert_allclose(
        found[:, 1:], np.where(end, begun[:, :-1], after[:, :-1]), atol=1e-5)

  jax.tree.map(compare, (steps.obs, steps.state), (obs, state), begun)


@pytest.mark.parametrize('name, fixed, free', [
    ('point_robot', 'goal', 'pos'), ('meta_maze', 'goal', None),
    ('catch', None, 'ball_x'), ('breakout', None, 'ball_x'),
    ('cart_pole', None, 'theta')])
def test_the_task_outlives_its_episodes_and_the_start_does_not(
    name, fixed, free):
  _, tasks, steps = rollouts(name)
  starts = np.asarray(steps.state.time) == 0
  assert (starts.sum(1) > 3).all()
  if fixed:
    values = np.asarray(getattr(steps.state, fixed))
    np.testing.assert_array_equal(values, np.broadcast_to(
        np.asarray(tasks.drawn[fixed])[:, None], values.shape))
    assert len(np.unique(values[:, 0], axis=0)) == len(values)
  if free:
    for i, at in enumerate(starts):
      values = np.asarray(getattr(steps.state, free))[i, at]
      assert len(np.unique(values, axis=0)) > 1


def test_without_an_adapter_the_goal_changes():
  inner, params = gymnax.make('PointRobot-misc')
  _, state = inner.reset(jax.random.key(0), params)
  last = state.replace(time=jnp.float32(params.max_steps_in_episode - 1))
  _, after, *_ = inner.step(jax.random.key(1), last, jnp.zeros(2), params)
  assert after.time == 0 and not np.allclose(after.goal, state.goal)


def test_cart_pole_moves_by_its_own_length_and_force():
  _, tasks, steps = rollouts('cart_pole')
  moved = []
  for i in range(4):
    length = float(tasks.inner.length[i])
    for t in range(10):
      here = take(steps, i, t)
      x, dx, angle, spin = (float(v) for v in here.obs)
      force = float(tasks.inner.force_mag[i]) * (1 if here.action else -1)
      # Barto, Sutton and Anderson (1983), as in OpenAI gym.
      push = (force + 0.1 * length * spin**2 * np.sin(angle)) / 1.1
      turn = (9.8 * np.sin(angle) - np.cos(angle) * push) / (
          length * (4 / 3 - 0.1 * np.cos(angle)**2 / 1.1))
      pull = push - 0.1 * length * turn * np.cos(angle) / 1.1
      np.testing.assert_allclose(
          here.final_obs,
          [x + 0.02 * dx, dx + 0.02 * pull,
           angle + 0.02 * spin, spin + 0.02 * turn], atol=2e-5)
    moved.append(turn)
  assert len({round(length, 4) for length in moved}) == 4
  assert (tasks.inner.length >= 0.25).all()
  assert (tasks.inner.length <= 1).all()
  np.testing.assert_allclose(
      tasks.inner.polemass_length, 0.1 * tasks.inner.length, rtol=1e-6)


def test_some_cart_poles_fall_and_some_run_out_of_time():
  _, _, steps = rollouts('cart_pole')
  ends = np.asarray(steps.terminated | steps.truncated)
  assert steps.terminated.any() and steps.truncated.any()
  assert (np.asarray(steps.state.time)[ends] < 20).all()
  begins = np.asarray(steps.state.time)[:, 1:] == 0
  np.testing.assert_array_equal(begins, ends[:, :-1])


@pytest.mark.parametrize('env_id, bins, values', [
    ('Pendulum-v1', 3, [[-2], [0], [2]]),
    ('MountainCarContinuous-v0', 2, [[-1], [1]]),
    ('Reacher-misc', 3, list(itertools.product([-1, 0, 1], repeat=2))),
    ('PointRobot-misc', 4, list(itertools.product(
        np.float32([-0.1, -0.1 / 3, 0.1 / 3, 0.1]), repeat=2)))])
def test_continuous_actions_are_a_lattice_from_end_to_end(env_id, bins, values):
  env = adapters.Adapter(adapters.Config(env_id, bins=bins, permute=True))
  task = env.default_params
  task = task.replace(permutation=jnp.arange(env.num_actions))
  actions = jax.vmap(env.inner_action, (0, None))(
      jnp.arange(env.num_actions), task)
  np.testing.assert_allclose(actions, np.float32(values), rtol=1e-6)
  assert actions.min() == np.float32(np.min(values))
  assert actions.max() == np.float32(np.max(values))


def test_the_lattice_is_that_of_the_task():
  tasks = adapters.tasks(adapters.Config(
      'Pendulum-v1', ranges=(('max_torque', 1.0, 3.0),)))
  ends = jax.vmap(tasks.env.inner_action, (None, 0))(2, tasks.train)
  np.testing.assert_allclose(ends[:, 0], tasks.train.inner.max_torque)
  assert len(np.unique(ends)) == 64


def check_what_it_declares(env):
  """Shapes and dtypes of all that a reset and a step return; nothing is run."""
  space, task = env.observation_space(), env.default_params
  obs, state = jax.eval_shape(env.reset, jax.random.key(0), task)
  # An action of the narrowest dtype, as histories hold it.
  out = jax.eval_shape(
      env.step, jax.random.key(0), state, jnp.int8(0), task)
  for shown in (obs, out[0], out[5]['final_observation']):
    assert (shown.shape, shown.dtype) == (space.shape, space.dtype)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), out[1]) == jax.tree.map(
      lambda x: (x.shape, x.dtype), state)
  flags = [(out[i].shape, out[i].dtype) for i in (2, 3, 4)]
  assert flags == [((), jnp.float32), ((), bool), ((), bool)]
  assert set(out[5]) == {'terminated', 'truncated', 'final_observation'}
  assert np.sort(task.permutation).tolist() == list(range(env.num_actions))


@pytest.mark.parametrize('env_id', BUILTINS)
def test_every_environment_runs_by_its_name_alone_or_says_why_not(env_id):
  config = adapters.Config(env_id)
  if env_id in TOO_FEW:
    with pytest.raises(ValueError, match=(
        rf"^env_id='{env_id}': must be given more that varies: there are 2 "
        r'.*ranges can be of \w+.*$')):
      config.make()
    env = adapters.Adapter(config)
  else:
    tasks = config.make()
    sets, env = all_three(tasks), tasks.env
    assert len(set.union(*sets)) == sum(map(len, sets))
    assert [len(some) for some in sets] == [
        types.num_tasks(some) for some in (
            tasks.train, tasks.validation, tasks.held_out)]
    assert len(sets[1]) == len(sets[2]) and 1 <= len(sets[1]) <= 8
    assert len(sets[0]) == 64 or len(sets[0]) >= 0.6 * sum(map(len, sets))
  check_what_it_declares(env)
  assert env.default_params.max_steps_in_episode == gymnax.make(
      env_id)[1].max_steps_in_episode


@pytest.mark.long
@pytest.mark.parametrize('env_id', BUILTINS)
def test_every_environment_keeps_to_what_it_declares(env_id):
  env = adapters.Adapter(adapters.Config(env_id, episode_length=100))
  space, num = env.observation_space(), 8

  @jax.jit
  @jax.vmap
  def rollout(key):
    task_key, reset_key, act_key, step_key = jax.random.split(key, 4)
    task = env.sample_task(task_key)
    obs, state = env.reset(reset_key, task)

    def step(state, x):
      obs, state, reward, terminated, truncated, info = env.step(
          x[0], state, x[1], task)
      return state, (obs, info['final_observation'], reward,
                     terminated | truncated)

    actions = jax.random.randint(act_key, (200,), 0, env.num_actions)
    return obs, jax.lax.scan(
        step, state, (jax.random.split(step_key, 200), actions))[1]

  first, (obs, last, reward, done) = jax.tree.map(np.asarray, rollout(
      jax.random.split(jax.random.key(2), num)))
  low, high = (0, space.n - 1) if isinstance(space, spaces.Discrete) else (
      space.low, space.high)
  for seen in (first, *np.moveaxis(obs, 1, 0), *np.moveaxis(last, 1, 0)):
    assert (seen >= low - 1e-5).all() and (seen <= high + 1e-5).all()
  assert np.isfinite(reward).all()
  assert (np.cumsum(done, 1)[:, [99, 199]] >= [1, 2]).all()


def test_scalars_and_cells_are_small_integers_and_images_are_not():
  config = adapters.Config('FrozenLake-misc')
  values = lambda config: tables.integer_values(adapters.Adapter(config))
  assert values(config) == ((0, 16),)
  assert values(adapters.Config('FourRooms-misc')) == ((1, 11),) * 2
  assert values(CASES['cart_pole']) is None
  assert len(values(CASES['catch'])) == 50
  assert rollouts('breakout')[2].obs.dtype == jnp.int8


def test_a_goal_that_is_shown_is_cut_out_unless_asked_for():
  for entries, size in ((None, 2), ((0, 4), 4)):
    env = adapters.Adapter(adapters.Config('FourRooms-misc', entries=entries))
    task = env.sample_task(jax.random.key(3))
    obs, state = env.reset(jax.random.key(4), task)
    assert obs.shape == env.observation_space().shape == (size,)
    goal = np.asarray(task.drawn['goal'])
    np.testing.assert_array_equal(state.goal, goal)
    np.testing.assert_array_equal(obs, [4, 1, *goal][:size])
  image = adapters.Adapter(adapters.Config(
      'FourRooms-misc', arguments=(('use_visual_obs', True),)))
  assert image.observation_space().shape == (13, 13, 2)


def test_fields_may_be_named():
  env = adapters.Adapter(adapters.Config(
      'Swimmer-misc', fields=('goal_xy',), episode_length=7))
  tasks = env.sample_task(jax.random.key(0)), env.sample_task(jax.random.key(1))
  states = [[env.reset_env(jax.random.key(i), task)[1] for i in range(2)]
            for task in tasks]
  for task, (a, b) in zip(tasks, states):
    np.testing.assert_array_equal(a.goal_xy, b.goal_xy)
    assert not np.allclose(a.urchin_xys, b.urchin_xys)
    assert task.max_steps_in_episode == 7
  assert not np.allclose(states[0][0].goal_xy, states[1][0].goal_xy)
  # The goal is seen, in the last two of all sixteen entries.
  np.testing.assert_array_equal(
      env.reset_env(jax.random.key(0), tasks[0])[0][-2:],
      tasks[0].drawn['goal_xy'])


def test_whole_numbers_have_both_ends_and_equal_ends_set_a_parameter():
  tasks = adapters.tasks(adapters.Config(
      'PointRobot-misc', ranges=(
          ('dense_reward', 1, 1), ('center_init', 0, 1),
          ('max_force', 0.3, 0.3))))
  inner = tasks.train.inner
  assert inner.dense_reward.dtype == bool and inner.dense_reward.all()
  assert 10 < inner.center_init.sum() < 54
  assert (inner.max_force == np.float32(0.3)).all()
  chain = adapters.tasks(adapters.Config(
      'UmbrellaChain-bsuite', ranges=(('chain_length', 3, 5),),
      num_train=1, num_validation=1, num_held_out=1))
  lengths = [int(some.inner.chain_length[0]) for some in (
      chain.train, chain.validation, chain.held_out)]
  assert sorted(lengths) == [3, 4, 5]


def all_three(tasks):
  """Each set as a set of bytes."""
  return [{b''.join(np.asarray(x[i]).tobytes() for x in jax.tree.leaves(some))
           for i in range(types.num_tasks(some))}
          for some in (tasks.train, tasks.validation, tasks.held_out)]


@hypothesis.given(
    st.sampled_from(['FourRooms-misc', 'Catch-bsuite', 'SpaceInvaders-MinAtar',
                     'GaussianBandit-misc', 'SimpleBandit-bsuite']),
    st.integers(0, 2**31 - 1), st.integers(1, 4))
@hypothesis.settings(max_examples=12, deadline=None)
def test_the_three_sets_are_disjoint(env_id, split_seed, num_train):
  config = adapters.Config(
      env_id, permute=env_id not in gymnax_builtins.VARIATIONS,
      num_train=num_train, num_validation=1, num_held_out=1,
      split_seed=split_seed)
  sets = all_three(adapters.tasks(config))
  assert [len(some) for some in sets] == [
      config.num_train, config.num_validation, config.num_held_out]
  assert len(set.union(*sets)) == sum(map(len, sets))


def test_finitely_many_tasks_are_used_up_and_not_more():
  # Four rooms of 104 cells in all.
  rooms = dict(num_train=100, num_validation=2)
  tasks = adapters.tasks(
      adapters.Config('FourRooms-misc', num_held_out=2, **rooms))
  assert len(set.union(*all_three(tasks))) == 104
  with pytest.raises(ValueError, match=r'=105: must be at most 104'):
    adapters.tasks(adapters.Config('FourRooms-misc', num_held_out=3, **rooms))
  tasks = adapters.tasks(CASES['catch'])
  assert {tuple(p) for p in np.asarray(tasks.hypotheses.permutation)} == set(
      itertools.permutations(range(3)))
  with pytest.raises(ValueError, match=r'=11: must be at most 6'):
    adapters.tasks(adapters.Config('Catch-bsuite', num_train=9))
  assert adapters.tasks(CASES['cart_pole']).hypotheses is None


def test_histories_come_of_it():
  tasks = adapters.tasks(CASES['meta_maze'])
  history, _ = histories.generate(
      references.random(tasks), tasks.train, jax.random.key(0), 2, 40)
  assert history.obs.shape == (4, 2, 40, 15)
  done = np.asarray(history.done)
  assert done[..., [14, 29]].mean() > 0.5


def test_equal_environments_share_their_programs():
  a, b = (adapters.Adapter(CASES['catch']) for _ in range(2))
  assert a == b and hash(a) == hash(b)
  assert a != adapters.Adapter(CASES['breakout'])


@pytest.mark.parametrize('fields, message', [
    (dict(env_id='CartPole'), r'env_id=.*CartPole-v1'),
    (dict(env_id='Chess'), r'env_id=.*must be one of'),
    (dict(env_id='MNISTBandit-bsuite', permute=True), 'env_id'),
    (dict(env_id='CartPole-v1'), 'ranges can be of gravity'),
    (dict(env_id='CartPole-v1', ranges=(('length', 1.0, 1.0),)), '3; ranges'),
    (dict(env_id='CartPole-v1', permute=False), 'permute=.*tasks are the same'),
    (dict(env_id='MetaMaze-misc', fields=(), permute=False), 'are the same'),
    (dict(env_id='CartPole-v1', permute='yes'), "permute='yes'"),
    (dict(env_id='MetaMaze-misc', arguments=(('size', 5),)),
     r"arguments=.*'size'"),
    (dict(env_id='MetaMaze-misc', arguments=(('maze_size', 4),)), 'arguments='),
    (dict(env_id='MetaMaze-misc', arguments=('maze_size',)), 'arguments='),
    (dict(env_id='MetaMaze-misc', entries=(4, 4)), r'entries=\(4, 4\)'),
    (dict(env_id='Breakout-MinAtar', entries=(0, 1)), 'entries=.*vectors'),
    (dict(env_id='CartPole-v1', ranges=(('length', 1.0, 0.5),)), 'at most'),
    (dict(env_id='CartPole-v1', ranges=(('size', 0.5, 1.0),)),
     r"ranges='size'.*length"),
    (dict(env_id='CartPole-v1', ranges=(('total_mass', 0.5, 1.0),)),
     'masscart'),
    (dict(env_id='UmbrellaChain-bsuite', ranges=(('chain_length', 0.5, 3),)),
     'whole numbers'),
    (dict(env_id='Swimmer-misc', fields=('goal',)), r'fields=.*goal_xy'),
    (dict(env_id='Catch-bsuite', permute=True, bins=1), 'bins'),
    (dict(env_id='Catch-bsuite', permute=True, episode_length=-1), 'episode'),
    (dict(env_id='Catch-bsuite', permute=True, split_seed=-1), 'split_seed'),
    (dict(env_id='Catch-bsuite', permute=True, num_train=-1), 'num_train')])
def test_a_bad_config_is_named(fields, message):
  with pytest.raises(ValueError, match=rf'^(?=[\w +]+=).*{message}.*$'):
    adapters.tasks(adapters.Config(**fields))


@pytest.mark.parametrize('fields, permutes', [
    (dict(env_id='Catch-bsuite'), True),
    (dict(env_id='MetaMaze-misc'), False),
    (dict(env_id='MetaMaze-misc', permute=True), True),
    (dict(env_id='MetaMaze-misc', fields=()), True),
    (dict(env_id='CartPole-v1', ranges=(('length', 0.25, 1.0),)), False),
    (dict(env_id='Catch-bsuite', ranges=()), True),
    (dict(env_id='Pendulum-v1', ranges=(('g', 9.0, 9.0),)), True)])
def test_actions_are_permuted_where_nothing_else_varies(fields, permutes):
  tasks = adapters.tasks(adapters.Config(**fields))
  assert (len(np.unique(tasks.train.permutation, axis=0)) > 1) == permutes


@hypothesis.given(st.integers(3, 5), st.tuples(*[st.integers(0, 12)] * 3))
@hypothesis.settings(max_examples=12, deadline=None)
def test_sizes_are_what_is_given_and_otherwise_a_share(actions, given):
  count = {3: 6, 4: 24, 5: 120}[actions]
  config = adapters.Config(
      OWN, (('actions', actions),), num_train=given[0],
      num_validation=given[1], num_held_out=given[2])
  share = max(1, min(8, count // 10))
  others = [n or share for n in given[1:]]
  left = count - sum(others)
  expected = [given[0] or max(1, min(64, left)), *others]
  if sum(expected) > count:
    with pytest.raises(ValueError, match=(
        rf'={sum(expected)}: must be at most {count}, the different tasks')):
      adapters.tasks(config)
    return
  sets = all_three(adapters.tasks(config))
  assert [len(some) for some in sets] == expected
  assert len(set.union(*sets)) == sum(expected)


@struct.dataclass
class State(environment.EnvState):
  place: jax.Array
  energy: jax.Array


class Walk(environment.Environment):
  """Someone's own: a place from 0 to 9, and what it costs to go there."""

  def __init__(self, actions=3):
    self.actions = actions

  @property
  def default_params(self):
    return environment.EnvParams(max_steps_in_episode=20)

  def action_space(self, params=None):
    return spaces.Discrete(self.actions)

  def observation_space(self, params=None):
    return spaces.Box(0, 9, (1,), jnp.int8)

  def show(self, state):
    return state.place[None]

  def reset_env(self, key, params):
    state = State(time=0, place=jax.random.randint(key, (), 0, 10), energy=1.0)
    return self.show(state), state

  def spend(self, energy):
    return energy - 0.5

  def step_env(self, key, state, action, params):
    state = State(
        time=state.time + 1, energy=self.spend(state.energy),
        place=(state.place + jnp.int32(jnp.sum(action))) % 10)
    return self.show(state), state, state.place, state.place == 9, {}


names = (f'Own{i}-test' for i in itertools.count())


def registered(base=Walk, **changed):
  """The id of an environment of one's own, some of it otherwise."""
  env_id = next(names)
  gymnax.register(env_id, type('Own', (base,), changed))
  return env_id


OWN = registered()


def test_what_is_registered_later_is_known_then():
  env_id = 'Later-test'
  with pytest.raises(ValueError, match=f"^env_id='{env_id}': must be one of"):
    adapters.Config(env_id)
  gymnax.register(env_id, Walk)
  tasks = adapters.Config(env_id).make()
  assert [types.num_tasks(some) for some in (
      tasks.train, tasks.validation, tasks.held_out)] == [4, 1, 1]
  check_what_it_declares(tasks.env)


def five_values(self, key, state, action, params=None):
  return self.step_env(key, state, action, params)


def no_final_observation(self, key, state, action, params=None):
  *rest, done, info = self.step_env(key, state, action, params)
  return *rest, done, done, info


@pytest.mark.parametrize('changed, message', [
    (dict(step=five_values), '5 values.*terminated, truncated'),
    (dict(step=no_final_observation), 'final_observation'),
    (dict(step_env=lambda self, key, state, action, params: (
        state.place, state)), 'not enough values'),
    (dict(step_env=lambda self, *args: (
        *Walk.step_env(self, *args)[:4], False, {})), 'too many values'),
    (dict(step_env=environment.Environment.step_env), 'NotImplementedError'),
    (dict(reset_env=lambda self, key, params: 1 / 0), 'ZeroDivisionError'),
    (dict(show=lambda self, state: jnp.zeros(2)), r'observation=.*\[2\].*=1'),
    (dict(spend=lambda self, energy: jnp.int32(energy)),
     r'state\.energy=int32.*must be float'),
    (dict(spend=lambda self, energy: jnp.zeros(3)), r'state\.energy=.*\[3\]'),
    (dict(observation_space=lambda self, params: spaces.Space()),
     'its observation must be a Discrete, a Box'),
    (dict(default_params=property(lambda self: 3)), 'replace|max_steps'),
])
def test_what_is_no_gymnax_environment_is_refused_by_its_name(changed, message):
  env_id = registered(**changed)
  with pytest.raises(ValueError, match=(
      rf"^env_id='{env_id}': must be an environment of gymnax 1.0.*{message}"
      '.*$')):
    adapters.tasks(adapters.Config(env_id))


def actions_in(space):
  return registered(action_space=lambda self, params=None: space)


BAD_ENDS = st.sampled_from([np.inf, -np.inf, np.nan])


@hypothesis.given(
    st.integers(1, 3), st.integers(0, 2), st.booleans(), BAD_ENDS)
@hypothesis.settings(max_examples=10, deadline=None)
def test_actions_without_ends_are_refused(size, index, is_low, bad):
  ends = {'low': np.full(size, -1.0), 'high': np.full(size, 1.0)}
  ends['low' if is_low else 'high'][index % size] = bad
  env_id = actions_in(spaces.Box(**ends, shape=(size,)))
  with pytest.raises(ValueError, match=r'^action_space=.*finite ends$'):
    adapters.tasks(adapters.Config(env_id))


@pytest.mark.parametrize('space', [
    spaces.Dict({'a': spaces.Discrete(3)}), spaces.Space(),
    spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (2,)))),
    spaces.Box(0, 3, (2,), jnp.int32)])
def test_other_actions_are_refused(space):
  with pytest.raises(
      ValueError, match=r'^action_space=.*Discrete, or a Box.*$'):
    adapters.tasks(adapters.Config(actions_in(space)))


@hypothesis.given(st.integers(0, 10000), st.integers(2, 9))
@hypothesis.example(17, 3)
@hypothesis.example(6, 4)
@hypothesis.settings(max_examples=15, deadline=None)
def test_a_lattice_has_as_many_rows_as_it_says_or_is_refused(dimensions, bins):
  config = adapters.Config(actions_in(
      spaces.Box(-1.0, 1.0, (dimensions,))), bins=bins)
  if bins**dimensions > 4096:
    with pytest.raises(ValueError, match=(
        rf'^bins={bins}: must .*4096.*{bins}\*\*{dimensions}$')):
      adapters.Adapter(config)
  else:
    env = adapters.Adapter(config)
    assert env.num_actions == bins**dimensions
    action = env.inner_action(env.num_actions - 1, env.default_params.replace(
        permutation=jnp.arange(env.num_actions)))
    np.testing.assert_array_equal(action, np.ones(dimensions))


LEAVES = st.one_of(
    st.integers(1, 9).map(spaces.Discrete),
    st.builds(
        spaces.Box, st.just(0), st.just(1),
        st.lists(st.integers(1, 3), max_size=3).map(tuple),
        st.sampled_from([jnp.bool_, jnp.uint8, jnp.int32, jnp.float32])))
SPACES = st.recursive(LEAVES, lambda inner: st.one_of(
    st.dictionaries(st.sampled_from('abc'), inner, min_size=1).map(spaces.Dict),
    st.lists(inner, min_size=1, max_size=3).map(tuple).map(spaces.Tuple),
    st.dictionaries(st.sampled_from('abc'), inner, min_size=1).map(
        collections.OrderedDict).map(spaces.Dict)), max_leaves=5)


def ones(space, dtype=None):
  """An observation in a space, all of one dtype, or as is declared."""
  if isinstance(space, spaces.Dict):
    return {name: ones(part, dtype) for name, part in space.spaces.items()}
  if isinstance(space, spaces.Tuple):
    return tuple(ones(part, dtype) for part in space.spaces)
  return np.ones(space.shape, dtype or space.dtype)


@hypothesis.given(SPACES)
@hypothesis.settings(max_examples=25, deadline=None)
def test_observations_keep_their_structure_and_have_the_declared_dtypes(space):
  env = adapters.Adapter(adapters.Config(registered(
      observation_space=lambda self, params: space,
      show=lambda self, state: ones(space, np.float32))))
  assert type(env.observation_space()) is type(space)
  obs, state = jax.eval_shape(
      env.reset, jax.random.key(0), env.default_params)
  out = jax.eval_shape(
      env.step, jax.random.key(0), state, jnp.int8(0), env.default_params)
  expected = jax.tree.map(lambda x: (x.shape, x.dtype), ones(space))
  for shown in (obs, out[0], out[5]['final_observation']):
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shown) == expected


def test_a_state_stays_in_the_dtypes_of_its_reset():
  env = adapters.Adapter(adapters.Config(registered(
      spend=lambda self, energy: jnp.float16(energy - 0.5))))
  task = env.default_params
  _, state = env.reset(jax.random.key(0), task)
  _, state, *_ = env.step(jax.random.key(0), state, 0, task)
  assert state.energy.dtype == jnp.float32 and state.energy == 0.5


def test_one_may_truncate_by_a_rule_of_ones_own():
  env = adapters.Adapter(adapters.Config(registered(
      is_truncated=lambda self, state, params: state.energy < 0), permute=True))
  task = env.default_params.replace(permutation=jnp.zeros(3, jnp.int32))
  _, state = env.reset(jax.random.key(1), task)
  ends = []
  for i in range(3):
    _, state, _, _, truncated, _ = env.step(jax.random.key(i), state, 0, task)
    ends.append(bool(truncated))
  assert ends == [False, False, True]


def test_no_drawn_start_is_the_goal_and_every_other_cell_is_one():
  tasks = adapters.tasks(adapters.Config(
      'FourRooms-misc', ranges=(('resample_init_pos', 1, 1),)))
  goals = np.asarray(tasks.train.drawn['goal'])
  starts = np.asarray(jax.jit(jax.vmap(jax.vmap(
      lambda key, task: tasks.env.reset_env(key, task)[1].pos,
      (0, None)), (None, 0)))(
          jax.random.split(jax.random.key(0), 3000), tasks.train))
  assert not (starts == goals[:, None]).all(-1).any()
  # It is gymnax's own draw of 104 cells otherwise, which likes the last one.
  for row in starts[:8]:
    cells, counts = np.unique(row, axis=0, return_counts=True)
    assert len(cells) == 103 and counts.max() < 100


def test_a_start_that_is_fixed_stays_so():
  tasks = adapters.tasks(adapters.Config(
      'FourRooms-misc', num_train=102, num_validation=1, num_held_out=1))
  starts = jax.vmap(lambda task: tasks.env.reset_env(
      jax.random.key(0), task)[1].pos)(tasks.train)
  assert (np.asarray(starts) == [4, 1]).all()


X64 = """
import jax, jax.numpy as jnp, sys
from adjax.envs import adapters
assert jnp.zeros(()).dtype == jnp.float64
for env_id in sys.argv[1:]:
  env = adapters.Adapter(adapters.Config(env_id, permute=True))
  task, key, shown = env.default_params, jax.random.key(0), []
  obs, state = env.reset(key, task)
  describe = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  began, seen = describe(state), describe(obs)
  assert seen == (env.observation_space().shape, env.observation_space().dtype)
  for action in range(2):
    obs, state, reward, *_ = env.step(key, state, jnp.int8(action), task)
    assert (describe(state), describe(obs)) == (began, seen), describe(state)
    assert reward.dtype == jnp.float32
"""


VARIOUS = ['Breakout-MinAtar', 'CartPole-v1', 'Catch-bsuite', 'MetaMaze-misc',
           'PointRobot-misc']


@pytest.mark.parametrize('env_id', VARIOUS)
def test_64_bits_and_strictness_of_jax_change_no_dtype(env_id):
  with (adapters.enable_x64(True), jax.numpy_dtype_promotion('strict'),
        jax.numpy_rank_promotion('raise')):
    env = adapters.Adapter(adapters.Config(env_id, permute=True))
    check_what_it_declares(env)
    wide = {jnp.dtype(kind) for kind in ('float64', 'int64', 'uint64')}
    assert not wide & {x.dtype for x in jax.tree.leaves(env.default_params)}


@pytest.mark.long
def test_environments_run_with_64_bits_and_strictly():
  done = subprocess.run(
      [sys.executable, '-c', X64, *VARIOUS], capture_output=True, text=True,
      env=dict(os.environ, JAX_ENABLE_X64='1', JAX_PLATFORMS='cpu',
               JAX_NUMPY_DTYPE_PROMOTION='strict',
               JAX_NUMPY_RANK_PROMOTION='raise'))
  assert done.returncode == 0, done.stderr[-2000:]
