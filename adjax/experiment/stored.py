"""Training on histories that are larger than memory: in a folder, read ahead.
"""

from collections.abc import Generator
from collections.abc import Iterator
import contextlib
import functools
import os
from typing import Any

import chex
import jax
import numpy as np

from adjax import devices
from adjax import histories
from adjax import types
from adjax.experiment import data
from adjax.experiment import memory
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.methods import training
from adjax.storage import files
from adjax.storage import seal
from adjax.storage import store

# Bytes of a block of histories as they are generated, the most updates between
# two readings, and the most bytes of what is read for them.
_BLOCK_BYTES = 2**28
_CHUNK_UPDATES = 50
_CHUNK_BYTES = 2**26


class Stored(data.Histories):
  """Histories in a store, generated if they are not there, and read ahead.

  It takes the subsequences that it would take of histories in memory.
  """

  def compile(self, states: training.TrainState) -> dict[str, int]:
    """As data.Online.compile."""
    setup, clock = self._setup, self._clock
    self._learners = jax.tree.map(
        lambda x: np.asarray(x).reshape(-1, *x.shape[2:])
        if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        else x.reshape(-1),
        histories.repeat(setup.tasks.train, setup.keys.data,
                         self._data.histories))
    self._compile_generate()
    self._compile_updates(states)
    self._subsequences = clock.compile(
        functools.partial(training.all_subsequences, setup.trainer),
        states.key, 1, 1)
    return {'histories': memory.program(self._generate),
            'training': max(map(memory.program, (
                self._updates[self._chunks[0]], self.compile_curves(states))))}

  def _compile_generate(self) -> None:
    """The program of a block of learners, on this process's devices."""
    setup, options = self._setup, self._data

    def generate(
        tasks: types.Task, keys: chex.PRNGKey
    ) -> tuple[tuple[types.History, chex.Array], chex.Array]:
      history, finite = histories.streams(histories.run(
          self._source, tasks, keys, self._steps))
      history, steps = histories.select_episodes(
          history, finite, options.episode_stride, options.last_episodes,
          self._bound)
      return (devices.evenly(history), steps), devices.evenly(finite)

    (one, _), _ = jax.eval_shape(generate, *self._some(np.arange(1)))
    self._row = jax.tree.map(lambda x: np.zeros(x.shape[2:], x.dtype), one)
    self._actors = one.done.shape[0]
    total = len(self._learners[1])
    # Enough blocks for hosts to share and for an interruption to cost little.
    steps = self._steps // self._bound
    self._block = max(1, min(
        -(-total // 8), _BLOCK_BYTES // (steps * memory.size(one))))
    self._generate = self._clock.on(devices.local(setup.mesh)).compile(
        generate, *self._some(np.arange(self._block)))

  def _compile_updates(self, states: training.TrainState) -> None:
    """A program for each size of chunk that the updates are cut into."""
    trainer, mesh = self._setup.trainer, self._setup.mesh
    seeds, length = len(states.step), trainer.length
    each = (seeds * trainer.batch_size * (length + 1)
            * memory.size(self._row))
    self._chunks = _chunks(trainer.updates_per_epoch, max(
        1, min(_CHUNK_UPDATES, _CHUNK_BYTES // each)))
    first, last = self._part = devices.batch_part(trainer.batch_size, mesh)
    self._updates = {}
    for size in set(self._chunks):
      shape = seeds, size, last - first
      blank = histories.Batch(jax.tree.map(
          lambda x, shape=shape: np.zeros(
              (*shape, length + 1, *x.shape), x.dtype), self._row),
                              np.zeros(shape, bool))
      self._updates[size] = self._clock.compile(
          functools.partial(training.updates, trainer), states,
          self._place(blank), donate_argnums=0,
          out_shardings=(devices.by_seed(mesh), None))

  def begin(self) -> None:
    """As data.Online.begin."""
    made = 0

    def make(first: int, last: int) -> tuple[types.History, np.ndarray]:
      nonlocal made
      learners = np.arange(first // self._actors, last // self._actors)
      (history, steps), finite = devices.fetch(self._clock.run(
          'generate', self._generate,
          *self._some(np.resize(learners, self._block))))
      if not steps:
        raise ValueError('data.episodes: every history must have a finished '
                         f'episode; one of streams {first} to {last} has none')
      made += (last - first) * self._steps
      return jax.tree.map(lambda x: x[:last - first, :steps], history), (
          finite[:last - first])

    total = len(self._learners[1]) * self._actors
    folder = files.folder('data.store', self._data.store)
    with devices.barriers() as barrier, _alone(folder):
      store.write(
          folder, _description(self._setup),
          store.Layout(total, self._bound, self._block * self._actors),
          make, self._progress.say, jax.process_index(), jax.process_count(),
          barrier)
    if made:
      self._generated(made)
    # Of a longer block, what InMemory would have kept of it.
    self._store = store.Store(folder, last=self._data.last_episodes > 0)
    self._check_diverged(self._store.dropped, total)
    self._check_steps(self._store.steps)

  def _sample(self) -> types.History:
    return self._store.read(
        *self._places(self._row, self._store.num_streams, self._store.steps),
        self._setup.trainer.length)

  def epoch(self, number: int, states: training.TrainState) -> data.Trained:
    """As data.Online.epoch."""
    del number
    streams, starts = devices.fetch(jax.block_until_ready(self._subsequences(
        states.key, self._store.num_streams, self._store.steps)))
    measured = []
    with contextlib.closing(self._read_ahead(streams, starts)) as batches:
      for size, batch in zip(self._chunks, batches):
        states, metrics = jax.block_until_ready(
            self._updates[size](states, batch))
        measured.append(devices.fetch(metrics))
    return states, jax.tree.map(
        lambda *x: np.concatenate(x, 1), *measured) | {
            'returns': self.compile_curves(states)(states.params)}

  def _some(self, index: np.ndarray) -> types.PyTree:
    """Tasks and keys [index, 1] of some learners."""
    return jax.tree.map(lambda x: x[index][:, None], self._learners)

  def _place(self, batch: histories.Batch) -> histories.Batch:
    return devices.place_batches(
        batch, self._setup.trainer.batch_size, self._setup.mesh)

  def _read_ahead(
      self, streams: np.ndarray, starts: np.ndarray
  ) -> Generator[histories.Batch, None, None]:
    """The Batch of each chunk of updates, of streams and starts [seeds, U, B].
    """
    ends, mine = np.cumsum(self._chunks), slice(*self._part)
    chunks = [(streams[:, a:b, mine], starts[:, a:b, mine])
              for a, b in zip([0, *ends[:-1]], ends)]
    # A subsequence is read with the step before it, where there is one.
    length = self._setup.trainer.length
    most = min(length + 1, self._store.steps)
    read = self._store.prefetch(
        ((stream.reshape(-1), _before(start, most, self._store.steps))
         for stream, start in chunks), most)
    with contextlib.closing(read):
      for rows, (_, start) in zip(read, chunks):
        first = _before(start, most, self._store.steps)
        time = start.reshape(-1, 1) - first[:, None] + np.arange(-1, length)
        index = np.arange(len(time))[:, None], np.maximum(time, 0)
        yield self._place(histories.Batch(
            jax.tree.map(lambda x, index=index, shape=start.shape: x[index]
                         .reshape(*shape, -1, *x.shape[2:]), rows),
            start == 0))


def _before(start: np.ndarray, length: int, steps: int) -> np.ndarray:
  """Where rows of subsequences are read from, so that they lie within."""
  return np.clip(start.reshape(-1) - 1, 0, steps - length)


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
  """Waits for other runs that are making the same store.

  Of several processes the first one does, for all of them.
  """
  lock = None
  try:
    if jax.process_index() == 0:
      os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
      lock = os.open(f'{folder.rstrip("/")}.lock', os.O_RDWR | os.O_CREAT,
                     0o644)
      files.lock(lock, wait=True)
    devices.collectively(lambda: None)
    yield
  finally:
    if lock is not None:
      os.close(lock)


def _description(setup: setup_lib.Setup) -> dict[str, Any]:
  """All that histories follow from."""
  whole = specification.describe(setup.experiment)
  options = {name: value for name, value in whole['data'].items()
             if name not in ('store', 'regenerate_every', 'starts')}
  return {
      'tasks': whole['tasks'], 'source': whole['source'], 'data': options,
      'seed': whole['seed'],
      'digests': specification.digests(
          setup.experiment, ('tasks', 'source')),
      'task_parameters': seal.describe(setup.tasks.train)}


def _chunks(updates: int, most: int) -> list[int]:
  """Updates cut into chunks that are as equal as can be."""
  number = -(-updates // most)
  return [updates // number + (i < updates % number) for i in range(number)]
