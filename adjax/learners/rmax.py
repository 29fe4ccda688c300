"""R-max (Brafman & Tennenholtz 2002): a model, and optimism where it has gaps.

Knows nothing beforehand. It believes that an action never tried leads to the
best there is, plans in that belief, and so tries everything that is worth the
way to it.
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
  """R-max for deterministic dynamics: an action tried once is known.

  Attributes:
    discount: gamma of the plan.
    optimism: the value of an untried action. 1 / (1 - discount) is R-max
      proper, for which a gap is worth as much as the best there can be; with
      less it turns to what pays sooner, with too little it never finds the
      shorter ways there.
    epsilon: the share of random actions.
    sweeps: Bellman sweeps over the whole table a step; what a step has taught
      travels that many cells at once and the rest of the way in later steps.
    count_rewards: as for tabular Q-learning.
  """
  discount: float = 0.9
  optimism: float = 7.0
  epsilon: float = 0.0
  sweeps: int = 4
  count_rewards: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'source')
    check('discount', self.discount, 0.0 <= self.discount < 1.0,
          'from 0 to below 1')
    check('epsilon', self.epsilon, 0.0 <= self.epsilon <= 1.0, 'from 0 to 1')
    check('sweeps', self.sweeps, self.sweeps >= 1, 'at least 1')
    check('count_rewards', self.count_rewards, self.count_rewards >= 0,
          'at least 0')


class State(NamedTuple):
  """place; the model, each [rows, A], and the values planned in it; rewards.

  going_on is the discount, or 0 where an action ends the episode by itself.
  """
  place: acting.Place
  successor: chex.Array
  reward: chex.Array
  going_on: chex.Array
  known: chex.Array
  values: chex.Array
  rewards: chex.Array


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """R-max on a table of observations (times rewards so far)."""
  env, table = tasks.env, acting.table(tasks.env)
  counts = config.count_rewards + 1
  shape = (table.size * counts, acting.num_actions(env))

  def row(obs, rewards):
    return table.index(obs) * counts + jnp.minimum(rewards, counts - 1)

  def init(task, key):
    return State(
        acting.begin(env, task, key), jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(shape, bool),
        jnp.full(shape, config.optimism), jnp.int32(0))

  def step(task, state, chance):
    u, env_key = chance
    here = row(state.place.obs, state.rewards)
    action = acting.epsilon_greedy(
        state.values[here], config.epsilon, u)
    place, seen = acting.act(env, task, state.place, action, env_key)
    rewards = state.rewards + (seen.reward > 0)
    successor = state.successor.at[here, action].set(
        row(seen.next_obs, rewards))
    reward = state.reward.at[here, action].set(seen.reward)
    known = state.known.at[here, action].set(True)
    going_on = state.going_on.at[here, action].set(
        config.discount * ~seen.terminated)

    def sweep(values, _):
      best = values.max(-1)[successor]
      return jnp.where(known, reward + going_on * best, config.optimism), None

    values, _ = jax.lax.scan(sweep, state.values, None, config.sweeps)
    rewards = jnp.where(seen.done, 0, rewards)
    state = State(
        place, successor, reward, going_on, known, values, rewards)
    return state, acting.single(seen)

  return types.Learner(
      init, step, draw=acting.beside_env_keys(acting.uniform))
