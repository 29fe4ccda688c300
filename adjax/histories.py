"""Learning histories: making them, thinning them, cutting pieces from them."""

from collections.abc import Callable
import functools
from typing import Any
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import arrays
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
  return run_checked(learner, tasks, keys, num_steps, mesh)[0]


def run_checked(
    learner: types.Learner, tasks: types.Task, keys: chex.PRNGKey,
    num_steps: int, mesh: Any = None,
) -> tuple[types.History, chex.Array]:
  """As run, and which streams [N, R * K] are of a sound learner."""
  arrays.check('keys [N, R] key, tasks [N, R, ...] any', keys, tasks)
  num, repeats = keys.shape
  tasks, keys = sharding.spread(jax.tree.map(
      lambda x: x.reshape(num * repeats, *x.shape[2:]), (tasks, keys)), mesh)

  def one(task, key):
    history, sound = types.unroll_checked(learner, task, key, num_steps)
    return history, jnp.broadcast_to(sound, history.done.shape[:1])

  history, sound = jax.tree.map(
      lambda x: x[:num * repeats].reshape(num, -1, *x.shape[2:]),
      jax.vmap(one)(tasks, keys))
  return history, sound


def repeat(
    tasks: types.Task, key: chex.PRNGKey, repeats: int
) -> tuple[types.Task, chex.PRNGKey]:
  """Every task [N] so many times, with a key each: ([N, R], [N, R])."""
  arrays.check('key [] key', key)
  num = types.num_tasks(tasks)
  tasks = jax.tree.map(
      lambda x: jnp.repeat(x[:, None], repeats, axis=1), tasks)
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  keys = jax.vmap(fold, (0, None))(
      fold(key, jnp.arange(num)), jnp.arange(repeats))
  return tasks, keys


def streams(history: types.History) -> types.History:
  """[N, K, T] to [S, T]."""
  arrays.check_steps('history', history, 'N, K, T')
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), history)


def distilled(
    history: types.History, every: int, num_episodes: int
) -> types.History:
  """What is distilled of histories: thinned, then the tail unless it is 0."""
  history = thin(history, every)
  return tail(history, num_episodes) if num_episodes else history


def thin(history: types.History, every: int) -> types.History:
  """Episodes 0, k, 2k, ... of each stream (Laskin et al., single-stream AD).

  Args:
    history: History [S, T].
    every: k.

  Returns:
    History [S, T'], cut to the shortest stream where episodes differ in length.

  Raises:
    ValueError: if k > 1 and a stream has no finished episode.
  """
  arrays.check_steps('history', history, 'S, T')
  if every == 1:
    return history
  keep = _wanted(history, every, 0)
  return _kept(history, keep, _shortest(keep), False)[0]


def tail(history: types.History, num_episodes: int) -> types.History:
  """The last finished episodes [S, T'] of each stream: expert distillation.

  Where episodes differ in length, the last steps of these that every stream
  has. What is kept begins a life of its own: its first step has no previous
  one, as when such a model is put into a task.

  Raises:
    ValueError: if a stream has no finished episode.
  """
  keep = _wanted(history, 1, num_episodes)
  return _kept(history, keep, _shortest(keep), True)[0]


def _shortest(keep):
  """The fewest steps that a stream keeps, of which steps [S, T] are kept."""
  counts = keep.sum(1)
  steps = int(counts.min())
  if not steps:
    raise ValueError('history.done: must have a finished episode in every '
                     f'stream; stream {int(counts.argmin())} has none')
  return steps


def distilled_within(
    history: types.History, every: int, num_episodes: int, bound: int
) -> tuple[types.History, chex.Array]:
  """As distilled, inside jit, where its length cannot follow from the data.

  Returns:
    History [S, bound], and of how many steps [] it is; what comes after them
    means nothing. Where episodes differ in length, the tail is that of each
    stream and not of the shortest.
  """
  if every == 1 and not num_episodes:
    return (jax.tree.map(lambda x: x[:, :bound], history),
            jnp.int32(min(bound, history.done.shape[1])))
  keep = _wanted(history, every, num_episodes)
  return _kept(history, keep, bound, num_episodes > 0)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _wanted(history, every, num_episodes):
  """Which steps [S, T] are of the last episodes of each k-th; 0 for all."""
  arrays.check_steps('history', history, 'S, T')
  done = history.done.astype(jnp.int32)
  episode = done.cumsum(1) - done
  total = done.sum(1, keepdims=True)
  first = -(-total // every) - num_episodes if num_episodes else 0
  return ((episode < total) & (episode % every == 0)
          & (episode // every >= first))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _kept(history, keep, bound, from_end):
  """The kept steps [S, bound], as many [] as the shortest stream has."""
  counts = keep.astype(jnp.int32).cumsum(1)
  steps = jnp.minimum(counts[:, -1].min(), bound)
  first = counts[:, -1] - steps if from_end else jnp.zeros_like(counts[:, 0])
  # The t-th kept step is the first at which so many have been counted.
  index = jax.vmap(jnp.searchsorted)(
      counts, first[:, None] + 1 + jnp.arange(bound))
  return jax.tree.map(
      lambda x: jnp.take_along_axis(
          x, index.reshape(index.shape + (1,) * (x.ndim - 2)), 1,
          mode='clip'), history), steps


class Fresh(NamedTuple):
  """Histories made inside a compiled loop.

  Attributes:
    history: History [S, T].
    steps: how many of them there are [], from the first on.
    sick: whose learner fell ill [S]; in their place are others once more.
  """
  history: types.History
  steps: chex.Array
  sick: chex.Array


def endless(
    learner: types.Learner, tasks: types.TaskDistribution, num_histories: int,
    episodes: int, every: int, num_episodes: int, mesh: Any = None,
) -> Callable[[chex.PRNGKey], Fresh]:
  """A function that makes histories anew from every key, to be used inside jit.

  Of tasks that are drawn anew where tasks.fresh can, and of the training tasks
  otherwise.

  Args:
    learner: the source.
    tasks: its tasks.
    num_histories: R, learners a task.
    episodes: of a history, after thinning, at full length.
    every: one in so many episodes is kept.
    num_episodes: of these, the last so many; 0 for all.
    mesh: the devices.
  """
  bound = (num_episodes or episodes) * tasks.episode_length

  def make(key):
    task_key, key = jax.random.split(key)
    some = tasks.train if tasks.fresh is None else jax.vmap(tasks.fresh)(
        jax.random.split(task_key, types.num_tasks(tasks.train)))
    history, sound = run_checked(
        learner, *repeat(some, key, num_histories),
        episodes * every * tasks.episode_length, mesh)
    sound = sound.reshape(-1)
    history, steps = distilled_within(
        sound_only(streams(history), sound), every, num_episodes, bound)
    return Fresh(history, steps, ~sound)

  return make


def sound_only(
    history: types.History, sound: chex.Array
) -> types.History:
  """Inside jit: History [S, T] with what is not sound [S] replaced.

  By streams that are, as evenly as it goes; if none is, nothing is changed.
  """
  arrays.check_steps('history', history, 'S, T')
  arrays.check('sound [S] bool', sound, S=len(history.done))
  well = jnp.argsort(~sound)  # Those that are sound first, in their order.
  sick = jnp.cumsum(~sound) - 1  # How many are sick before each.
  others = well[sick % jnp.where(sound.any(), sound.sum(), sound.size)]
  stream = jnp.where(sound, jnp.arange(sound.size), others)
  return jax.tree.map(lambda x: x[stream], history)


def sample_subsequences(
    key: chex.PRNGKey, sequences: Any, batch_size: int, length: int
) -> Any:
  """Uniform pieces [B, L, ...] of the sequences [S, T, ...] in a tree."""
  arrays.check('sequences [S, T, ...] any', sequences)
  num, steps = jax.tree.leaves(sequences)[0].shape[:2]
  return cut(
      sequences, *sample_places(key, num, steps, batch_size, length), length)


def sample_places(
    key: chex.PRNGKey, num: int, steps: chex.Numeric, batch_size: int,
    length: int,
) -> tuple[chex.Array, chex.Array]:
  """Where uniform pieces of S sequences of T steps begin: streams, starts [B].

  Raises:
    ValueError: if a piece is longer than a sequence.
  """
  arrays.check('key [] key, steps [] integer', key, steps)
  if not isinstance(steps, jax.Array) and length > steps:
    raise ValueError(f'distill.length={length} is longer than a history of '
                     f'{steps} steps')
  stream_key, start_key = jax.random.split(key)
  stream = jax.random.randint(stream_key, (batch_size,), 0, num)
  return stream, jax.random.randint(
      start_key, (batch_size,), 0, steps - length + 1)


def cut(
    sequences: Any, streams: chex.Array, starts: chex.Array, length: int
) -> Any:
  """Pieces [B, L, ...] of sequences [S, T, ...] from streams and starts [B]."""
  arrays.check(
      'sequences [S, T, ...] any, streams [B] integer, starts [B] integer',
      sequences, streams, starts)
  time = starts[:, None] + jnp.arange(length)
  return jax.tree.map(lambda x: x[streams[:, None], time], sequences)
