"""Patrol: a search with method, then straight back to what was found.

A learner that knows how to walk and which places to look at, and not which of
them pays: the source for tasks from a continuum, of which `support` is a finite
set of stand-ins. It is posterior sampling that compares rewards alone, with the
memory of `references.remember`: a stand-in is ruled out when its own
environment, taken along, would have paid and the real one did not; the real one
pays, and from then on the learner walks to where that was.
"""

import dataclasses
from typing import Any
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import config as config_lib
from adjax import types
from adjax.learners import acting

# Distances are stretched by up to this share at random, so that lives differ.
_JITTER = 0.5


@dataclasses.dataclass(frozen=True)
class Config:
  """In which order places are looked at.

  Attributes:
    order: 'nearest', the one closest to the last (tasks taken as vectors), or
      'any', uniformly, which is slower.
  """
  order: str = 'nearest'

  def __post_init__(self):
    config_lib.check('source', 'order', self.order,
                     self.order in ('nearest', 'any'), "'nearest' or 'any'")


class State(NamedTuple):
  """place; each stand-in's own env_state [M]; alive [M]; target [], its index;
  found [*O], the observation that came with a reward, and known []."""
  place: acting.Place
  imagined: Any
  alive: chex.Array
  target: chex.Array
  found: chex.Array
  known: chex.Array


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """The patrol over `tasks.support`, one reward in an episode.

  Should all be ruled out (the task was not covered by them), it starts over.

  Raises:
    ValueError: if the tasks have no support, optimal policy or walk, or more
      than one goal.
  """
  prior, env = tasks.support, tasks.env
  if prior is None or tasks.optimal_policy is None or tasks.walk is None:
    raise ValueError('source: patrol needs tasks with a finite support, an '
                     'optimal policy and a walk')
  if tasks.num_goals != 1:
    raise ValueError(f'source: patrol is for one goal, not {tasks.num_goals}')
  vectors = jnp.concatenate([
      jnp.reshape(leaf, (types.num_tasks(prior), -1)).astype(jnp.float32)
      for leaf in jax.tree.leaves(prior)], -1)

  def draw(alive, target, key):
    if config.order == 'any':
      return acting.pick(alive, jax.random.uniform(key))
    distance = jnp.linalg.norm(vectors - vectors[target], axis=-1)
    distance *= 1 + _JITTER * jax.random.uniform(key, distance.shape)
    return jnp.argmin(jnp.where(alive, distance, jnp.inf))

  def init(task, key):
    reset_key, draw_key = jax.random.split(key)
    place = acting.begin(env, task, reset_key)
    _, imagined = jax.vmap(env.reset, (None, 0))(reset_key, prior)
    alive = jnp.ones(len(vectors), bool)
    target = acting.pick(alive, jax.random.uniform(draw_key))
    return State(place, imagined, alive, target, jnp.zeros_like(place.obs),
                 jnp.bool_(False))

  def step(task, state, key):
    action_key, env_key, draw_key = jax.random.split(key, 3)
    target, imagined = jax.tree.map(
        lambda x: x[state.target], (prior, state.imagined))
    action = jnp.where(
        state.known, tasks.walk(state.place.obs, state.found, action_key),
        tasks.optimal_policy(target, imagined, action_key))
    place, seen = acting.act(env, task, state.place, action, env_key)
    # Every stand-in with the key of the real one, so that both start alike.
    _, imagined, reward, *_ = jax.vmap(env.step, (None, 0, None, 0))(
        env_key, state.imagined, action, prior)
    paid = seen.reward > 0
    alive = state.alive & ((reward <= 0) | paid)
    alive = alive | ~alive.any()
    target = jnp.where(alive[state.target], state.target,
                       draw(alive, state.target, draw_key))
    found = jnp.where(paid, seen.next_obs, state.found)
    return (State(place, imagined, alive, target, found, state.known | paid),
            acting.single(seen))

  return types.Learner(init, step)
