"""Runs on stored histories of tasks and episodes that are not so simple."""

import dataclasses
import json

from flax import struct
from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp
import pytest

import adjax
from adjax.experiment import setup as setup_lib
from adjax.experiment import stored
from adjax.learners import stepping
from adjax.methods import distill
from tests import tiny


@struct.dataclass
class Exit:
  """Where an episode ends: a key, and numbers of a kind NumPy has not."""
  key: jax.Array
  weights: jax.Array


@struct.dataclass
class EnvParams:
  exit: Exit
  doors: dict
  max_steps_in_episode: jax.Array


@struct.dataclass
class State:
  time: jax.Array


class Corridor(environment.Environment):
  """Episodes of 1 to 12 steps: each step is the last one by chance."""

  @property
  def default_params(self):
    return jax.tree.map(lambda x: x[0], tasks(1))

  def reset_env(self, key, params):
    return jnp.zeros(1), State(jnp.int32(0))

  def step_env(self, key, state, action, params):
    time = state.time + 1
    leaves = jax.random.uniform(jax.random.fold_in(key, 1)) < (
        params.exit.weights[0].astype(jnp.float32))
    reward = jnp.where(action == params.doors['open'], 1.0, 0.0)
    return jnp.full(1, time / 12), State(time), reward, leaves, {}

  def action_space(self, params=None):
    return spaces.Discrete(3)

  def observation_space(self, params):
    return spaces.Box(0.0, 1.0, (1,), jnp.float32)


def tasks(number, first=0):
  def one(index):
    return EnvParams(
        Exit(jax.random.key(index),
             jnp.full(2, 0.04 + 0.04 * (index % 5), jnp.bfloat16)),
        {'open': index % 3, 'none': jnp.float32(jnp.nan)}, 12)
  return jax.vmap(one)(first + jnp.arange(number))


@dataclasses.dataclass(frozen=True)
class Tasks:
  first: int = 0

  def make(self):
    return adjax.TaskDistribution(
        Corridor(), tasks(6, self.first), tasks(2, 6), tasks(2, 8), 12)


@dataclasses.dataclass(frozen=True)
class Source:
  """Does anything."""

  def make(self, tasks):
    def init(task, key):
      return stepping.reset(tasks.env, task, key)

    def step(task, actor, key):
      action_key, env_key = jax.random.split(key)
      action = jax.random.randint(action_key, (), 0, 3)
      actor, transition = stepping.step(
          tasks.env, task, actor, action, env_key)
      return actor, stepping.single(transition)

    return adjax.Learner(init, step)


def experiment(store='', first=0, **data):
  return adjax.Experiment(
      tasks=Tasks(first), source=Source(), model=tiny.NullConfig(),
      data=adjax.Data(histories=3, store=str(store), **data),
      method=distill.Config(
          epochs=1, updates_per_epoch=6, batch_size=4, length=8),
      evaluate=adjax.Evaluate(2, 1, 2, 1, 1))


def description(**changes):
  """Of a store of tasks with some fields replaced."""
  setup = setup_lib.make(experiment(), 'data:1')
  task = dataclasses.replace(setup.tasks.train, **changes)
  return stored._description(setup._replace(
      tasks=dataclasses.replace(setup.tasks, train=task)))


def test_a_store_knows_tasks_of_any_parameters_by_their_digests():
  same, other = description(), tasks(6).exit
  assert json.loads(json.dumps(same, allow_nan=False)) == same
  assert same == description() and len(json.dumps(same)) < 4000
  keys = jax.vmap(jax.random.key)(jnp.arange(1, 7))
  for changes in (
      {'exit': other.replace(key=keys)},
      {'exit': other.replace(weights=other.weights.astype(jnp.float16))},
      {'exit': other.replace(weights=other.weights.at[5, 1].set(0))},
      {'doors': {'open': jnp.arange(6) % 3}},
      {'max_steps_in_episode': jnp.full((6, 1), 12)}):
    assert description(**changes) != same


@pytest.mark.long
@pytest.mark.parametrize('data', [
    {'episodes': 9, 'episode_stride': 2},
    {'episodes': 12, 'last_episodes': 6},
    {'episodes': 12, 'episode_stride': 2, 'last_episodes': 8}])
def test_subsampled_episodes_that_end_early_are_as_in_memory(tmp_path, data):
  """With tasks of which nothing is JSON."""
  found = []
  for place in '', f'{tmp_path}/store':
    folder = tmp_path / f'run{len(found)}'
    tiny.run(experiment(place, **data), folder)
    found.append(tiny.timeless(folder))
  assert found[0] == found[1]
  steps = {json.loads(path.read_bytes())['steps']
           for path in (tmp_path / 'store' / 'blocks').iterdir()}
  assert len(steps) > 1
