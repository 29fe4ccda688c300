"""Coverage search: a search with method, then straight back to what was found.

A learner that knows the ways and which goals there may be, and not which of
them pays: the source for tasks from a continuum, of which `tasks.hypotheses` is
a finite set of stand-ins. It is posterior sampling that compares rewards alone,
with the memory of `references.random_walk_with_memory`: a hypothesis is ruled
out when its own environment, stepped along, would have paid and the real one
did not; the real one pays, and from then on the learner goes to where that was.
"""

import dataclasses
from typing import Annotated
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import config as config_lib
from adjax import types
from adjax.learners import exploration
from adjax.learners import posterior
from adjax.learners import stepping

# Distances are stretched by up to this share, so that searches differ.
_JITTER = 0.5


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """A coverage search.

  Attributes:
    order: which hypothesis is visited next: 'nearest', the one closest to the
      last (tasks taken as vectors), or 'any', uniformly, which is slower.
  """
  order: Annotated[str, config_lib.Bound(
      lambda x: x in ('nearest', 'any'), "'nearest' or 'any'")] = 'nearest'

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """The coverage search over the hypotheses of some tasks."""
    return learner(self, tasks)


class State(NamedTuple):
  """What a coverage search keeps.

  Attributes:
    actor: its ActorState.
    imagined: [M], the env_state of each hypothesis's own environment.
    alive: [M], whether a hypothesis is not ruled out.
    target: [], the index of the hypothesis that is visited.
    found: [*O], the observation that came with a reward.
    known: [], whether there was one.
  """
  actor: stepping.ActorState
  imagined: types.PyTree
  alive: chex.Array
  target: chex.Array
  found: chex.Array
  known: chex.Array


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """The coverage search over `tasks.hypotheses`, one reward in an episode.

  Should all be ruled out (the task was not covered by them), it starts over.

  Raises:
    ValueError: if the tasks have no hypotheses, optimal policy or goal policy,
      or more than one goal, or if their steps are random.
  """
  env, prior = tasks.env, tasks.hypotheses
  optimal_policy, goal_policy = tasks.optimal_policy, tasks.goal_policy
  if prior is None or optimal_policy is None or goal_policy is None:
    missing = next(name for name in (
        'hypotheses', 'optimal_policy', 'goal_policy')
        if getattr(tasks, name) is None)
    raise ValueError(
        f'tasks.{missing}=None: must be there for source=coverage_search')
  config_lib.check('tasks.num_goals', tasks.num_goals, tasks.num_goals == 1,
                   '1 for source=coverage_search')
  posterior.check_steps_draw_nothing(env)
  vectors = jnp.concatenate([
      jnp.reshape(leaf, (types.num_tasks(prior), -1)).astype(jnp.float32)
      for leaf in jax.tree.leaves(prior)], -1)

  def next_target(
      alive: chex.Array, target: chex.Array, key: chex.PRNGKey
  ) -> chex.Array:
    if config.order == 'any':
      return exploration.choose_allowed(alive, jax.random.uniform(key))
    distance = jnp.linalg.norm(vectors - vectors[target], axis=-1)
    distance *= 1 + _JITTER * jax.random.uniform(key, distance.shape)
    return jnp.argmin(jnp.where(alive, distance, jnp.inf))

  def init(task: types.Task, key: chex.PRNGKey) -> State:
    reset_key, target_key = jax.random.split(key)
    actor = stepping.reset(env, task, reset_key)
    _, imagined = jax.vmap(env.reset, (None, 0))(reset_key, prior)
    alive = jnp.ones(len(vectors), bool)
    target = exploration.choose_allowed(alive, jax.random.uniform(target_key))
    return State(actor, imagined, alive, target, jnp.zeros_like(actor.obs),
                 jnp.bool_(False))

  def step(
      task: types.Task, state: State, key: chex.PRNGKey
  ) -> tuple[State, types.Transition]:
    action_key, env_key, target_key = jax.random.split(key, 3)
    target, imagined = jax.tree.map(
        lambda x: x[state.target], (prior, state.imagined))
    action = jnp.where(
        state.known, goal_policy(state.actor.obs, state.found, action_key),
        optimal_policy(target, imagined, action_key))
    actor, transition = stepping.step(env, task, state.actor, action, env_key)
    # Every hypothesis with the key of the real task, so that both start alike.
    _, imagined, reward, *_ = jax.vmap(env.step, (None, 0, None, 0))(
        env_key, state.imagined, action, prior)
    paid = transition.reward > 0
    alive = state.alive & ((reward <= 0) | paid)
    alive = alive | ~alive.any()
    target = jnp.where(alive[state.target], state.target,
                       next_target(alive, state.target, target_key))
    found = jnp.where(paid, transition.next_obs, state.found)
    return (State(actor, imagined, alive, target, found, state.known | paid),
            stepping.single(transition))

  return types.Learner(init, step)
