"""Probe environments: so small that what a learner must find is known.

After Jones, 'Debugging RL, Without the Agonizing Pain' (2021), and the tests of
rejax: each adds one thing that can be wrong, and the first that a learner fails
says which. Every probe has `observations` [M, *O], all it ever shows; `values`
(discount) -> [M], the optimal value of each; and `best` [M], the best action,
-1 where all are alike.
"""

from typing import Any
from typing import NamedTuple

from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import types


class State(NamedTuple):
  """time [], and cue [], which of the observations is shown."""
  time: jax.Array
  cue: jax.Array


class Probe(environment.Environment):
  """One step, two actions; what is shown is drawn uniformly.

  Attributes:
    observations: [M, *O], float32, from -1 to 1.
    best: [M], the best action for each, -1 where all are alike.
    steps: in an episode.
  """
  observations: Any = np.zeros((1, 1), np.float32)
  best: Any = (-1,)
  steps: int = 1

  def values(self, discount: float) -> np.ndarray:
    del discount
    return np.ones(len(self.observations), np.float32)

  def reward(self, state: State, action: jax.Array) -> jax.Array:
    return jnp.float32(1)

  @property
  def default_params(self):
    return environment.EnvParams(max_steps_in_episode=self.steps + 1)

  def action_space(self, params=None):
    return spaces.Discrete(2)

  def observation_space(self, params=None):
    return spaces.Box(-1, 1, self.observations.shape[1:], jnp.float32)

  def observe(self, key, state, action, params):
    return jnp.asarray(self.observations)[state.cue]

  def reset_env(self, key, params):
    cue = jax.random.randint(key, (), 0, len(self.observations))
    state = State(jnp.int32(0), cue)
    return self.observe(key, state, None, params), state

  def step_env(self, key, state, action, params):
    reward = self.reward(state, action)
    state = State(state.time + 1, state.cue)
    return (self.observe(key, state, action, params), state,
            reward.astype(jnp.float32), state.time >= self.steps, {})


class Constant(Probe):
  """Pays 1: is a value learned at all?"""


class Cue(Probe):
  """Pays what it shows, -1 or 1: is the observation used?"""
  observations = np.array([[-1], [1]], np.float32)
  best = (-1, -1)

  def values(self, discount):
    return self.observations[:, 0]

  def reward(self, state, action):
    return 2 * state.cue - 1


class Delay(Probe):
  """Shows 0, then 1, then pays 1: is it discounted and handed back?"""
  observations = np.array([[0], [1]], np.float32)
  best = (-1, -1)
  steps = 2

  def values(self, discount):
    return np.array([discount, 1], np.float32)

  def reset_env(self, key, params):
    state = State(jnp.int32(0), jnp.int32(0))
    return self.observe(key, state, None, params), state

  def reward(self, state, action):
    return state.time == 1

  def step_env(self, key, state, action, params):
    _, state, reward, terminated, info = super().step_env(
        key, state, action, params)
    state = State(state.time, jnp.int32(1))
    return (self.observe(key, state, action, params), state, reward,
            terminated, info)


class Choice(Probe):
  """Pays 1 for action 1, else 0: is the better action chosen?"""
  best = (1,)

  def reward(self, state, action):
    return action == 1


class CuedChoice(Probe):
  """Pays 1 for the action that is shown, else 0: by what is shown?"""
  observations = np.array([[-1], [1]], np.float32)
  best = (0, 1)

  def reward(self, state, action):
    return action == state.cue


class ImageChoice(CuedChoice):
  """The same; shown is an image, of a bar that is upright or lies down."""
  observations = np.zeros((2, 8, 8, 1), np.float32)
  observations[0, :, 3:5] = 1
  observations[1, 3:5, :] = 1


class TimeLimit(Probe):
  """Pays 1 for ever, cut after five steps: is a time limit taken for an end?"""
  steps = 5

  def values(self, discount):
    return np.array([1 / (1 - discount)], np.float32)

  @property
  def default_params(self):
    return environment.EnvParams(max_steps_in_episode=self.steps)

  def step_env(self, key, state, action, params):
    *rest, _, info = super().step_env(key, state, action, params)
    return *rest, jnp.bool_(False), info


PROBES = (Constant, Cue, Delay, Choice, CuedChoice, TimeLimit)


def tasks(env: environment.Environment) -> types.TaskDistribution:
  """The one task of an environment, as a distribution."""
  one = jax.tree.map(lambda x: jnp.array([x]), env.default_params)
  return types.TaskDistribution(
      env, one, one, one, one, env.default_params.max_steps_in_episode)
