"""An oracle whose noise is annealed (AD-epsilon, Zisman et al. 2024).

Not a learner but made to look like one: the optimal policy of the task, which
it is told, with a share of random actions that falls from one to zero.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.learners import exploration
from adjax.learners import stepping


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """An annealed oracle.

  Attributes:
    anneal_episodes: the episodes over which the share of random actions falls
      from 1 to 0.
  """
  anneal_episodes: config_lib.Count = 30

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """The annealed oracle of some tasks."""
    return learner(self, tasks)


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """The annealed oracle.

  Raises:
    ValueError: if the tasks have no optimal policy.
  """
  if tasks.optimal_policy is None:
    raise ValueError(
        'tasks.optimal_policy=None: must be there for source=annealed_oracle, '
        'which follows it')
  steps = config.anneal_episodes * tasks.episode_length

  def choose(
      task: types.Task, actor: stepping.ActorState, time: chex.Array,
      key: chex.PRNGKey,
  ) -> chex.Array:
    epsilon = exploration.anneal(1.0, 0.0, steps, time)
    return noisy(tasks, epsilon, task, actor.env_state, key)

  return stepping.policy(tasks.env, choose)


def noisy(
    tasks: types.TaskDistribution, epsilon: chex.Numeric, task: types.Task,
    env_state: types.PyTree, key: chex.PRNGKey,
) -> chex.Array:
  """The optimal action [], or with probability epsilon any action.

  Args:
    tasks: they have an optimal policy.
    epsilon: [], the share of actions that are uniformly random.
    task: which of them.
    env_state: its environment's.
    key: one key.
  """
  arrays.check('epsilon [] number, key [] key', epsilon, key)
  assert tasks.optimal_policy is not None
  coin_key, random_key, optimal_key = jax.random.split(key, 3)
  return jnp.where(
      jax.random.uniform(coin_key) < epsilon,
      jax.random.randint(random_key, (), 0, stepping.num_actions(tasks.env)),
      tasks.optimal_policy(task, env_state, optimal_key))
