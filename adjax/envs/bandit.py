"""The adversarial bandit: which arms are good is turned round after training.

Laskin et al. (2022), section 4: ten arms, 100 trials, no observation; rewards
are "more likely distributed under odd arms 95 % of the time" in training and
under even arms afterwards. The paper leaves open how the means are distributed
and whether rewards are Bernoulli or Gaussian, so both are fields of the config.
The distribution of means here is the one most reproductions use (Sinii et al.
2024, Headless-AD); another has .95 U[0, 1] for odd arms and .05 U[0, 1] for
even ones, and figures under different distributions do not compare.

Arms are numbered from 1, as in the paper: the odd ones, 1, 3, 5, ..., are the
actions 0, 2, 4, ...

Every pull is an episode of one step, so that what the library says of episodes
is said of trials: 100 trials are 100 episodes.
"""

import dataclasses
from typing import Annotated
from typing import Any

import chex
from flax import struct
from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.envs import equality

DISTRIBUTIONS = ('odd', 'even', 'uniform')


@struct.dataclass
class EnvState(environment.EnvState):
  """The state of a bandit.

  Attributes:
    time: [], 0 or 1, pulls in this episode.
  """
  time: chex.Array


@struct.dataclass
class EnvParams(environment.EnvParams):
  """The task.

  Attributes:
    means: [A], float32, what each arm pays on average.
    max_steps_in_episode: 1.
  """
  means: chex.Array = dataclasses.field(default_factory=lambda: jnp.zeros(10))
  max_steps_in_episode: chex.Numeric = 1


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """Arms, what they pay, and three sets of tasks.

  Attributes:
    arms: A.
    reward: 'bernoulli' pays 1 with probability mean, else 0; 'gaussian' pays
      the mean plus noise.
    noise: the standard deviation of Gaussian rewards; .3 as Lee et al. (2023).
    distribution: of the means of all three sets.
      'odd': with probability high_share the odd arms' means are uniform on
      [.5, 1] and the even arms' on [0, .5], otherwise the other way round;
      'even': the same with odd and even exchanged;
      'uniform': every mean is uniform on [0, 1].
    high_share: the share of tasks in which the arms that the distribution is
      named after are the good ones.
    num_train: training tasks.
    num_validation: validation tasks.
    num_held_out: held-out tasks, of this distribution and of each other one.
    split_seed: which tasks are sampled. A set's tasks depend on its
      distribution, its name and this alone; more of them begin with the same
      ones.
  """
  arms: Annotated[int, config_lib.Bound(
      lambda x: 2 <= x <= 128, 'from 2 to 128')] = 10
  reward: Annotated[str, config_lib.Bound(
      lambda x: x in ('bernoulli', 'gaussian'),
      "'bernoulli' or 'gaussian'")] = 'bernoulli'
  noise: config_lib.Positive = 0.3
  distribution: Annotated[str, config_lib.Bound(
      lambda x: x in DISTRIBUTIONS,
      'one of ' + ', '.join(map(repr, DISTRIBUTIONS)))] = 'odd'
  high_share: config_lib.Fraction = 0.95
  num_train: config_lib.Count = 8192
  num_validation: config_lib.Count = 256
  num_held_out: config_lib.Count = 256
  split_seed: config_lib.Index = 0

  @property
  def episode_length(self) -> int:
    """One pull."""
    return 1

  def make(self) -> types.TaskDistribution:
    """The bandits of this config."""
    return tasks(self)

  def scene(self, task: 'EnvParams') -> dict[str, Any]:
    """A task as a page shows and plays it.

    Args:
      task: of NumPy arrays.

    Returns:
      JSON: `kind` 'arms'; `means` [A]; `actions`, names of the arms; `reward`
      and `noise` as here.
    """
    return {'kind': 'arms', 'means': np.asarray(task.means).tolist(),
            'actions': [f'arm {i + 1}' for i in range(self.arms)],
            'reward': self.reward, 'noise': self.noise}


BANDIT = Config()


class Bandit(equality.EqualByConfig, environment.Environment):
  """The bandit as a gymnax 1.0 environment; equal configs are equal to jit.

  Attributes:
    config: what it was made from.
  """

  def __init__(self, config: Config = BANDIT) -> None:
    self.config: Config = config

  @property
  def default_params(self) -> EnvParams:
    return EnvParams(means=jnp.full(self.config.arms, 0.5))

  @property
  def num_actions(self) -> int:
    return self.config.arms

  def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
    return spaces.Discrete(self.config.arms)

  def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
    return spaces.Box(0, 0, (1,), jnp.int8)

  def reset_env(
      self, key: chex.PRNGKey, params: EnvParams
  ) -> tuple[chex.Array, EnvState]:
    state = EnvState(time=jnp.int32(0))
    return self.observe(key, state, None, params), state

  def step_env(
      self, key: chex.PRNGKey, state: EnvState, action: chex.Array,
      params: EnvParams,
  ) -> tuple[chex.Array, EnvState, chex.Array, chex.Array, dict]:
    mean = params.means[action]
    if self.config.reward == 'bernoulli':
      reward = jax.random.bernoulli(key, mean).astype(jnp.float32)
    else:
      reward = mean + self.config.noise * jax.random.normal(key)
    state = EnvState(time=state.time + 1)
    return (self.observe(key, state, action, params), state, reward,
            jnp.bool_(False), {})

  def observe(
      self, key: chex.PRNGKey, state: EnvState, action: chex.Array | None,
      params: EnvParams,
  ) -> chex.Array:
    del key, state, action, params
    return jnp.zeros(1, jnp.int8)


def optimal_return(task: EnvParams) -> chex.Array:
  """The mean [] of the best arm."""
  arrays.check('task.means [A] float', task.means)
  return task.means.max()


def optimal_policy(
    task: EnvParams, state: EnvState, key: chex.PRNGKey
) -> chex.Array:
  """A best arm, ties uniformly.

  Args:
    task: the means.
    state: not read.
    key: of the ties.
  """
  arrays.check('task.means [A] float, key [] key', task.means, key)
  del state
  best = task.means == task.means.max()
  return jax.random.categorical(key, jnp.where(best, 0.0, -jnp.inf))


def sample_means(
    config: Config, distribution: str, rng: np.random.Generator, num_tasks: int
) -> np.ndarray:
  """Means [N, A], float32, of several tasks.

  Args:
    config: its arms and high_share are read.
    distribution: one of DISTRIBUTIONS.
    rng: of what is random.
    num_tasks: N.
  """
  # One row a task, so that more tasks begin with the same ones.
  return _means_of(
      config, distribution, rng.random((num_tasks, config.arms + 1)))


def _means_of(
    config: Config, distribution: str, u: chex.Array
) -> chex.Array:
  """Means [..., A], float32, from uniform numbers [..., A + 1]."""
  means, share = u[..., 1:], u[..., :1]
  if distribution == 'uniform':
    return means.astype(np.float32)
  odd = np.arange(config.arms) % 2 == 0  # Arms 1, 3, 5, ...
  named = odd if distribution == 'odd' else ~odd
  high = named == (share < config.high_share)
  return (0.5 * means + 0.5 * high).astype(np.float32)


def tasks(config: Config = BANDIT) -> types.TaskDistribution:
  """Three sets of the config's distribution, and held out ones of the others.
  """

  def sample(distribution: str, name: str, num_tasks: int) -> EnvParams:
    rng = np.random.default_rng(
        [config.split_seed, DISTRIBUTIONS.index(distribution),
         ('train', 'validation', 'held_out').index(name)])
    return EnvParams(
        means=jnp.asarray(sample_means(config, distribution, rng, num_tasks)),
        max_steps_in_episode=jnp.ones(num_tasks, jnp.int32))

  def sample_new(key: chex.PRNGKey) -> EnvParams:
    u = jax.random.uniform(key, (config.arms + 1,))
    return EnvParams(means=_means_of(config, config.distribution, u),
                     max_steps_in_episode=jnp.int32(1))

  return types.TaskDistribution(
      env=Bandit(config),
      train=sample(config.distribution, 'train', config.num_train),
      validation=sample(
          config.distribution, 'validation', config.num_validation),
      held_out=sample(config.distribution, 'held_out', config.num_held_out),
      episode_length=config.episode_length, optimal_return=optimal_return,
      optimal_policy=optimal_policy, sample_new=sample_new,
      shifted={name: sample(name, 'held_out', config.num_held_out)
               for name in DISTRIBUTIONS if name != config.distribution})
