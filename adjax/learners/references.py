"""Learners to draw every curve between: random, oracle and remember."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import types
from adjax.learners import acting


def random(tasks: types.TaskDistribution) -> types.Learner:
  """Acts uniformly at random and learns nothing."""
  actions = acting.num_actions(tasks.env)
  return acting.policy(
      tasks.env, lambda task, place, time, key: jax.random.randint(
          key, (), 0, actions))


def oracle(tasks: types.TaskDistribution) -> types.Learner:
  """Follows the optimal policy of the task, which it is told."""
  return acting.policy(
      tasks.env, lambda task, place, time, key: tasks.optimal_policy(
          task, place.env_state, key))


class RememberState(NamedTuple):
  """place; targets [G, *O] and known [G]; rewards [] so far this episode."""
  place: acting.Place
  targets: chex.Array
  known: chex.Array
  rewards: chex.Array


def remember(tasks: types.TaskDistribution) -> types.Learner:
  """A random walk until a reward is seen, then back to where it was seen.

  It knows how to walk and nothing else, and searches without method; the line
  that a curve has to be above before it shows learning worth the name. The n-th
  reward of an episode is remembered apart for each n < G.
  """
  env, goals = tasks.env, tasks.num_goals
  actions = acting.num_actions(env)

  def init(task, key):
    place = acting.begin(env, task, key)
    targets = jnp.zeros((goals, *place.obs.shape), place.obs.dtype)
    return RememberState(place, targets, jnp.zeros(goals, bool), jnp.int32(0))

  def step(task, state, key):
    random_key, walk_key, env_key = jax.random.split(key, 3)
    now = jnp.minimum(state.rewards, goals - 1)
    action = jnp.where(
        state.known[now],
        tasks.walk(state.place.obs, state.targets[now], walk_key),
        jax.random.randint(random_key, (), 0, actions))
    place, transition = acting.act(env, task, state.place, action, env_key)
    paid = transition.reward > 0
    targets = state.targets.at[now].set(
        jnp.where(paid, transition.next_obs, state.targets[now]))
    known = state.known.at[now].set(state.known[now] | paid)
    rewards = jnp.where(transition.done, 0, state.rewards + paid)
    return (RememberState(place, targets, known, rewards),
            acting.single(transition))

  return types.Learner(init, step)
