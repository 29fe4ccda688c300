"""UCB1 (Auer, Cesa-Bianchi and Fischer 2002), a bandit learner.

It looks at no observation, so it is for environments whose episodes are one
step. Every arm is pulled once; then the arm with the highest index

  mean_a + exploration * sqrt(log(t) / n_a)

where t is the number of pulls so far, n_a those of arm a, and mean_a what they
paid on average. Ties are broken uniformly, the first pulls included.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import config as config_lib
from adjax import types
from adjax.learners import acting


@dataclasses.dataclass(frozen=True)
class Config:
  """UCB1.

  Attributes:
    exploration: the weight of the bonus. In 100 pulls of ten Bernoulli arms
      under the 'odd' law, .1 to .2 earn 82.3, 0 82.2, the .3 that reproductions
      of Laskin et al. use 81.6, .5 78.6, and the textbook's sqrt(2) 64.3.
  """
  exploration: float = 0.15

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'source')
    check('exploration', self.exploration, self.exploration >= 0, 'at least 0')


class State(NamedTuple):
  """place; pulls [A] of each arm and what they paid, total [A]; float32."""
  place: acting.Place
  pulls: chex.Array
  total: chex.Array


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """UCB1 on the arms of a bandit."""
  env = tasks.env
  arms = acting.num_actions(env)

  def init(task, key):
    return State(acting.begin(env, task, key), jnp.zeros(arms),
                 jnp.zeros(arms))

  def step(task, state, key):
    action_key, env_key = jax.random.split(key)
    action = acting.epsilon_greedy(
        indices(config, state.pulls, state.total), 0.0, action_key)
    place, seen = acting.act(env, task, state.place, action, env_key)
    return State(place, state.pulls.at[action].add(1.0),
                 state.total.at[action].add(seen.reward)), acting.single(seen)

  return types.Learner(init, step)


def indices(
    config: Config, pulls: chex.Array, total: chex.Array
) -> chex.Array:
  """The index [A] of every arm; infinite for those not pulled yet."""
  chex.assert_rank([pulls, total], 1)
  n = jnp.maximum(pulls, 1.0)
  log_t = jnp.log(jnp.maximum(pulls.sum(), 1.0))
  return jnp.where(pulls == 0, jnp.inf,
                   total / n + config.exploration * jnp.sqrt(log_t / n))
