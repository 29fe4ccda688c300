"""What tasks must be, looked at before anything is compiled or written."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import spaces
from adjax import types
from adjax.learners import references
from adjax.learners import stepping

_SETS = ('train', 'validation', 'held_out')


def check(tasks: types.TaskDistribution) -> None:
  """Refuses what cannot be learnt from.

  Raises:
    ValueError: if spaces are not understood, if sets overlap or are not of the
      environment's EnvParams, if numbers of actions or lengths of episodes do
      not fit together, or if an episode, acted at random, does not keep what
      the environment declares.
  """
  spaces.observation(tasks.env)
  actions = stepping.num_actions(tasks.env)
  for name in _SETS:
    _check_set(name, getattr(tasks, name), tasks.env.default_params)
  _check_disjoint(tasks)
  for name in _SETS:
    some = getattr(tasks, name)
    _check_actions(name, tasks.env, some, actions)
    _check_length(name, some, tasks.episode_length)
  # Those of adjax are held to this by its tests.
  if not type(tasks.env).__module__.startswith('adjax.envs.'):
    _check_functions(tasks)
    _check_episode(tasks)


def _check_set(name: str, some: types.Task, params: types.Task) -> None:
  """That a set is one or more of an environment's EnvParams."""
  wanted: Any = jax.tree.structure(params)
  given: Any = jax.tree.structure(some)
  if wanted != given:
    raise ValueError(f'{name}: must be of EnvParams like default_params, '
                     f'{wanted}, not {given}')
  paths = jax.tree_util.tree_leaves_with_path(some)
  sizes = {jnp.shape(x)[:1] for _, x in paths}
  for (path, x), own in zip(paths, jax.tree.leaves(params)):
    shape = jnp.shape(x)
    if shape[1:] != jnp.shape(own) or len(sizes) > 1 or shape[:1] in ((), (0,)):
      wanted = ', '.join(map(str, ['N', *jnp.shape(own)]))
      raise ValueError(
          f'{name}{jax.tree_util.keystr(path)}: must have shape [{wanted}] '
          f'with one N of at least 1 for all, not {list(shape)}')


def _check_disjoint(tasks: types.TaskDistribution) -> None:
  """That no task is in two sets."""
  rows = {name: {tuple(leaf.tobytes() for leaf in task)
                 for task in zip(*_leaves(getattr(tasks, name)))}
          for name in _SETS}
  for one, other in itertools.combinations(_SETS, 2):
    common = len(rows[one] & rows[other])
    if common:
      raise ValueError(f'{other}: must have no task of {one}; {common} of its '
                       f'{len(rows[other])} tasks are in both')


def _leaves(some: types.Task) -> list[np.ndarray]:
  return [np.asarray(jax.random.key_data(x) if _is_key(x) else x)
          for x in jax.tree.leaves(some)]


def _is_key(x: Any) -> bool:
  return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _check_actions(
    name: str, env: types.Env, some: types.Task, actions: int
) -> None:
  """That all tasks have as many actions as the default one."""
  some = jax.tree.map(lambda x: x if _is_key(x) else np.asarray(x), some)
  for index in range(types.num_tasks(some)):
    task = jax.tree.map(lambda x, index=index: x[index], some)
    number = int(env.action_space(task).n)
    if number != actions:
      raise ValueError(
          f'{name}: must have {actions} actions in each task, as the '
          f'environment has; task {index} has {number}. Fill up with actions '
          'that do nothing')


def _check_length(name: str, some: types.Task, episode_length: int) -> None:
  """That every episode ends in time, where a task says when it does."""
  limit = getattr(some, 'max_steps_in_episode', None)
  if limit is not None and int(np.max(limit)) > episode_length:
    raise ValueError(
        f'episode_length={episode_length}: must be at least '
        f'{int(np.max(limit))}, the max_steps_in_episode of a task of {name}: '
        'all episodes must have ended by then')


# What gymnax's Environment makes its reset and step of.
_RESET, _STEP = ('obs', 'state'), (
    'obs', 'state', 'reward', 'terminated', 'info')


def _check_functions(tasks: types.TaskDistribution) -> None:
  """That what gymnax calls, if the environment has it, returns what it must."""
  env, task = tasks.env, _first(tasks.train)
  if not (hasattr(env, 'reset_env') and hasattr(env, 'step_env')):
    return
  key = jax.random.key(0)

  def reset() -> types.PyTree:
    made = env.reset_env(key, task)
    stepping.check_returned(env, 'reset_env', made, _RESET)
    spaces.pack(env, made[0])
    return made[1]

  def step(state: types.PyTree) -> types.PyTree:
    made = env.step_env(key, state, jnp.int32(0), task)
    stepping.check_returned(env, 'step_env', made, _STEP)
    spaces.pack(env, made[0])
    return made[1]

  state = jax.eval_shape(reset)
  stepped = jax.eval_shape(step, state)
  before: Any = jax.tree.structure(state)
  after: Any = jax.tree.structure(stepped)
  if before != after:
    raise ValueError(f'env={env.name}: its step_env must return a state like '
                     f'that of reset_env, {before}, not {after}')
  for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(state),
                              jax.tree.leaves(stepped)):
    if (old.shape, old.dtype) != (new.shape, new.dtype):
      raise ValueError(
          f'env={env.name}: its step_env must return a state like that of '
          f'reset_env, whose {jax.tree_util.keystr(path)[1:]} is '
          f'{_said(old)}, not {_said(new)}')


def _said(x: jax.ShapeDtypeStruct) -> str:
  return f'{x.dtype}{list(x.shape)}'


def _check_episode(tasks: types.TaskDistribution) -> None:
  """That episodes end in time and show what they declare, acted at random.

  On the first task of each set.
  """
  env, length = tasks.env, tasks.episode_length
  some = jax.tree.map(
      lambda *x: jnp.stack(x), *(_first(getattr(tasks, name))
                                 for name in _SETS))
  learner = references.random(tasks)
  history, _ = jax.jit(jax.vmap(
      lambda task, key: types.unroll(learner, task, key, length)))(
          some, jax.random.split(jax.random.key(0), len(_SETS)))
  for name, done in zip(_SETS, np.asarray(history.done)):
    if not done.any():
      raise ValueError(
          f'episode_length={length}: must be enough for every episode to end; '
          f'on a task of {name} none did. Its step must return a state with '
          'time + 1, for gymnax to end it after max_steps_in_episode')
  for part, x in spaces.observation(env).split(np.asarray(history.obs)):
    outside = (x < part.low) | (x > part.high)
    if part.is_integer and outside.any():
      index = tuple(np.argwhere(outside)[0])
      entry = index[len(index) - len(part.shape):]
      raise ValueError(
          f'env={env.name}: its observation must be from '
          f'{part.low[entry]:g} to {part.high[entry]:g}, as its space says, '
          f'and was {x[index]}')


def _first(some: types.Task) -> types.Task:
  return jax.tree.map(lambda x: x[0], some)
