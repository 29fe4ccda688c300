"""Histories larger than memory: a folder of sharded zarr 3 and a manifest."""

import collections
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
import concurrent.futures
import contextlib
import dataclasses
import os
import reprlib

import numpy as np

from adjax import arrays
from adjax import config
from adjax import types
from adjax.storage import blocks
from adjax.storage import files
from adjax.storage import manifest
from adjax.storage import shards

Layout = manifest.Layout
write = blocks.write


class Store:
  """A finished store, to read from.

  Attributes:
    num_streams: how many streams there are that have not diverged.
    steps: how many steps every one of them has.
    description: what the store was made with.
    dropped: the numbers of the diverged streams, ascending.
  """

  def __init__(self, directory: str, last: bool = False):
    """Opens a store.

    Args:
      directory: its folder.
      last: whether the last steps are read of a block whose streams have more
        of them than others', and not the first.

    Raises:
      ValueError: if there is no store, if it is not finished, or if a file is
        missing, cut or damaged; it names the file.
    """
    self._directory = directory
    path = manifest.path_of(directory)
    found = files.read_sealed(path)
    if 'blocks' not in found:
      raise ValueError(f'{path}: is of a store that is not finished; what '
                       'began it goes on with it when called again')
    with self._naming('manifest.json'):
      layout = Layout(*(found[field.name]
                        for field in dataclasses.fields(Layout)))
      self._records = found['blocks']
      self.description = found['description']
      self.steps, self.dropped = manifest.combine(path, layout, self._records)
      self.num_streams = layout.num_streams - len(self.dropped)
      # A dropped stream number d, the i-th of them, moves by one all that are
      # read and numbered d - i or more.
      self._before = np.array(self.dropped, int) - np.arange(len(self.dropped))
      self._block = layout.block
      self._skipped = np.array([
          record['steps'] - self.steps if last else 0
          for record in self._records])
      kinds = self._records[0]['kinds']
      expected = {
          os.path.join(directory, name, 'zarr.json'):
              shards.metadata(layout, self.steps, *kind)
          for name, kind in kinds.items()}
      expected_sizes = [
          shard[:2] for index, record in enumerate(self._records)
          for shard in manifest.shards_of(directory, index, record)]
    for path, size in expected_sizes:
      if not manifest.is_whole(path, size):
        raise ValueError(f'{path}: must be a file of {size} bytes; it is '
                         'missing or was cut')
    for path, metadata in expected.items():
      if files.read_json(path) != metadata:
        raise ValueError(f'{path}: does not agree with manifest.json; it was '
                         'damaged or changed from outside')
    with self._naming('metadata'):
      self._arrays = shards.open_arrays(directory, layout, kinds)

  def read(
      self, streams: np.ndarray, starts: np.ndarray, length: int
  ) -> types.History:
    """Subsequences of histories.

    Args:
      streams: [B] integers below num_streams, B at least 1: the streams,
        without the dropped ones numbered from 0 on.
      starts: [B] integers, the first step of each subsequence.
      length: the steps of each, L.

    Returns:
      History [B, L] of NumPy arrays.

    Raises:
      ValueError: if an argument is wrong or an array damaged; it names the
        argument, or the store and the array.
    """
    config.check('length', length,
                 type(length) is int and 1 <= length <= self.steps,
                 f'an integer from 1 to {self.steps}, the steps of '
                 + self._directory)
    arrays.check('streams [B] integer, starts [B] integer', streams, starts)
    _check_range('streams', streams, self.num_streams)
    _check_range('starts', starts, self.steps - length + 1)
    streams = np.asarray(streams, int)
    streams = streams + np.searchsorted(self._before, streams, side='right')
    starts = np.asarray(starts) + self._skipped[streams // self._block]
    firsts = list(zip(streams.tolist(), starts.tolist()))
    reading = {name: shards.start_reading(array, firsts, length)
               for name, array in self._arrays.items()}
    read = {}
    for name, future in reading.items():
      with self._naming(name):
        read[name] = future.result()
    return types.History(**read)

  def prefetch(
      self, batches: Iterable[tuple[np.ndarray, np.ndarray]], length: int,
      ahead: int = 2,
  ) -> Generator[types.History, None, None]:
    """read(streams, starts, length) for all batches, ahead of their use.

    Args:
      batches: pairs (streams [B], starts [B]), asked for as they are needed.
      length: the steps of each subsequence, L.
      ahead: how many batches are read, on a thread, beyond the one in use.

    Yields:
      History [B, L] of NumPy arrays, in the order of the batches.

    Raises:
      ValueError: as read does, once it is the turn of that batch.
    """
    config.check('ahead', ahead, type(ahead) is int and ahead >= 1,
                 'an integer of at least 1')
    pool = concurrent.futures.ThreadPoolExecutor(1, 'prefetch')
    try:
      waiting: collections.deque = collections.deque()
      for streams, starts in batches:
        waiting.append(pool.submit(self.read, streams, starts, length))
        if len(waiting) > ahead:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()
    finally:
      pool.shutdown(cancel_futures=True)

  def verify(self) -> None:
    """Raises a ValueError naming the first file that is not as written."""
    for index, record in enumerate(self._records):
      for path, _, digest in manifest.shards_of(
          self._directory, index, record):
        if files.digest(path) != digest:
          raise ValueError(f'{path}: its SHA-256 is not that in manifest.json; '
                           'it was damaged or changed from outside')

  @contextlib.contextmanager
  def _naming(self, name: str) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # Tensorstore raises several kinds.
      reason = ' '.join(str(error).split())[:300]
      raise ValueError(f'{self._directory}: {name} cannot be read: {reason}'
                       ) from error


def _check_range(name: str, given: np.ndarray, end: int) -> None:
  given = np.asarray(given)
  if not given.size or given.min() < 0 or given.max() >= end:
    raise ValueError(f'{name}: must be one or more from 0 to {end - 1}; '
                     f'{reprlib.repr(given.tolist())} given')
