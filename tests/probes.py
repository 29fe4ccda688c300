"""Probes: tasks so small that what a learner must find is known.

After Jones, 'Debugging RL, Without the Agonizing Pain' (2021), and the tests of
rejax: each adds one thing that can be wrong, and the first that a learner fails
says which. All are tasks of one environment, so that a learner is compiled once
for all of them.
"""

from collections.abc import Callable
from typing import NamedTuple

from flax import struct
from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import types

BAR = np.zeros((8, 8, 1), np.float32)  # One that is upright.
BAR[:, 3:5] = 1


class State(NamedTuple):
  """time [], and cue [], which of the two observations is shown."""
  time: jax.Array
  cue: jax.Array


@struct.dataclass
class EnvParams:
  """A probe.

  Attributes:
    observations: [2, *O], float32, from -1 to 1.
    starts: [], how many of them an episode may start with, uniformly.
    rewards: [2, A], for each action where each of them is shown.
    after: [2], the one that is shown next.
    ends: [2], whether the episode ends by itself there.
    max_steps_in_episode: [].
  """
  observations: jax.Array
  starts: jax.Array
  rewards: jax.Array
  after: jax.Array
  ends: jax.Array
  max_steps_in_episode: jax.Array


class Probe(NamedTuple):
  """A probe and what is to be found.

  Attributes:
    task: its EnvParams.
    shown: how many of the two observations are ever shown.
    values: discount -> [shown], the optimal value of each.
    best: [shown], the best action for each, -1 where all are alike.
  """
  task: EnvParams
  shown: int
  values: Callable
  best: tuple[int, ...]


def _probe(values, rewards, best=(-1, -1), after=(0, 1), ends=(1, 1),
           observations=((-1,), (1,)), limit=5, starts=None):
  shown = len(values(0.0))
  return Probe(EnvParams(
      observations=np.array(observations, np.float32),
      starts=np.int32(starts or shown), rewards=np.array(rewards, np.float32),
      after=np.array(after, np.int32), ends=np.array(ends, bool),
      max_steps_in_episode=np.int32(limit)), shown, values, best[:shown])


PROBES = {
    # Pays 1: is a value learned at all?
    'constant': _probe(lambda discount: [1], [[1, 1], [0, 0]]),
    # Pays what it shows, -1 or 1: is the observation used?
    'cue': _probe(lambda discount: [-1, 1], [[-1, -1], [1, 1]]),
    # Shows -1, then 1, then pays 1: is it discounted and handed back?
    'delay': _probe(lambda discount: [discount, 1], [[0, 0], [1, 1]],
                    after=(1, 1), ends=(0, 1), starts=1),
    # Pays 1 for action 1, else 0: is the better action chosen?
    'choice': _probe(lambda discount: [1], [[0, 1], [0, 0]], best=(1, -1)),
    # Pays 1 for the action that is shown, else 0: by what is shown?
    'cued choice': _probe(lambda discount: [1, 1], np.eye(2), best=(0, 1)),
    # Pays 1 for ever, cut after five steps: is a time limit taken for an end?
    'time limit': _probe(lambda discount: [1 / (1 - discount)],
                         [[1, 1], [0, 0]], ends=(0, 0)),
    # Pays nothing: does nothing move?
    'nothing': _probe(lambda discount: [0], np.zeros((2, 2))),
}
# The cued choice, shown as an image of a bar that is upright or lies down.
IMAGES = {'cued choice': _probe(
    lambda discount: [1, 1], np.eye(2), best=(0, 1),
    observations=(BAR, BAR.swapaxes(0, 1)))}


class Env(environment.Environment):
  """Two observations, two actions; the task says all else."""

  def __init__(self, default):
    self.default = jax.tree.map(jnp.asarray, default)

  @property
  def default_params(self):
    return self.default

  def action_space(self, params=None):
    return spaces.Discrete(2)

  def observation_space(self, params=None):
    return spaces.Box(-1, 1, self.default.observations.shape[1:], jnp.float32)

  def observe(self, key, state, action, params):
    return params.observations[state.cue]

  def reset_env(self, key, params):
    state = State(jnp.int32(0), jax.random.randint(key, (), 0, params.starts))
    return self.observe(key, state, None, params), state

  def step_env(self, key, state, action, params):
    reward, ends = params.rewards[state.cue, action], params.ends[state.cue]
    state = State(state.time + 1, params.after[state.cue])
    return self.observe(key, state, action, params), state, reward, ends, {}


def tasks(some):
  """Probes {name: Probe} as a task distribution; the n-th is task n."""
  all_of_them = jax.tree.map(
      lambda *x: jnp.stack(x), *(probe.task for probe in some.values()))
  env = Env(next(iter(some.values())).task)
  return types.TaskDistribution(
      env, all_of_them, all_of_them, all_of_them, 5, all_of_them)
