"""Distilling histories that are larger than memory: in a folder, read ahead."""

import contextlib
import fcntl
import os

import jax
import numpy as np

from adjax import distill
from adjax import histories
from adjax import processes
from adjax import sharding
from adjax import store
from experiments import configs
from experiments import distillation
from experiments import memory

# Bytes of a block of histories as they are made, the most updates between two
# readings, and the most bytes of what is read for them.
_BLOCK_BYTES = 2**28
_CHUNK_UPDATES = 50
_CHUNK_BYTES = 2**26


class Stored(distillation.Distillation):
  """Histories in a store, made there if they are not; pieces are read ahead.

  It takes the pieces that it would take of histories in memory; only where
  episodes end early and the tail alone is distilled, it has their beginnings
  where others have their ends.
  """

  def compile(self, evaluation, states, clock):
    """As Online.compile."""
    self._learners = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]),
        histories.repeat(self._tasks.train, self._key, self._data.histories))
    one = self._compile_generate(clock)
    self._compile_updates(states, one, clock)
    self._curves = clock.compile(jax.jit(sharding.over_seeds(
        lambda params: distill.curves(
            self._model, params, evaluation, self._mesh), self._mesh)),
                                 states.params)
    return {'histories': memory.program(self._generate),
            'training': memory.program(self._updates[self._chunks[0]])}

  def _compile_generate(self, clock):
    """The program of a block of learners; the shapes of one learner's."""
    local = sharding.local(self._mesh)

    def generate(tasks, keys):
      history, sound = histories.run_checked(
          self._source, tasks, keys, self._steps, local)
      return histories.streams(history), sound.reshape(-1)

    one, _ = jax.eval_shape(generate, *self._some(np.arange(1)))
    self._actors = one.done.shape[0]
    # Enough blocks for hosts to share and for an interruption to cost little.
    eighth = -(-len(self._learners[1]) // 8)
    self._block = max(1, min(eighth, _BLOCK_BYTES // memory.size(one)))
    self._generate = clock.compile(
        jax.jit(generate), *self._some(np.arange(self._block)))
    return one

  def _compile_updates(self, states, one, clock):
    """A program for each size of chunk that the updates are cut into."""
    config, seeds = self._config, len(states.step)
    row = jax.tree.map(lambda x: np.zeros(x.shape[2:], x.dtype), one)
    each = (seeds * config.batch_size * (config.length + 1)
            * memory.size(row))
    self._chunks = _chunks(config.updates_per_epoch, max(
        1, min(_CHUNK_UPDATES, _CHUNK_BYTES // each)))
    first, last = self._part = sharding.batch_part(
        config.batch_size, self._mesh)
    updates = distill.make_updates(config, self._model, self._mesh)
    self._updates = {}
    for size in set(self._chunks):
      shape = seeds, size, last - first
      blank = jax.tree.map(lambda x, shape=shape: np.zeros(
          (*shape, config.length + 1, *x.shape), x.dtype), row)
      self._updates[size] = clock.compile(
          updates, states, *self._put(blank, np.zeros(shape, np.int32)))

  def begin(self, clock, progress):
    """As Online.begin."""
    made = 0

    def make(first, last):
      nonlocal made
      learners = np.arange(first // self._actors, last // self._actors)
      history, sound = jax.tree.map(
          lambda x: x[:last - first], clock.run(
              'generate', self._generate,
              *self._some(np.resize(learners, self._block))))
      made += history.done.size
      # A sick one, never read, must not cut the others short.
      history = histories.sound_only(history, sound)
      return jax.tree.map(np.asarray, (histories.distilled(
          history, self._data.every, self._data.tail), sound))

    total = len(self._learners[1]) * self._actors
    with processes.meeting() as barrier, _alone(self._data.store):
      store.write(
          self._data.store, _description(self._experiment, self._tasks),
          store.Layout(total, self._data.kept * self._tasks.episode_length,
                       self._block * self._actors),
          make, progress.say, jax.process_index(), jax.process_count(),
          barrier)
    if made:
      self._made(made, clock, progress)
    self._store = store.Store(self._data.store)
    self._check_sick(self._store.dropped, total, progress)
    self._places = distill.make_places(
        self._config, self._store.num_streams, self._store.steps)

  def release(self):
    """As Online.release."""

  def epoch(self, number, states):
    """As Online.epoch."""
    del number
    streams, starts = sharding.fetch(self._places(states.key))
    measured = []
    with contextlib.closing(self._read_ahead(streams, starts)) as batches:
      for rows, begins in batches:
        states, told = self._updates[begins.shape[1]](states, rows, begins)
        measured.append(told)
    measured = jax.tree.map(
        lambda *x: np.concatenate(x, 1), *map(sharding.fetch, measured))
    return states, measured | {'returns': self._curves(states.params)}

  def _some(self, index):
    """Tasks and keys [index, 1] of some learners."""
    return jax.tree.map(lambda x: x[index][:, None], self._learners)

  def _put(self, rows, starts):
    return sharding.put_batches(
        (rows, starts), self._config.batch_size, self._mesh)

  def _read_ahead(self, streams, starts):
    """Rows and starts for each chunk of updates, from places [seeds, U, B]."""
    ends, mine = np.cumsum(self._chunks), slice(*self._part)
    chunks = [(streams[:, a:b, mine], starts[:, a:b, mine])
              for a, b in zip([0, *ends[:-1]], ends)]
    # A piece is read with the step before it, where there is one.
    length = min(self._config.length + 1, self._store.steps)
    read = self._store.prefetch(
        ((stream.reshape(-1), np.maximum(start - 1, 0).reshape(-1))
         for stream, start in chunks), length)
    with contextlib.closing(read):
      for rows, (_, start) in zip(read, chunks):
        time = np.arange(self._config.length + 1) - (start.reshape(-1, 1) == 0)
        index = np.arange(len(time))[:, None], np.clip(time, 0, length - 1)
        yield self._put(
            jax.tree.map(lambda x, index=index, shape=start.shape: x[index]
                         .reshape(*shape, -1, *x.shape[2:]), rows),
            start.astype(np.int32))


@contextlib.contextmanager
def _alone(folder):
  """Waits for other runs that are making the same store."""
  os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
  lock = os.open(f'{folder.rstrip("/")}.lock{jax.process_index()}',
                 os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
  try:
    fcntl.flock(lock, fcntl.LOCK_EX)
    yield
  finally:
    os.close(lock)


def _description(experiment, tasks):
  """All that histories follow from."""
  whole = configs.describe(experiment)
  data = {name: value for name, value in whole['data'].items()
          if name not in ('store', 'refresh')}
  return {
      'tasks': whole['tasks'], 'source': whole['source'], 'data': data,
      'seed': whole['seed'], 'task_parameters': {
          name: np.asarray(value).tolist()
          for name, value in vars(tasks.train).items()}}


def _chunks(updates, most):
  """Updates cut into chunks that are as equal as can be."""
  number = -(-updates // most)
  return [updates // number + (i < updates % number) for i in range(number)]
