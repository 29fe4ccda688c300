"""Adapted environments against gymnax's own, driven by hand."""

import functools
import itertools
from typing import NamedTuple

import gymnax
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


@pytest.mark.parametrize('env_id', [
    name for name in gymnax.registered_envs if 'MNIST' not in name])
def test_every_environment_is_what_it_declares(env_id):
  env = adapters.Adapter(adapters.Config(env_id, permute=True))
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
  assert task.max_steps_in_episode == gymnax.make(
      env_id)[1].max_steps_in_episode
  low, high = (np.shape(bound) for bound in (space.low, space.high))
  assert low == high == space.shape


def test_scalars_and_cells_are_small_integers_and_images_are_not():
  config = adapters.Config('FrozenLake-misc', permute=True)
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
  with pytest.raises(ValueError, match=r'=80: must be at most 6'):
    adapters.tasks(adapters.Config('Catch-bsuite', permute=True))
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
    (dict(env_id='CartPole-v1'), 'all tasks are the same'),
    (dict(env_id='CartPole-v1', ranges=(('length', 1.0, 1.0),)), 'the same'),
    (dict(env_id='MetaMaze-misc', fields=()), 'all tasks are the same'),
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
    (dict(env_id='Catch-bsuite', permute=True, num_train=0), 'num_train')])
def test_a_bad_config_is_named(fields, message):
  with pytest.raises(ValueError, match=rf'^(?=[\w +]+=).*{message}'):
    adapters.tasks(adapters.Config(**fields))
