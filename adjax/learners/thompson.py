"""Thompson sampling (Thompson 1933), a bandit learner.

Samples what each arm pays from its posterior and pulls the arm with the highest
sample. It looks at no observation, so it is for environments whose episodes are
one step. It knows the kind of rewards and a prior for every arm by itself, not
that the arms of a task are distributed together.
"""

import dataclasses
from typing import Annotated

import chex
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.learners import bandits


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """Thompson sampling.

  Attributes:
    rewards: 'bernoulli', in {0, 1}, with the prior Beta(1, 1), which is uniform
      on [0, 1]; or 'gaussian', with a normal prior and the fields below.
    noise: the standard deviation of Gaussian rewards, known to the learner.
    prior_mean: the mean of the normal prior of what an arm pays.
    prior_deviation: the standard deviation of that prior; a uniform mean on
      [0, 1] has .29.
  """
  rewards: Annotated[str, config_lib.Bound(
      lambda x: x in ('bernoulli', 'gaussian'),
      "'bernoulli' or 'gaussian'")] = 'bernoulli'
  noise: config_lib.Positive = 0.3
  prior_mean: float = 0.5
  prior_deviation: config_lib.Positive = 0.3

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """Thompson sampling on some bandits."""
    return learner(self, tasks)


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """Thompson sampling on the arms of a bandit.

  Raises:
    ValueError: if the environment does not say of itself, in its config, that
      it pays the rewards that the posterior is for, or if the tasks are no
      bandits.
  """
  env_config = getattr(tasks.env, 'config', None)
  reward, noise = (
      getattr(env_config, name, None) for name in ('reward', 'noise'))
  config_lib.check(
      'rewards', config.rewards, config.rewards == reward,
      f'those that the tasks say they pay: tasks.env.config.reward={reward!r}')
  config_lib.check(
      'noise', config.noise, reward == 'bernoulli' or config.noise == noise,
      f'that of the tasks: tasks.env.config.noise={noise}')

  def choose(
      pulls: chex.Array, total: chex.Array, key: chex.PRNGKey
  ) -> chex.Array:
    first, second = posterior(config, pulls, total)
    if config.rewards == 'bernoulli':
      return jnp.argmax(beta(key, first, second))
    return jnp.argmax(first + second * jax.random.normal(key, pulls.shape))

  # A key for each call: so many numbers for many calls would fill a cache.
  return bandits.learner(tasks, choose, jax.random.split)


def posterior(
    config: Config, pulls: chex.Array, total: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Two parameters [A] of every arm's posterior.

  Args:
    config: the prior.
    pulls: [A], how often each arm was pulled.
    total: [A], what that paid.

  Returns:
    a and b of Beta(a, b), or mean and standard deviation of a normal
    distribution.
  """
  arrays.check('pulls [A] number, total [A] number', pulls, total)
  if config.rewards == 'bernoulli':
    return 1.0 + total, 1.0 + pulls - total
  prior, evidence = config.prior_deviation**-2, config.noise**-2
  precision = prior + pulls * evidence
  mean = (prior * config.prior_mean + evidence * total) / precision
  return mean, precision**-0.5


def beta(key: chex.PRNGKey, a: chex.Array, b: chex.Array) -> chex.Array:
  """Samples of Beta(a, b), elementwise.

  Args:
    key: one key.
    a: [...], at least 1.
    b: [...], at least 1.
  """
  arrays.check('key [] key, a [*S] float, b [*S] float', key, a, b)
  x, y = gamma(key, jnp.stack([a, b]))
  return x / (x + y)


def gamma(
    key: chex.PRNGKey, shape: chex.Array, candidates: int = 4
) -> chex.Array:
  """Samples of Gamma(shape), elementwise.

  Marsaglia and Tsang's (2000) rejection sampling, with a fixed number of
  candidates: each is taken with a probability of more than .95, and in fewer
  than 7 of a million samples none is and the first stands. jax.random.gamma
  loops until one is taken, element by element, which takes three times as long
  on a CPU.

  Args:
    key: one key.
    shape: [...], at least 1.
    candidates: how many there are of each sample.
  """
  arrays.check('key [] key, shape [...] float', key, shape)
  normal_key, uniform_key = jax.random.split(key)
  x = jax.random.normal(normal_key, (candidates, *shape.shape))
  u = jax.random.uniform(uniform_key, x.shape)
  d = shape - 1 / 3
  v = jnp.maximum(1 + x / (3 * jnp.sqrt(d)), 1e-6) ** 3
  taken = jnp.log(u) < x**2 / 2 + d * (1 - v + jnp.log(v))
  return d * jnp.take_along_axis(v, taken.argmax(0)[None], 0)[0]
