"""Resetting and stepping environments, as every learner does.

An actor is one copy of an environment with a learner in it. Everything here is
inside jit, for one task.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
from gymnax.environments import spaces as gymnax_spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import spaces
from adjax import types


class ActorState(NamedTuple):
  """One copy of an environment, as a learner keeps it.

  Attributes:
    env_state: the state of the environment.
    obs: [*O], what it showed last.
  """
  env_state: types.PyTree
  obs: chex.Array


def reset(env: types.Env, task: types.Task, key: chex.PRNGKey) -> ActorState:
  """An actor at the beginning of an episode.

  Args:
    env: the environment.
    task: one task of it.
    key: of what is random in a reset.
  """
  _check_task(env, task, key)
  made = env.reset(key, task)
  check_returned(env, 'reset', made, ('obs', 'state'))
  obs, env_state = made
  return ActorState(env_state, spaces.pack(env, obs))


def step(
    env: types.Env, task: types.Task, actor: ActorState, action: chex.Array,
    key: chex.PRNGKey,
) -> tuple[ActorState, types.Transition]:
  """One step of one actor.

  Args:
    env: the environment.
    task: one task of it.
    actor: the state before the step.
    action: [], an integer in [0, A).
    key: of what is random in the step and in the reset that may follow.

  Returns:
    The state after it, which is that of a new episode where one ended, and the
    Transition [].
  """
  _check_task(env, task, key)
  arrays.check('actor.obs [*O] any, action [] integer', actor.obs, action,
               O=spaces.observation(env).shape)
  made = env.step(key, actor.env_state, action, task)
  check_returned(env, 'step', made, _STEP)
  obs, env_state, reward, terminated, truncated, info = made
  if 'final_observation' not in info:
    raise ValueError(f"env={env.name}: the info of its step must have "
                     "'final_observation', what the step led to before any "
                     "reset, as gymnax's Environment.step gives it")
  for name, x in (('reward', reward), ('terminated', terminated),
                  ('truncated', truncated)):
    if jnp.shape(x) != ():
      raise ValueError(f'env={env.name}: the {name} of its step must be a '
                       f'scalar, not of shape {list(jnp.shape(x))}')
  arrays.check_like('env_state', env_state, actor.env_state)
  # As it was reset, whatever a step promotes it to.
  env_state = jax.tree.map(
      lambda new, old: jnp.asarray(new).astype(jnp.asarray(old).dtype),
      env_state, actor.env_state)
  transition = types.Transition(
      obs=actor.obs,
      action=action.astype(smallest_int(num_actions(env))),
      reward=jnp.asarray(reward, jnp.float32),
      done=jnp.logical_or(terminated, truncated),
      terminated=jnp.asarray(terminated, bool),
      next_obs=spaces.pack(env, info['final_observation']))
  return ActorState(env_state, spaces.pack(env, obs)), transition


# What gymnax 1.0's step returns.
_STEP = ('obs', 'state', 'reward', 'terminated', 'truncated', 'info')


def check_returned(
    env: types.Env, name: str, made: object, wanted: tuple[str, ...]
) -> None:
  """Refuses what a function of an environment returned, if not such a tuple."""
  if not isinstance(made, tuple) or len(made) != len(wanted):
    given = (f'{len(made)} values' if isinstance(made, tuple)
             else type(made).__name__)
    raise ValueError(
        f'env={env.name}: its {name} must return ({", ".join(wanted)}), as '
        f"gymnax 1.0's does, not {given}")


def _check_task(env: types.Env, task: types.Task, key: chex.PRNGKey) -> None:
  arrays.check('key [] key', key)
  arrays.check_like(
      'task', task, jax.eval_shape(lambda: env.default_params))


def reset_all(
    env: types.Env, task: types.Task, key: chex.PRNGKey, copies: int
) -> ActorState:
  """Several actors at the beginning of an episode each.

  Args:
    env: the environment.
    task: one task of it, which all of them have.
    key: one key, split among them.
    copies: K.

  Returns:
    ActorState [K].
  """
  arrays.check('key [] key', key)
  return jax.vmap(lambda key: reset(env, task, key))(
      jax.random.split(key, copies))


def step_all(
    env: types.Env, task: types.Task, actors: ActorState, action: chex.Array,
    key: chex.PRNGKey,
) -> tuple[ActorState, types.Transition]:
  """One step of each of several actors.

  Args:
    env: the environment.
    task: one task of it, which all of them have.
    actors: ActorState [K].
    action: [K].
    key: one key, split among them.

  Returns:
    ActorState [K] and Transition [K].
  """
  arrays.check('action [K] integer, actors [K, ...] any, key [] key',
               action, actors, key)
  return jax.vmap(
      lambda actor, action, key: step(env, task, actor, action, key))(
          actors, action, jax.random.split(key, action.shape[0]))


def single(transition: types.Transition) -> types.Transition:
  """One step of one actor as Transition [n=1, K=1]."""
  arrays.check_steps('transition', transition, '')
  return jax.tree.map(lambda x: x[None, None], transition)


def policy(
    env: types.Env, choose: Callable[..., chex.Array]
) -> types.Learner:
  """A learner that never learns: choose(task, actor, time, key) -> action."""

  def init(
      task: types.Task, key: chex.PRNGKey
  ) -> tuple[ActorState, chex.Array]:
    return reset(env, task, key), jnp.int32(0)

  def step_once(
      task: types.Task, state: tuple[ActorState, chex.Array],
      key: chex.PRNGKey,
  ) -> tuple[tuple[ActorState, chex.Array], types.Transition]:
    actor, time = state
    action_key, env_key = jax.random.split(key)
    actor, transition = step(
        env, task, actor, choose(task, actor, time, action_key), env_key)
    return (actor, time + 1), single(transition)

  return types.Learner(init, step_once)


def with_env_keys(
    sample: Callable[[chex.PRNGKey, int], types.PyTree]
) -> Callable[[chex.PRNGKey, int], types.PyTree]:
  """A Learner's sample_noise: what sample makes, and keys to step with."""

  def sample_both(key: chex.PRNGKey, calls: int) -> types.PyTree:
    action_key, env_key = jax.random.split(key)
    return sample(action_key, calls), jax.random.split(env_key, calls)

  return sample_both


def num_actions(env: types.Env) -> int:
  """A, the number of an environment's actions.

  Raises:
    ValueError: if its actions are not discrete.
  """
  space = env.action_space(env.default_params)
  if not isinstance(space, gymnax_spaces.Discrete):
    raise ValueError(
        f'env={env.name}: must have a Discrete action space, not {space}; '
        'adjax.envs.adapters makes a lattice of a Box that has ends')
  return int(space.n)


def smallest_int(size: int) -> np.dtype:
  """The smallest signed integer dtype that holds -1 to size - 1."""
  return next(dtype for dtype in map(np.dtype, ('int8', 'int16', 'int32'))
              if size - 1 <= np.iinfo(dtype).max)
