"""Posterior sampling over tasks (Thompson 1933; Strens 2000, for whole MDPs).

A learner that knows the distribution of the tasks, their dynamics and the
optimal policy of each, and lacks only which task it is in. It keeps the
hypotheses that explain everything seen so far, follows the optimal policy of
one of them, and samples another as soon as that one is refuted. On the grids
that is the search for a goal by someone who knows the way to every cell.
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
from adjax.learners import stepping


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """Posterior sampling.

  Attributes:
    prior: which tasks it holds possible at first: 'all', the whole
      distribution, or 'train', the training tasks alone (an ablation: it can
      then never find a task outside of them).
  """
  prior: Annotated[str, config_lib.Bound(
      lambda x: x in ('all', 'train'), "'all' or 'train'")] = 'all'

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """Posterior sampling over the hypotheses of some tasks."""
    return learner(self, tasks)


class State(NamedTuple):
  """What posterior sampling keeps.

  Attributes:
    actor: its ActorState.
    imagined: [M], the env_state of each hypothesis's own environment.
    alive: [M], whether a hypothesis is not refuted.
    target: [], the index of the one that is acted on.
  """
  actor: stepping.ActorState
  imagined: types.PyTree
  alive: chex.Array
  target: chex.Array


def check_steps_draw_nothing(env: types.Env) -> None:
  """Refuses an environment whose steps are random, but for their resets.

  A hypothesis that is stepped with the random numbers of the real environment
  would tell the learner what it drew. Whether a result depends on the key is
  told by tracing alone, so that rare noise is found as well; noise that is
  drawn and then weighed with zero is taken for noise.

  Args:
    env: the environment.

  Raises:
    ValueError: if what a step does follows from its key, or if the state
      carries one.
  """
  task = jax.eval_shape(lambda: env.default_params)
  key = jax.eval_shape(lambda: jax.random.key(0))
  _, state = jax.eval_shape(env.reset, key, task)

  def outcome(
      key: chex.PRNGKey, state: types.PyTree, task: types.Task
  ) -> types.PyTree:
    # What env.step begins a next episode with may be random.
    _, _, *paid, info = env.step(key, state, jnp.int32(0), task)
    return (env.step_env(key, state, jnp.int32(0), task)[:4], paid,
            info['final_observation'])

  jax.eval_shape(outcome, key, state, task)  # Of its own errors, none is ours.
  random = any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
               for leaf in jax.tree.leaves(state))
  try:
    # vmap refuses to return as one what differs from key to key.
    jax.eval_shape(
        jax.vmap(outcome, (0, None, None), out_axes=None),
        jax.ShapeDtypeStruct((2, *key.shape), key.dtype), state, task)
  except ValueError:
    random = True
  config_lib.check(
      'tasks.env', env.name, not random,
      'an environment whose steps draw nothing at random: its hypotheses are '
      'stepped with its own random numbers')


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """Posterior sampling from a uniform prior over a finite set of tasks.

  Every hypothesis is stepped with the key of the real environment, so that what
  is random there (a reset to a random cell) comes out alike, and it is dropped
  for good when its observation, reward or end of episode differs. Should all be
  dropped (the task was not in the prior), targets are any of them.

  Raises:
    ValueError: if the tasks have no hypotheses or no optimal policy, or if
      their steps are random.
  """
  env, optimal_policy = tasks.env, tasks.optimal_policy
  prior = tasks.hypotheses if config.prior == 'all' else tasks.train
  if prior is None:
    raise ValueError('tasks.hypotheses=None: must be there for '
                     "source=posterior, or prior='train'")
  if optimal_policy is None:
    raise ValueError('tasks.optimal_policy=None: must be there for '
                     'source=posterior')
  check_steps_draw_nothing(env)
  size = types.num_tasks(prior)

  def sample_target(alive: chex.Array, key: chex.PRNGKey) -> chex.Array:
    return exploration.choose_allowed(
        alive | ~alive.any(), jax.random.uniform(key))

  def is_same(many: chex.Array, one: chex.Array) -> chex.Array:
    return (many == one).reshape(size, -1).all(-1)

  def init(task: types.Task, key: chex.PRNGKey) -> State:
    reset_key, target_key = jax.random.split(key)
    actor = stepping.reset(env, task, reset_key)
    there = jax.vmap(stepping.reset, (None, 0, None))(env, prior, reset_key)
    alive = is_same(there.obs, actor.obs)
    return State(actor, there.env_state, alive,
                 sample_target(alive, target_key))

  def step(
      task: types.Task, state: State, key: chex.PRNGKey
  ) -> tuple[State, types.Transition]:
    action_key, env_key, target_key = jax.random.split(key, 3)
    target, imagined = jax.tree.map(
        lambda x: x[state.target], (prior, state.imagined))
    action = optimal_policy(target, imagined, action_key)
    actor, transition = stepping.step(env, task, state.actor, action, env_key)
    there, expected = jax.vmap(
        lambda hypothesis, env_state: stepping.step(
            env, hypothesis, stepping.ActorState(env_state, state.actor.obs),
            action, env_key))(prior, state.imagined)
    alive = (
        state.alive & is_same(there.obs, actor.obs)
        & is_same(expected.next_obs, transition.next_obs)
        & (expected.reward == transition.reward)
        & (expected.done == transition.done))
    target = jnp.where(
        alive[state.target], state.target, sample_target(alive, target_key))
    return (State(actor, there.env_state, alive, target),
            stepping.single(transition))

  return types.Learner(init, step)
