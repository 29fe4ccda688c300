"""Tabular Q-learning (Watkins 1989): knows nothing beforehand.

Explores by chance (epsilon-greedy) or by optimism: with a positive initial
value every action looks better before it was tried than after, so that the
search is systematic. A count bonus prefers what was tried less often where
values are alike; beside optimism it gained nothing on any of the three grids,
and alone it is slower.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax.numpy as jnp

from adjax import config as config_lib
from adjax import types
from adjax.learners import acting


@dataclasses.dataclass(frozen=True)
class Config:
  """Tabular Q-learning.

  Attributes:
    learning_rate: alpha.
    discount: gamma.
    epsilon: the share of random actions at first,
    final_epsilon: and after epsilon_episodes,
    epsilon_episodes: having fallen linearly.
    optimism: the initial value of every action; 0 for none.
    bonus: when acting, bonus / sqrt(n + 1) is added to the value of an action
      tried n times before from the same row of the table; 0 for none. Values
      are learnt without it.
    count_rewards: how many rewards of the present episode the learner can tell
      apart, as an input beside the observation that neither histories nor the
      transformer ever hold. Where goals pay once, the grids are partially
      observed: in Key-to-Door a memoryless learner cannot know without this (2
      there) whether to go to the key or to the door, and stays near 1.1 of 2;
      in Hard (1 there) it takes a goal that no longer pays for a bad one.
  """
  learning_rate: float = 0.5
  discount: float = 0.9
  epsilon: float = 0.1
  final_epsilon: float = 0.1
  epsilon_episodes: int = 1
  optimism: float = 0.0
  bonus: float = 0.0
  count_rewards: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'source')
    for name in ('learning_rate', 'epsilon', 'final_epsilon', 'discount'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value <= 1.0, 'from 0 to 1')
    check('epsilon_episodes', self.epsilon_episodes,
          self.epsilon_episodes >= 1, 'at least 1')
    check('bonus', self.bonus, self.bonus >= 0, 'at least 0')
    check('count_rewards', self.count_rewards, self.count_rewards >= 0,
          'at least 0')


class State(NamedTuple):
  """place; values [rows, A]; rewards [] this episode; time []; tries [rows, A].

  tries is None without a bonus.
  """
  place: acting.Place
  values: chex.Array
  rewards: chex.Array
  time: chex.Array
  tries: chex.Array | None


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """Q-learning on a table of observations (times rewards so far)."""
  env, table = tasks.env, acting.table(tasks.env)
  actions = acting.num_actions(env)
  counts = config.count_rewards + 1
  steps = config.epsilon_episodes * tasks.episode_length

  def row(obs, rewards):
    return table.index(obs) * counts + jnp.minimum(rewards, counts - 1)

  def init(task, key):
    values = jnp.full((table.size * counts, actions), config.optimism)
    return State(acting.begin(env, task, key), values, jnp.int32(0),
                 jnp.int32(0), jnp.zeros_like(values) if config.bonus else None)

  def step(task, state, chance):
    u, env_key = chance
    epsilon = acting.anneal(
        config.epsilon, config.final_epsilon, steps, state.time)
    here = row(state.place.obs, state.rewards)
    known, tries = state.values[here], state.tries
    worth = known
    if config.bonus:
      worth = known + config.bonus / jnp.sqrt(tries[here] + 1.0)
    action = acting.epsilon_greedy(worth, epsilon, u)
    if config.bonus:
      tries = tries.at[here, action].add(1.0)
    place, seen = acting.act(env, task, state.place, action, env_key)
    rewards = state.rewards + (seen.reward > 0)
    # A time limit is no end: what would have come after it still counts.
    after = acting.fold(
        jnp.maximum, state.values[row(seen.next_obs, rewards)])
    target = seen.reward + config.discount * after * ~seen.terminated
    values = state.values.at[here, action].add(
        config.learning_rate * (target - known[action]))
    rewards = jnp.where(seen.done, 0, rewards)
    return (State(place, values, rewards, state.time + 1, tries),
            acting.single(seen))

  return types.Learner(
      init, step, draw=acting.beside_env_keys(acting.uniform))
