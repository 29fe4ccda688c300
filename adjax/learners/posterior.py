"""Posterior sampling over tasks (Thompson 1933; Strens 2000, for whole MDPs).

A learner that knows the law of the tasks, their dynamics and the optimal policy
of each, and lacks only which task it is in. It keeps the hypotheses that
explain everything seen so far, follows the optimal policy of one of them, and
draws another as soon as that one is refuted. On the grids that is the search
for a goal by someone who knows how to walk.
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


@dataclasses.dataclass(frozen=True)
class Config:
  """Which tasks it holds possible at first.

  Attributes:
    prior: 'all', the whole task law, or 'train', the training tasks alone (an
      ablation: it can then never find a task outside of them).
  """
  prior: str = 'all'

  def __post_init__(self):
    config_lib.check('source', 'prior', self.prior,
                     self.prior in ('all', 'train'), "'all' or 'train'")


class State(NamedTuple):
  """place; each hypothesis's own env_state [M]; alive [M]; target []."""
  place: acting.Place
  imagined: Any
  alive: chex.Array
  target: chex.Array


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """Posterior sampling from a uniform prior over a finite set of tasks.

  Every hypothesis is stepped with the key of the real environment, so that what
  is random there (a reset to a random cell) comes out alike, and it is dropped
  for good when its observation, reward or end of episode differs. Should all be
  dropped (the task was not in the prior), targets are drawn from all of them.

  Raises:
    ValueError: if the tasks have no finite support or no optimal policy.
  """
  prior = tasks.support if config.prior == 'all' else tasks.train
  if prior is None or tasks.optimal_policy is None:
    raise ValueError('source: posterior sampling needs tasks with a finite '
                     'support and an optimal policy')
  env, size = tasks.env, types.num_tasks(prior)

  def draw(alive, key):
    return acting.pick(alive | ~alive.any(), jax.random.uniform(key))

  def init(task, key):
    reset_key, draw_key = jax.random.split(key)
    place = acting.begin(env, task, reset_key)
    obs, imagined = jax.vmap(env.reset, (None, 0))(reset_key, prior)
    alive = _same(obs, place.obs)
    return State(place, imagined, alive, draw(alive, draw_key))

  def step(task, state, key):
    action_key, env_key, draw_key = jax.random.split(key, 3)
    target, imagined = jax.tree.map(
        lambda x: x[state.target], (prior, state.imagined))
    action = tasks.optimal_policy(target, imagined, action_key)
    place, seen = acting.act(env, task, state.place, action, env_key)

    def imagine(hypothesis, env_state):
      there = acting.Place(env_state, state.place.obs)
      there, expected = acting.act(env, hypothesis, there, action, env_key)
      return there, expected

    there, expected = jax.vmap(imagine)(prior, state.imagined)
    alive = (
        state.alive & _same(there.obs, place.obs)
        & _same(expected.next_obs, seen.next_obs)
        & (expected.reward == seen.reward) & (expected.done == seen.done))
    target = jnp.where(
        alive[state.target], state.target, draw(alive, draw_key))
    return State(place, there.env_state, alive, target), acting.single(seen)

  def _same(many, one):
    return (many == one).reshape(size, -1).all(-1)

  return types.Learner(init, step)
