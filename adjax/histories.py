"""Learning histories: generate, select episodes, gather subsequences."""

from collections.abc import Callable
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import config as config_lib
from adjax import devices
from adjax import types

# How sample_subsequences draws where one begins.
STARTS = ('uniform', 'clipped', 'mixture')


@functools.partial(
    jax.jit, static_argnames=('learner', 'num_histories', 'num_steps'))
@arrays.standard_promotion()
def generate(
    learner: types.Learner, tasks: types.Task, key: chex.PRNGKey,
    num_histories: int, num_steps: int,
) -> tuple[types.History, chex.Array]:
  """Histories of fresh learners, several on every task, all at once.

  Args:
    learner: the source.
    tasks: [N] tasks.
    key: one key; history (n, r) depends on it, n, r and task n alone.
    num_histories: R, independent learners a task.
    num_steps: T.

  Returns:
    History [N, R * K, T], and which of them [N, R * K] are of a learner that
    stayed finite.
  """
  check_key('key', key)
  return run(learner, *repeat(tasks, key, num_histories), num_steps,
             devices.shard_over_all)


def check_key(name: str, key: chex.PRNGKey) -> None:
  """Refuses keys of which a history would depend on how many there are.

  Args:
    name: the argument's, or the setting's.
    key: keys of any shape.
  """
  arrays.check(f'{name} [...] key', key)
  kind = str(jax.random.key_impl(key))
  config_lib.check(
      name, kind, kind == 'threefry2x32',
      "of 'threefry2x32' (jax_default_prng_impl): with others, what is drawn "
      'for many histories at once is not what is drawn for each')


def run(
    learner: types.Learner, tasks: types.Task, keys: chex.PRNGKey,
    num_steps: int,
    shard: Callable[[types.PyTree], types.PyTree] = devices.shard,
) -> tuple[types.History, chex.Array]:
  """One fresh learner for every task and key.

  Args:
    learner: the learner.
    tasks: [N, R] tasks.
    keys: [N, R] keys.
    num_steps: T.
    shard: lays the flat axis of learners over devices; devices.shard_over_all
      for what has no training seeds.

  Returns:
    History [N, R * K, T], and which of them [N, R * K] are of a learner that
    stayed finite.
  """
  arrays.check('keys [N, R] key, tasks [N, R, ...] any', keys, tasks)
  check_key('keys', keys)
  num, repeats = keys.shape
  tasks, keys = shard(jax.tree.map(
      lambda x: x.reshape(num * repeats, *x.shape[2:]), (tasks, keys)))

  def one(
      task: types.Task, key: chex.PRNGKey
  ) -> tuple[types.History, chex.Array]:
    history, finite = types.unroll(learner, task, key, num_steps)
    return history, jnp.broadcast_to(finite, history.done.shape[:1])

  return jax.tree.map(
      lambda x: x[:num * repeats].reshape(num, -1, *x.shape[2:]),
      jax.vmap(one)(tasks, keys))


def repeat(
    tasks: types.Task, key: chex.PRNGKey, repeats: int
) -> tuple[types.Task, chex.PRNGKey]:
  """Every task several times, with a key each.

  Args:
    tasks: [N] tasks.
    key: key (n, r) depends on it, n and r alone.
    repeats: R.

  Returns:
    Tasks [N, R] and keys [N, R].
  """
  arrays.check('key [] key', key)
  num = types.num_tasks(tasks)
  tasks = jax.tree.map(
      lambda x: jnp.repeat(x[:, None], repeats, axis=1), tasks)
  fold = jax.vmap(jax.random.fold_in, (None, 0))
  keys = jax.vmap(fold, (0, None))(
      fold(key, jnp.arange(num)), jnp.arange(repeats))
  return tasks, keys


def streams(history: types.PyTree) -> types.PyTree:
  """[N, K, ...] to [S, ...] in every array of a tree."""
  arrays.check('history [N, K, ...] any', history)
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), history)


class Selected(NamedTuple):
  """Episodes of histories, as they are trained on.

  Attributes:
    history: History [S, bound]; what comes after `steps` means nothing.
    steps: [], how many steps every stream has, from the first on.
    num_streams: [], how many streams there are, from the first on; those that
      diverged come after them.
  """
  history: types.History
  steps: chex.Array
  num_streams: chex.Array


def select_episodes(
    history: types.History, finite: chex.Array, stride: int, last: int,
    bound: int,
) -> tuple[types.History, chex.Array]:
  """Episodes 0, k, 2k, ... of each stream, or the last few of these.

  Every k-th is single-stream AD (Laskin et al. 2022, section 4), the last few
  are expert distillation. A selection begins a history of its own: its first
  step has no previous one.

  Args:
    history: History [S, T].
    finite: [S], whose steps count; streams that diverged are selected from as
      well as it goes.
    stride: k.
    last: how many of the last finished episodes, 0 for all.
    bound: the most steps of a stream that are kept.

  Returns:
    History [S, bound], and of how many steps [] the shortest finite stream is,
    0 if one has no finished episode. What comes after them means nothing. Where
    episodes differ in length, all streams are cut to that: `last` keeps the
    steps before the end.
  """
  arrays.check_steps('history', history, 'S, T')
  arrays.check('finite [S] bool', finite, S=len(history.done))
  if stride == 1 and not last:
    return (jax.tree.map(lambda x: x[:, :bound], history),
            jnp.int32(min(bound, history.done.shape[1])))
  done = history.done.astype(jnp.int32)
  episode = done.cumsum(1) - done
  total = done.sum(1, keepdims=True)
  first = -(-total // stride) - last if last else 0
  keep = ((episode < total) & (episode % stride == 0)
          & (episode // stride >= first))
  counts = keep.astype(jnp.int32).cumsum(1)
  steps = jnp.where(finite, counts[:, -1], bound).min()
  steps = jnp.minimum(steps, bound)
  skipped = counts[:, -1] - steps if last else jnp.zeros_like(counts[:, 0])
  # The t-th kept step is the first at which so many have been counted.
  index = jax.vmap(jnp.searchsorted)(
      counts, skipped[:, None] + 1 + jnp.arange(bound))
  return jax.tree.map(
      lambda x: jnp.take_along_axis(
          x, index.reshape(index.shape + (1,) * (x.ndim - 2)), 1,
          mode='clip'), history), steps


def select(
    history: types.History, finite: chex.Array, stride: int, last: int,
    bound: int,
) -> Selected:
  """As select_episodes, with the streams that are finite [S] first."""
  history, steps = select_episodes(history, finite, stride, last, bound)
  order = jnp.argsort(~finite)  # Stable: in their own order.
  return Selected(jax.tree.map(lambda x: x[order], history), steps,
                  finite.sum(dtype=jnp.int32))


def regenerator(
    learner: types.Learner, tasks: types.TaskDistribution, num_histories: int,
    episodes: int, stride: int, last: int,
) -> Callable[[chex.PRNGKey], tuple[Selected, chex.Array]]:
  """A function that generates histories inside a compiled loop.

  Of tasks that are sampled anew where tasks.sample_new can, and of the training
  tasks otherwise.

  Args:
    learner: the source.
    tasks: its tasks.
    num_histories: R, learners a task.
    episodes: of a history, after selection, at full length.
    stride: one in so many episodes is kept.
    last: of these, the last so many; 0 for all.

  Returns:
    key -> (Selected [S], which streams [S] stayed finite).
  """
  bound = (last or episodes) * tasks.episode_length

  def make(key: chex.PRNGKey) -> tuple[Selected, chex.Array]:
    task_key, key = jax.random.split(key)
    batch = tasks.train if tasks.sample_new is None else jax.vmap(
        tasks.sample_new)(
            jax.random.split(task_key, types.num_tasks(tasks.train)))
    history, finite = streams(run(
        learner, *repeat(batch, key, num_histories),
        episodes * stride * tasks.episode_length, devices.shard_over_all))
    return select(history, finite, stride, last, bound), finite

  return make


def sample_subsequences(
    key: chex.PRNGKey, num_streams: chex.Numeric, steps: chex.Numeric,
    batch_size: int, length: int, starts: str = 'uniform',
) -> tuple[chex.Array, chex.Array]:
  """Where subsequences of S streams of T steps begin.

  Args:
    key: one key.
    num_streams: S [].
    steps: T [], at least L.
    batch_size: B.
    length: L.
    starts: 'uniform' over 0 to T - L, so that the first steps of a history are
      in few; 'clipped', uniform over -(L - 1) to T - 1 and then moved into
      that range, so that L in T + L - 1 begin with the history, and as many
      end with it; or 'mixture', each by a fair coin the one or the other.

  Returns:
    Streams and starts [B].
  """
  arrays.check('key [] key, num_streams [] integer, steps [] integer',
               key, num_streams, steps)
  config_lib.check('starts', starts, starts in STARTS,
                   'one of ' + ', '.join(map(repr, STARTS)))
  stream_key, start_key = jax.random.split(key)
  stream = jax.random.randint(stream_key, (batch_size,), 0, num_streams)
  uniform = jax.random.randint(
      start_key, (batch_size,), 0, steps - length + 1)
  if starts == 'uniform':
    return stream, uniform
  clipped_key, coin_key = jax.random.split(
      jax.random.fold_in(start_key, 1))
  clipped = jnp.clip(jax.random.randint(
      clipped_key, (batch_size,), 1 - length, steps), 0, steps - length)
  if starts == 'clipped':
    return stream, clipped
  coin = jax.random.bernoulli(coin_key, shape=(batch_size,))
  return stream, jnp.where(coin, clipped, uniform)


class Batch(NamedTuple):
  """Subsequences of histories, each with the step before it.

  Attributes:
    rows: History [B, L + 1].
    is_first: [B], whether a subsequence begins its history, so that there is no
      step before it and the first of its rows means nothing.
  """
  rows: types.History
  is_first: chex.Array


def gather(
    history: types.History, streams: chex.Array, starts: chex.Array,
    length: int,
) -> Batch:
  """Subsequences of L steps of histories, and the step before each.

  Args:
    history: History [S, T].
    streams: [B].
    starts: [B], each at most T - L.
    length: L.
  """
  arrays.check_steps('history', history, 'S, T')
  arrays.check('streams [B] integer, starts [B] integer', streams, starts)
  time = starts[:, None] + jnp.arange(-1, length)
  time = jnp.maximum(time, 0)
  return Batch(
      jax.tree.map(lambda x: x[streams[:, None], time], history), starts == 0)
