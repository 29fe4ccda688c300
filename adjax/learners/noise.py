"""Demonstrations whose noise is annealed (AD-eps, Zisman et al. 2024).

Not a learner but made to look like one: the optimal policy of the task, which
it is told, with a share of random actions that falls from one to zero.
"""

import dataclasses

import jax

from adjax import config as config_lib
from adjax import types
from adjax.learners import acting


@dataclasses.dataclass(frozen=True)
class Config:
  """Attributes: anneal_episodes, over which the noise falls from 1 to 0."""
  anneal_episodes: int = 30

  def __post_init__(self):
    config_lib.check('source', 'anneal_episodes', self.anneal_episodes,
                     self.anneal_episodes >= 1, 'at least 1')


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """The annealed oracle."""
  steps = config.anneal_episodes * tasks.episode_length
  actions = acting.num_actions(tasks.env)

  def choose(task, place, time, key):
    coin_key, random_key, optimal_key = jax.random.split(key, 3)
    noisy = jax.random.uniform(coin_key) < acting.anneal(1.0, 0.0, steps, time)
    return jax.numpy.where(
        noisy, jax.random.randint(random_key, (), 0, actions),
        tasks.optimal_policy(task, place.env_state, optimal_key))

  return acting.policy(tasks.env, choose)
