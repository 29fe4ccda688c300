"""Learners to draw every curve between, which know more or learn less."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import types
from adjax.learners import stepping


@types.cached
def random(tasks: types.TaskDistribution) -> types.Learner:
  """Acts uniformly at random and learns nothing."""
  actions = stepping.num_actions(tasks.env)
  return stepping.policy(
      tasks.env, lambda task, actor, time, key: jax.random.randint(
          key, (), 0, actions))


@types.cached
def oracle(tasks: types.TaskDistribution) -> types.Learner:
  """Follows the optimal policy of the task, which it is told.

  Raises:
    ValueError: if the tasks have no optimal policy.
  """
  optimal_policy = tasks.optimal_policy
  if optimal_policy is None:
    raise ValueError('tasks.optimal_policy=None: must be there for an oracle')
  return stepping.policy(
      tasks.env, lambda task, actor, time, key: optimal_policy(
          task, actor.env_state, key))


class MemoryState(NamedTuple):
  """What a random walk with memory keeps.

  Attributes:
    actor: its ActorState.
    targets: [G, *O], what the n-th reward of an episode was seen with.
    known: [G], whether it was ever seen.
    rewards: [], how many there were in the present episode.
  """
  actor: stepping.ActorState
  targets: chex.Array
  known: chex.Array
  rewards: chex.Array


@types.cached
def random_walk_with_memory(tasks: types.TaskDistribution) -> types.Learner:
  """A random walk until a reward is seen, then back to where it was seen.

  It knows the way from one observation to another and nothing else, and its
  search has no method: the line that a curve has to be above before it shows
  learning worth the name. The n-th reward of an episode is remembered apart for
  each n < G.

  Raises:
    ValueError: if the tasks have no goal policy.
  """
  env, goals, goal_policy = tasks.env, tasks.num_goals, tasks.goal_policy
  if goal_policy is None:
    raise ValueError(
        'tasks.goal_policy=None: must be there for a random walk with memory')
  actions = stepping.num_actions(env)

  def init(task: types.Task, key: chex.PRNGKey) -> MemoryState:
    actor = stepping.reset(env, task, key)
    targets = jnp.zeros((goals, *actor.obs.shape), actor.obs.dtype)
    return MemoryState(actor, targets, jnp.zeros(goals, bool), jnp.int32(0))

  def step(
      task: types.Task, state: MemoryState, key: chex.PRNGKey
  ) -> tuple[MemoryState, types.Transition]:
    random_key, goal_key, env_key = jax.random.split(key, 3)
    now = jnp.minimum(state.rewards, goals - 1)
    action = jnp.where(
        state.known[now],
        goal_policy(state.actor.obs, state.targets[now], goal_key),
        jax.random.randint(random_key, (), 0, actions))
    actor, transition = stepping.step(env, task, state.actor, action, env_key)
    paid = transition.reward > 0
    targets = state.targets.at[now].set(
        jnp.where(paid, transition.next_obs, state.targets[now]))
    known = state.known.at[now].set(state.known[now] | paid)
    rewards = jnp.where(transition.done, 0, state.rewards + paid)
    return (MemoryState(actor, targets, known, rewards),
            stepping.single(transition))

  return types.Learner(init, step)
