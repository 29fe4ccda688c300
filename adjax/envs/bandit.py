"""The adversarial bandit: which arms are good is turned round after training.

Laskin et al. (2022), section 4: ten arms, a life of 100 trials, no observation;
rewards are "more likely distributed under odd arms 95 % of the time" in
training and under even arms afterwards. The paper leaves open how the means are
drawn and whether rewards are Bernoulli or Gaussian, so both are fields of the
config. The law of means here is the one most reproductions use (Sinii et al.
2024, Headless-AD); another draws .95 U[0, 1] for odd arms and .05 U[0, 1] for
even ones, and figures under different laws do not compare.

Arms are numbered from 1, as in the paper: the odd ones, 1, 3, 5, ..., are the
actions 0, 2, 4, ...

Every pull is an episode of one step, so that what the library says of episodes
is said of trials. A life of 100 trials is 100 episodes.
"""

import dataclasses
import functools

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

LAWS = ('odd', 'even', 'uniform')


@struct.dataclass
class EnvState(environment.EnvState):
  """time [], 0 or 1: pulls in this episode."""
  time: chex.Array


@struct.dataclass
class EnvParams(environment.EnvParams):
  """The task: means [A], float32, what each arm pays on average."""
  means: chex.Array = dataclasses.field(default_factory=lambda: jnp.zeros(10))
  max_steps_in_episode: int = 1


@dataclasses.dataclass(frozen=True)
class Config:
  """Arms, what they pay, and three sets of tasks.

  Attributes:
    arms: A.
    reward: 'bernoulli' pays 1 with probability mean, else 0; 'gaussian' pays
      the mean plus noise.
    noise: the standard deviation of Gaussian rewards; .3 as Lee et al. (2023).
    law: of the means of all three sets.
      'odd': with probability high_share the odd arms' means are uniform on
      [.5, 1] and the even arms' on [0, .5], otherwise the other way round;
      'even': the same with odd and even exchanged;
      'uniform': every mean is uniform on [0, 1].
    high_share: the share of tasks in which the law's arms are the good ones.
    num_train: training tasks.
    num_validation: validation tasks.
    num_held_out: held-out tasks, of this law and of each other one.
    split_seed: which tasks are drawn. A set's tasks depend on its law, its name
      and this alone; more of them begin with the same ones.
  """
  arms: int = 10
  reward: str = 'bernoulli'
  noise: float = 0.3
  law: str = 'odd'
  high_share: float = 0.95
  num_train: int = 8192
  num_validation: int = 256
  num_held_out: int = 256
  split_seed: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'tasks')
    check('arms', self.arms, 2 <= self.arms <= 128, 'from 2 to 128')
    check('reward', self.reward, self.reward in ('bernoulli', 'gaussian'),
          '\'bernoulli\' or \'gaussian\'')
    check('noise', self.noise, self.noise > 0, 'above 0')
    check('law', self.law, self.law in LAWS,
          'one of ' + ', '.join(map(repr, LAWS)))
    check('high_share', self.high_share, 0.0 <= self.high_share <= 1.0,
          'from 0 to 1')
    check('split_seed', self.split_seed, self.split_seed >= 0, 'at least 0')
    for name in ('num_train', 'num_validation', 'num_held_out'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')

  @property
  def episode_length(self) -> int:
    """One pull."""
    return 1


BANDIT = Config()


class Bandit(environment.Environment):
  """The bandit as a gymnax 1.0 environment; equal configs are equal to jit."""

  def __init__(self, config: Config = BANDIT):
    self.config = config

  def __eq__(self, other):
    return isinstance(other, Bandit) and self.config == other.config

  def __hash__(self):
    return hash(self.config)

  @property
  def default_params(self) -> EnvParams:
    return EnvParams(means=jnp.full(self.config.arms, 0.5))

  @property
  def num_actions(self) -> int:
    return self.config.arms

  def action_space(self, params=None) -> spaces.Discrete:
    return spaces.Discrete(self.config.arms)

  def observation_space(self, params=None) -> spaces.Box:
    return spaces.Box(0, 0, (1,), jnp.int8)

  def reset_env(self, key, params):
    state = EnvState(time=jnp.int32(0))
    return self.observe(key, state, None, params), state

  def step_env(self, key, state, action, params):
    mean = params.means[action]
    if self.config.reward == 'bernoulli':
      reward = jax.random.bernoulli(key, mean).astype(jnp.float32)
    else:
      reward = mean + self.config.noise * jax.random.normal(key)
    state = EnvState(time=state.time + 1)
    return (self.observe(key, state, action, params), state, reward,
            jnp.bool_(False), {})

  def observe(self, key, state, action, params):
    del key, state, action, params
    return jnp.zeros(1, jnp.int8)


def optimal_return(task: EnvParams) -> chex.Array:
  """The mean [] of the best arm."""
  arrays.check('task.means [A] float', task.means)
  return task.means.max()


def optimal_policy(
    task: EnvParams, state: EnvState, key: chex.PRNGKey
) -> chex.Array:
  """A best arm, ties uniformly."""
  arrays.check('task.means [A] float, key [] key', task.means, key)
  del state
  best = task.means == task.means.max()
  return jax.random.categorical(key, jnp.where(best, 0.0, -jnp.inf))


def draw_means(
    config: Config, law: str, rng: np.random.Generator, num_tasks: int
) -> np.ndarray:
  """Means [N, A], float32, of so many tasks of a law."""
  # One row a task, so that more tasks begin with the same ones.
  return _means_of(config, law, rng.random((num_tasks, config.arms + 1)))


def _means_of(config: Config, law: str, u: chex.Array) -> chex.Array:
  """Means [..., A], float32, of a law from uniform numbers [..., A + 1]."""
  means, share = u[..., 1:], u[..., :1]
  if law == 'uniform':
    return means.astype(np.float32)
  odd = np.arange(config.arms) % 2 == 0  # Arms 1, 3, 5, ...
  named = odd if law == 'odd' else ~odd
  high = named == (share < config.high_share)
  return (0.5 * means + 0.5 * high).astype(np.float32)


def tasks(config: Config = BANDIT) -> types.TaskDistribution:
  """Three sets of the config's law, and a held-out one of each other law."""

  def draw(law, name, num_tasks):
    rng = np.random.default_rng(
        [config.split_seed, LAWS.index(law),
         ('train', 'validation', 'held_out').index(name)])
    return EnvParams(
        means=jnp.asarray(draw_means(config, law, rng, num_tasks)),
        max_steps_in_episode=jnp.ones(num_tasks, jnp.int32))

  def fresh(key):
    u = jax.random.uniform(key, (config.arms + 1,))
    return EnvParams(means=_means_of(config, config.law, u),
                     max_steps_in_episode=jnp.int32(1))

  return types.TaskDistribution(
      env=Bandit(config), fresh=fresh,
      train=draw(config.law, 'train', config.num_train),
      validation=draw(config.law, 'validation', config.num_validation),
      held_out=draw(config.law, 'held_out', config.num_held_out),
      support=None, episode_length=config.episode_length,
      optimal_return=optimal_return, optimal_policy=optimal_policy,
      shifted={law: draw(law, 'held_out', config.num_held_out)
               for law in LAWS if law != config.law})
