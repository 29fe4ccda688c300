"""What tasks must be, looked at before anything is compiled or written."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import spaces
from adjax import types
from adjax.learners import stepping

_SETS = ('train', 'validation', 'held_out')


def check(tasks: types.TaskDistribution) -> None:
  """Refuses what cannot be learnt from.

  Raises:
    ValueError: if spaces are not understood, if sets overlap or are not of the
      environment's EnvParams, or if numbers of actions or lengths of episodes
      do not fit together.
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
