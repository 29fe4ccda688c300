"""Tasks that cannot be learnt from are refused before anything is computed."""

import dataclasses

import chex
from flax import struct
from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp
import pytest

import adjax
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.experiment import contract
from adjax.learners import stepping
from adjax.learners import tabular_q

TASKS = dark_room.Config().make()


@struct.dataclass
class Params(environment.EnvParams):
  number: chex.Array = 2
  max_steps_in_episode: chex.Array = 5


class Own(environment.Environment):
  """An environment of somebody's, as it was written at first."""
  default_params = Params()

  def action_space(self, params=None):
    return spaces.Discrete(2)

  def observation_space(self, params=None):
    return spaces.Box(0, 3, (1,), jnp.int32)

  def reset_env(self, key, params):
    return jnp.zeros(1, jnp.int32), environment.EnvState(time=jnp.int32(0))

  def step_env(self, key, state, action, params):
    return (jnp.zeros(1, jnp.int32), state.replace(time=state.time + 1),
            jnp.float32(0), jnp.bool_(False), {})


def own(env=None, numbers=((0, 1), (2,), (3,)), length=5, **fields):
  make = jax.vmap(lambda number: Params(number=number))
  train, validation, held_out = (make(jnp.array(some)) for some in numbers)
  return dataclasses.replace(adjax.TaskDistribution(
      env=env or Own(), train=train, validation=validation, held_out=held_out,
      episode_length=length), **fields)


@pytest.mark.parametrize('tasks', [
    own(), own(length=9), TASKS, bandit.Config().make()])
def test_what_can_be_learnt_from_passes(tasks):
  contract.check(tasks)


class ActionsOfTasks(Own):

  def action_space(self, params=None):
    return spaces.Discrete(int((params or self.default_params).number))


@pytest.mark.parametrize('tasks, message', [
    (own(numbers=((0, 1), (1, 2), (3,))),
     'validation: must have no task of train; 1 of its 2 tasks are in both'),
    (own(numbers=((0, 1), (2,), (0, 1))), 'held_out: must have no task of tr'),
    (own(numbers=((0, 1), (3, 2), (4, 2))), 'held_out: must have no .* valid'),
    (own(length=4), 'episode_length=4: must be at least 5, the max_steps_in_e'),
    (own(ActionsOfTasks(), ((2, 3), (4,), (5,))),
     'train: must have 2 actions in each task, .*; task 1 has 3'),
    (own(train=Params()), r'train\..*: must have shape \[N\] with one N'),
    (own(train=environment.EnvParams(max_steps_in_episode=jnp.ones(3))),
     'train: must be of EnvParams like default_params')])
def test_what_cannot_be_learnt_from_is_refused_by_name(tasks, message):
  with pytest.raises(ValueError, match=message):
    contract.check(tasks)


@dataclasses.dataclass(frozen=True)
class Forgets:
  """A configuration whose make forgot to return."""

  def make(self, *args):
    own()


@dataclasses.dataclass(frozen=True)
class Takes:
  """A configuration whose make takes something else."""

  def make(self, tasks, key, more, other, another):
    return own()


@pytest.mark.parametrize('component', [Forgets(), Takes()])
@pytest.mark.parametrize('name, kind, number', [
    ('tasks', 'TaskDistribution', 0), ('source', 'Learner', 1),
    ('model', 'SequenceModel', 1), ('method', 'Trainer', 4)])
def test_a_make_that_does_not_fit_is_refused_and_nothing_is_written(
    component, name, kind, number, tmp_path):
  experiment = dataclasses.replace(
      adjax.presets.get('quick'), **{name: component})
  message = (f'{name}: its make must return an adjax.{kind}, not NoneType'
             if isinstance(component, Forgets)
             else f'{name}: its make must take {number} arguments; missing')
  with pytest.raises(ValueError, match=f'^{message}'):
    adjax.run(experiment, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


class FiveValues(Own):

  def step(self, key, state, action, params=None):
    obs, state, reward, done, info = self.step_env(key, state, action, params)
    return obs, state, reward, done, info


class NoFinalObservation(Own):

  def step(self, key, state, action, params=None):
    *rest, _ = super().step(key, state, action, params)
    return *rest, {}


class OnlyObservation(Own):

  def reset(self, key, params=None):
    return super().reset(key, params)[0]


@pytest.mark.parametrize('env, message', [
    (FiveValues(), r'env=FiveValues: its step must return \(obs, state, '
     r'reward, terminated, truncated, info\), .* not 5 values'),
    (NoFinalObservation(), "info of its step must have 'final_observation'"),
    (OnlyObservation(), r'its reset must return \(obs, state\), .* not ')])
def test_an_environment_of_another_gymnax_is_refused_by_name(env, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(lambda key: stepping.step(
        env, Params(), stepping.reset(env, Params(), key), jnp.int32(0), key),
                   jax.random.key(0))


@struct.dataclass
class State(environment.EnvState):
  gold: chex.Array = 0


def stepping_to(obs=(0,), time=1, reward=0.0, dtype=jnp.int32, **state):
  """An environment whose step returns these, and always the same."""

  class Wrong(Own):

    def reset_env(self, key, params):
      return jnp.zeros(1, jnp.int32), State(
          time=jnp.int32(0), gold=jnp.int32(0))

    def step_env(self, key, before, action, params):
      return (jnp.array(obs, dtype), before.replace(
          time=before.time + time, **state), jnp.array(reward, jnp.float32),
              jnp.bool_(False), {})

  return Wrong()


class SixValues(Own):

  def step_env(self, *args):
    return *super().step_env(*args), {}


class TheOtherWayRound(Own):

  def reset_env(self, key, params):
    return super().reset_env(key, params)[::-1]


@pytest.mark.parametrize('env, message', [
    (SixValues(), r'env=SixValues: its step_env must return \(obs, state, '
     r'reward, terminated, info\), .* not 6 values'),
    (TheOtherWayRound(), 'its observation must be an array, not EnvState'),
    (stepping_to(obs=(0, 0)), r'its observation must be of shape \[1\], .* not '
     r'\[2\]'),
    (stepping_to(obs=0), r'must be of shape \[1\], as its space says, not \['),
    (stepping_to(dtype=jnp.float32), 'must be of int32, as its space says, not '
     'float32'),
    (stepping_to(gold=0.5), r'a state like that of reset_env, whose gold is '
     r'int32\[\], not float32\[\]'),
    (stepping_to(gold=(1, 2)), 'a state like that of reset_env, PyTreeDef'),
    (stepping_to(reward=(1,)), r'the reward of its step must be a scalar, not '
     r'of shape \[1\]'),
    (stepping_to(obs=(4,)), 'must be from 0 to 3, as its space .*, and was 4'),
    (stepping_to(obs=(-1,)), 'must be from 0 to 3, .* and was -1'),
    (stepping_to(time=0), 'episode_length=5: must be enough for every episode '
     r'to end; on a task of train none did.* time \+ 1')])
def test_an_episode_that_breaks_what_is_declared_is_refused(env, message):
  with pytest.raises(ValueError, match=message):
    contract.check(own(env))


def test_a_part_of_an_observation_that_is_not_there_is_named():

  class Parts(Own):

    def observation_space(self, params=None):
      return spaces.Dict({'at': spaces.Discrete(3), 'has': spaces.Discrete(2)})

    def reset_env(self, key, params):
      return {'at': jnp.int32(0), **self.more}, super().reset_env(
          key, params)[1]

    def step_env(self, *args):
      obs = {'at': jnp.int32(2), 'has': jnp.int32(2)}
      return obs, *super().step_env(*args)[1:]

  for more, message in (
      ({}, r'env=Parts: its observation must have the parts of '),
      ({'has': jnp.zeros(2)}, r"its observation\['has'\] must be of shape \["),
      ({'has': jnp.int32(0)}, 'must be from 0 to 1, .* and was 2')):
    env = Parts()
    env.more = more
    with pytest.raises(ValueError, match=message):
      contract.check(own(env))


def test_a_step_keeps_the_dtypes_of_the_reset():
  """Whatever a step promotes them to, a scan takes them."""

  class Promotes(Own):

    def step(self, key, state, action, params=None):
      obs, state, reward, *rest = super().step(key, state, action, params)
      return (obs.astype(jnp.int8), state.replace(
          time=state.time.astype(jnp.int16)), reward, *rest)

  def two(key):
    actor = stepping.reset(Promotes(), Params(), key)
    stepped, _ = stepping.step(
        Promotes(), Params(), actor, jnp.int32(0), key)
    return actor, stepped

  chex.assert_trees_all_equal_shapes_and_dtypes(
      *jax.eval_shape(two, jax.random.key(0)))


def test_a_step_that_is_not_laid_out_is_told_how():
  env = Own()

  def init(task, key):
    return stepping.reset(env, task, key)

  def step(task, state, key):
    return stepping.step(env, task, state, jnp.int32(0), key)

  with pytest.raises(ValueError, match=r'must return Transition \[n, K\].*'
                     r'not \[\]; adjax.learners.stepping.single'):
    adjax.unroll(adjax.Learner(init, step), Params(), jax.random.key(0), 3)


def test_equal_configurations_are_one_learner_to_jit():
  one, other = (tabular_q.Config(optimism=2.0).make(TASKS) for _ in range(2))
  assert one is other and one is not tabular_q.Config().make(TASKS)
  some = jax.tree.map(lambda x: x[:2], TASKS.train)
  adjax.generate(one, some, jax.random.key(0), 1, 3)
  size = adjax.generate._cache_size()
  adjax.generate(other, some, jax.random.key(1), 1, 3)
  assert adjax.generate._cache_size() == size
