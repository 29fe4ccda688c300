"""R-max (Brafman & Tennenholtz 2002): a model, and optimism where it has gaps.

Knows nothing beforehand. It believes that an action never tried leads to the
best there is, plans in that belief, and so tries everything that is worth the
way to it.
"""

import dataclasses
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import config as config_lib
from adjax import types
from adjax.learners import exploration
from adjax.learners import stepping
from adjax.learners import tables


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
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
    count_rewards: as in tabular_q.Config.
  """
  discount: config_lib.Rate = 0.9
  optimism: float = 7.0
  epsilon: config_lib.Fraction = 0.0
  sweeps: config_lib.Count = 4
  count_rewards: config_lib.Index = 0

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """R-max on some tasks."""
    return learner(self, tasks)


class State(NamedTuple):
  """What R-max keeps: a model, and the values planned in it.

  Attributes:
    actor: its ActorState.
    successor: [rows, A], the row that each action leads to.
    reward: [rows, A], what it pays.
    discount: [rows, A], of what comes after it; 0 where it ends the episode by
      itself.
    known: [rows, A], whether it was tried.
    values: [rows, A].
    rewards: [], how many there were in the present episode.
  """
  actor: stepping.ActorState
  successor: chex.Array
  reward: chex.Array
  discount: chex.Array
  known: chex.Array
  values: chex.Array
  rewards: chex.Array


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """R-max on a table of observations (times rewards so far).

  Raises:
    ValueError: if the observations are not small integers.
  """
  env = tasks.env
  table = tables.table(env, config.count_rewards)
  shape = (table.size, stepping.num_actions(env))

  def init(task: types.Task, key: chex.PRNGKey) -> State:
    return State(
        stepping.reset(env, task, key), jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(shape, bool),
        jnp.full(shape, config.optimism), jnp.int32(0))

  def step(
      task: types.Task, state: State, noise: types.PyTree
  ) -> tuple[State, types.Transition]:
    u, env_key = noise
    row = table.row(state.actor.obs, state.rewards)
    action = exploration.epsilon_greedy(state.values[row], config.epsilon, u)
    actor, transition = stepping.step(env, task, state.actor, action, env_key)
    rewards = state.rewards + (transition.reward > 0)
    successor = state.successor.at[row, action].set(
        table.row(transition.next_obs, rewards))
    reward = state.reward.at[row, action].set(transition.reward)
    known = state.known.at[row, action].set(True)
    discount = state.discount.at[row, action].set(
        config.discount * ~transition.terminated)

    def sweep(values: chex.Array, _: None) -> tuple[chex.Array, None]:
      best = values.max(-1)[successor]
      return jnp.where(known, reward + discount * best, config.optimism), None

    values, _ = jax.lax.scan(sweep, state.values, None, config.sweeps)
    rewards = jnp.where(transition.done, 0, rewards)
    state = State(actor, successor, reward, discount, known, values, rewards)
    return state, stepping.single(transition)

  return types.Learner(
      init, step, sample_noise=stepping.with_env_keys(exploration.uniform))
