"""Tabular Q-learning (Watkins 1989): knows nothing beforehand.

Explores by noise (epsilon-greedy) or by optimism: with a positive initial
value every action looks better before it was tried than after, so that the
search is systematic. A count bonus prefers what was tried less often where
values are alike; beside optimism it gained nothing on any of the three grids,
and alone it is slower.
"""

import dataclasses
from typing import NamedTuple

import chex
import jax.numpy as jnp

from adjax import config as config_lib
from adjax import types
from adjax.learners import exploration
from adjax.learners import stepping
from adjax.learners import tables


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """Tabular Q-learning.

  Attributes:
    learning_rate: alpha.
    discount: gamma.
    epsilon: the share of random actions at first.
    final_epsilon: the share of random actions from epsilon_episodes on.
    epsilon_episodes: the episodes over which that share moves linearly.
    optimism: the initial value of every action; 0 for none.
    lambda_: of Watkins's Q(lambda), with replacing traces: how far what a step
      has taught goes back along the greedy actions that led there. 0 for none.
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
  learning_rate: config_lib.Fraction = 0.5
  discount: config_lib.Fraction = 0.9
  epsilon: config_lib.Fraction = 0.1
  final_epsilon: config_lib.Fraction = 0.1
  epsilon_episodes: config_lib.Count = 1
  optimism: float = 0.0
  lambda_: config_lib.Fraction = 0.0
  bonus: config_lib.NonNegative = 0.0
  count_rewards: config_lib.Index = 0

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """Q-learning on some tasks."""
    return learner(self, tasks)


class State(NamedTuple):
  """What Q-learning keeps.

  Attributes:
    actor: its ActorState.
    values: [rows, A].
    rewards: [], how many there were in the present episode.
    time: [], steps taken.
    tries: [rows, A], how often each action was tried; None without a bonus.
    traces: [rows, A], how much of an error each entry takes; None without
      lambda_.
  """
  actor: stepping.ActorState
  values: chex.Array
  rewards: chex.Array
  time: chex.Array
  tries: chex.Array | None
  traces: chex.Array | None


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """Q-learning on a table of observations (times rewards so far).

  Raises:
    ValueError: if the observations are not small integers.
  """
  env = tasks.env
  table = tables.table(env, config.count_rewards)
  anneal_steps = config.epsilon_episodes * tasks.episode_length

  def init(task: types.Task, key: chex.PRNGKey) -> State:
    values = jnp.full(
        (table.size, stepping.num_actions(env)), config.optimism)
    zeros = lambda used: jnp.zeros_like(values) if used else None
    return State(stepping.reset(env, task, key), values, jnp.int32(0),
                 jnp.int32(0), zeros(config.bonus), zeros(config.lambda_))

  def step(
      task: types.Task, state: State, noise: types.PyTree
  ) -> tuple[State, types.Transition]:
    u, env_key = noise
    epsilon = exploration.anneal(
        config.epsilon, config.final_epsilon, anneal_steps, state.time)
    row = table.row(state.actor.obs, state.rewards)
    values, tries = state.values[row], state.tries
    worth = values
    if tries is not None:
      worth = values + config.bonus / jnp.sqrt(tries[row] + 1.0)
    action = exploration.epsilon_greedy(worth, epsilon, u)
    if tries is not None:
      tries = tries.at[row, action].add(1.0)
    actor, transition = stepping.step(env, task, state.actor, action, env_key)
    rewards = state.rewards + (transition.reward > 0)
    # A time limit is no end: what would have come after it still counts.
    next_value = exploration.reduce_values(
        jnp.maximum, state.values[table.row(transition.next_obs, rewards)])
    target = transition.reward + (
        config.discount * next_value * ~transition.terminated)
    change = config.learning_rate * (target - values[action])
    traces = state.traces
    if traces is None:
      all_values = state.values.at[row, action].add(change)
    else:
      greedy = values[action] >= exploration.reduce_values(jnp.maximum, values)
      traces *= jnp.where(greedy, config.discount * config.lambda_, 0)
      traces = traces.at[row].set(0).at[row, action].set(1)
      all_values = state.values + change * traces
      traces = jnp.where(transition.done, 0, traces)
    rewards = jnp.where(transition.done, 0, rewards)
    return (State(actor, all_values, rewards, state.time + 1, tries, traces),
            stepping.single(transition))

  return types.Learner(
      init, step, sample_noise=stepping.with_env_keys(exploration.uniform))
