"""Learning histories: making them, thinning them, cutting pieces from them."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import sharding
from adjax import types


@functools.partial(
    jax.jit, static_argnames=('learner', 'num_histories', 'num_steps', 'mesh'))
def generate(
    learner: types.Learner, tasks: types.Task, key: chex.PRNGKey,
    num_histories: int, num_steps: int, mesh: Any = None,
) -> types.History:
  """Histories of fresh learners, several on every task, all at once.

  Args:
    learner: the source.
    tasks: [N] tasks.
    key: one key; history (n, r) depends on it, n, r and task n alone.
    num_histories: R, independent learners a task.
    num_steps: T.
    mesh: the devices to spread the learners over, or None for the default one.

  Returns:
    History [N, R * K, T].
  """
  return run(learner, *repeat(tasks, key, num_histories), num_steps, mesh)


def run(
    learner: types.Learner, tasks: types.Task, keys: chex.PRNGKey,
    num_steps: int, mesh: Any = None,
) -> types.History:
  """One fresh learner for every task and key [N, R]: History [N, R * K, T]."""
  num, repeats = keys.shape
  tasks, keys = sharding.spread(jax.tree.map(
      lambda x: x.reshape(num * repeats, *x.shape[2:]), (tasks, keys)), mesh)
  history = jax.vmap(
      lambda task, key: types.unroll(learner, task, key, num_steps))(
          tasks, keys)
  return jax.tree.map(
      lambda x: x[:num * repeats].reshape(num, -1, *x.shape[2:]), history)


def repeat(
    tasks: types.Task, key: chex.PRNGKey, repeats: int
) -> tuple[types.Task, chex.PRNGKey]:
  """Every task [N] so many times, with a key each: ([N, R], [N, R])."""
  num = types.num_tasks(tasks)
  tasks = jax.tree.map(
      lambda x: jnp.repeat(x[:, None], repeats, axis=1), tasks)
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  keys = jax.vmap(fold, (0, None))(
      fold(key, jnp.arange(num)), jnp.arange(repeats))
  return tasks, keys


def streams(history: types.History) -> types.History:
  """[N, K, T] to [S, T]."""
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), history)


def thin(history: types.History, every: int) -> types.History:
  """Episodes 0, k, 2k, ... of each stream (Laskin et al., single-stream AD).

  Args:
    history: History [S, T].
    every: k.

  Returns:
    History [S, T'], cut to the shortest stream where episodes differ in length.
  """
  return history if every == 1 else _keep(
      history, lambda episode, total: episode % every == 0)


def tail(history: types.History, num_episodes: int) -> types.History:
  """The last finished episodes [S, T'] of each stream: expert distillation.

  Where episodes differ in length, the last steps of these that every stream
  has. What is kept begins a life of its own: its first step has no previous
  one, as when such a model is put into a task.
  """
  return _keep(history, lambda episode, total: episode >= total - num_episodes,
               from_end=True)


def _keep(history, wanted, from_end=False) -> types.History:
  """The steps of the finished episodes for which wanted(episode, total).

  Cut to the shortest stream, at its end or at its beginning.
  """
  chex.assert_rank(history.done, 2)
  done = np.asarray(history.done)
  total = done.sum(1, keepdims=True)
  episode = done.cumsum(1) - done
  keep = wanted(episode, total) & (episode < total)
  length = keep.sum(1).min()
  order = np.argsort(keep if from_end else ~keep, axis=1, kind='stable')
  index = jnp.asarray(order[:, -length:] if from_end else order[:, :length])
  return jax.tree.map(
      lambda x: jnp.take_along_axis(
          x, index.reshape(index.shape + (1,) * (x.ndim - 2)), 1), history)


def sample_subsequences(
    key: chex.PRNGKey, sequences: Any, batch_size: int, length: int
) -> Any:
  """Uniform pieces [B, L, ...] of the sequences [S, T, ...] in a tree."""
  num, steps = jax.tree.leaves(sequences)[0].shape[:2]
  if length > steps:
    raise ValueError(f'distill.length={length} is longer than a history of '
                     f'{steps} steps')
  stream_key, start_key = jax.random.split(key)
  stream = jax.random.randint(stream_key, (batch_size,), 0, num)
  start = jax.random.randint(start_key, (batch_size,), 0, steps - length + 1)
  time = start[:, None] + jnp.arange(length)
  return jax.tree.map(lambda x: x[stream[:, None], time], sequences)
