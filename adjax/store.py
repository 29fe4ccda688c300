"""Histories larger than memory: a folder of sharded zarr 3 and a manifest.

Streams are made and written block by block. A block's record is written after
its files, and the manifest that says all is done after everything: whatever
stops the writing, the next call goes on with the blocks that have no record.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import concurrent.futures
import contextlib
import hashlib
import os
import reprlib
import time
from typing import Any

import numpy as np

from adjax import arrays
from adjax import manifest as manifest_lib
from adjax import shards
from adjax import types

Layout = manifest_lib.Layout
# Seconds after which a shared folder surely shows what another host wrote.
_PATIENCE = 120


def write(
    directory: str, description: dict[str, Any], layout: Layout,
    make: Callable[[int, int], tuple[types.History, np.ndarray]],
    say: Callable[[str], None] = lambda text: None,
    process: int = 0, num_processes: int = 1,
    barrier: Callable[[str], None] = lambda name: None,
) -> None:
  """Makes a store, or what is missing of it.

  Args:
    directory: a folder of its own, shared by all processes.
    description: all that the histories follow from, as JSON; a store with
      another one is refused.
    layout: how many streams, and how many to make at once.
    make: (first, last) -> (History [last - first, T], healthy [last - first])
      of the streams first to last - 1, with T at most layout.steps. Where T
      differs between blocks, the store has the steps that all of them have. A
      stream that is not healthy is kept, named as dropped and never read.
    say: is told of every block.
    process: which of the processes this is; block b is made by process b modulo
      num_processes.
    num_processes: how many there are.
    barrier: returns once all processes have called it with this name.

  Raises:
    ValueError: if the folder holds something else or is damaged, or if make
      gives wrong shapes or dtypes; nothing is changed then.
    OSError: if a block cannot be written; those before it are kept.
  """
  if not 0 <= process < num_processes:
    raise ValueError(f'process={process}: must be from 0 to '
                     f'num_processes - 1 = {num_processes - 1}')
  patience = _PATIENCE if num_processes > 1 else 0
  plan = manifest_lib.plan(description, layout)
  if _is_done(directory, plan):
    return
  if process == 0:
    _begin(directory, plan)
  barrier('store is begun')
  if not _in_time(lambda: _is_begun(directory) and all(
      map(os.path.lexists, _folders(directory))), patience):
    raise ValueError(f'{directory}: must be one folder for all processes; '
                     f'process {process} does not see what process 0 wrote')
  _is_done(directory, plan)
  _check_folders(directory)
  kinds = None
  for index in range(process, layout.num_blocks, num_processes):
    record = _finished(directory, layout, index)
    say(f'{directory}: block {index + 1} of {layout.num_blocks} '
        + ('is there' if record else 'is made'))
    if not record:
      made = _make(make, layout, index, kinds)
      with _writing(directory, f'block {index}'):
        record = _write_block(directory, layout, index, *made)
    kinds = manifest_lib.kinds(record)
  barrier('store has its blocks')
  if process == 0:
    _finish(directory, layout, plan, patience)
  barrier('store is done')
  _in_time(lambda: _is_done(directory, plan), patience)


class Store:
  """A finished store, to read from.

  Attributes:
    num_streams: how many healthy streams there are.
    steps: how many steps every one of them has.
    description: what it was made with.
    dropped: the numbers of the streams that were not healthy, ascending.
  """

  def __init__(self, directory: str):
    """Opens a store.

    Raises:
      ValueError: naming the file, if there is no store, if it is not finished,
        or if a file is missing, was cut short or says what cannot be.
    """
    manifest = manifest_lib.read(directory)
    path = manifest_lib.path_of(directory)
    if not manifest['done']:
      raise ValueError(f'{path}: is of a store that is not finished; what '
                       'began it goes on with it when called again')
    _check_folders(directory)
    layout, self._records = manifest_lib.parse(directory, manifest)
    self.description = manifest['description']
    self.steps, self.dropped = manifest_lib.together(
        path, layout, self._records)
    self.num_streams = layout.num_streams - len(self.dropped)
    # The healthy streams before each dropped one number all that follow.
    self._before = np.array(self.dropped, int) - np.arange(len(self.dropped))
    self._directory = directory
    for index, record in enumerate(self._records):
      for shard, array in _files(directory, index, record):
        if manifest_lib.size(shard) != array['bytes']:
          raise ValueError(f'{shard}: has {manifest_lib.size(shard)} bytes; '
                           f'{array["bytes"]} were written')
    kinds = manifest_lib.kinds(self._records[0])
    for name, kind in kinds.items():
      path = os.path.join(directory, name, 'zarr.json')
      if manifest_lib.read_json(path) != shards.metadata(
          layout, self.steps, *kind):
        raise ValueError(f'{path}: does not agree with manifest.json; it was '
                         'damaged or changed from outside')
    with self._naming('metadata'):
      self._arrays = shards.open_arrays(directory, layout, self.steps, kinds)

  def read(
      self, streams: np.ndarray, starts: np.ndarray, length: int
  ) -> types.History:
    """Pieces of histories.

    Args:
      streams: [B] integers below num_streams, B at least 1: the healthy
        streams, numbered from 0 on.
      starts: [B] integers, the first step of each piece.
      length: L.

    Returns:
      History [B, L] of NumPy arrays.

    Raises:
      ValueError: naming the argument that is wrong, or the store and the array
        that is damaged.
    """
    if not manifest_lib.is_natural(length, 1, self.steps):
      raise ValueError(f'length={length!r}: must be an integer from 1 to '
                       f'{self.steps}, the steps of {self._directory}')
    arrays.check('streams [B] integer, starts [B] integer', streams, starts)
    _check_range('streams', streams, self.num_streams)
    _check_range('starts', starts, self.steps - length + 1)
    numbers = np.asarray(streams, int)
    numbers = numbers + np.searchsorted(self._before, numbers, side='right')
    places = list(zip(numbers.tolist(), np.asarray(starts).tolist()))
    pieces = {name: shards.start_reading(array, places, length)
              for name, array in self._arrays.items()}
    for name, piece in pieces.items():
      with self._naming(name):
        pieces[name] = piece.result()
    return types.History(**pieces)

  def prefetch(
      self, places: Iterable[tuple[np.ndarray, np.ndarray]], length: int,
      ahead: int = 2,
  ) -> Iterator[types.History]:
    """read(streams, starts, length) for all places, ahead of their use.

    Args:
      places: pairs (streams [B], starts [B]), asked for as they are needed.
      length: L.
      ahead: how many are read, on a thread, beyond the one in use.

    Yields:
      History [B, L] of NumPy arrays, in the order of places.

    Raises:
      ValueError: as read does, once it is the turn of that piece.
    """
    if not manifest_lib.is_natural(ahead, 1):
      raise ValueError(f'ahead={ahead!r}: must be an integer of at least 1')
    pool = concurrent.futures.ThreadPoolExecutor(1, 'prefetch')
    try:
      waiting = collections.deque()
      for streams, starts in places:
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
      for path, array in _files(self._directory, index, record):
        with open(path, 'rb') as file:
          found = hashlib.file_digest(file, 'sha256').hexdigest()
        if found != array['sha256']:
          raise ValueError(f'{path}: its SHA-256 is not that in manifest.json; '
                           'it was damaged or changed from outside')

  @contextlib.contextmanager
  def _naming(self, name):
    try:
      yield
    except Exception as error:  # Tensorstore raises several kinds.
      reason = ' '.join(str(error).split())[:300]
      raise ValueError(f'{self._directory}: {name} cannot be read: {reason}'
                       ) from error


def _begin(directory, plan):
  """Makes the folders, if they are not there, and the manifest without done."""
  path = manifest_lib.path_of(directory)
  begun = _is_begun(directory)
  if not begun and os.path.isdir(directory) and set(
      os.listdir(directory)) - {os.path.basename(path) + '.new'}:
    raise ValueError(f'{directory}: must be an empty folder or a store; it '
                     'holds files and no manifest.json')
  with _writing(directory, 'its beginning'):
    os.makedirs(directory, exist_ok=True)
    if not begun:
      manifest_lib.replace_json(path, plan | {'done': False})
    for name in _folders(directory):
      if not os.path.lexists(name):
        os.mkdir(name)


def _is_begun(directory):
  return os.path.lexists(manifest_lib.path_of(directory))


def _is_done(directory, plan):
  """Whether a store is finished; a ValueError if it is one of another plan."""
  if not _is_begun(directory):
    return False
  manifest = manifest_lib.read(directory)
  manifest_lib.check_same(directory, manifest, plan)
  return manifest['done']


def _make(make, layout, index, kinds):
  """(History [S_b, T], dropped streams) of a block, as NumPy, or an error."""
  first, last = layout.streams(index)
  history, healthy = make(first, last)
  arrays.check_steps('history', history, f'{last - first}, T')
  arrays.check('healthy [S] bool', healthy, S=last - first)
  history = types.History(*map(np.asarray, history))
  where = f'make({first}, {last})'
  if not 1 <= history.done.shape[1] <= layout.steps:
    raise ValueError(f'{where}: must have from 1 to {layout.steps} steps; '
                     f'it has {history.done.shape[1]}')
  found = {}
  for name, array in history._asdict().items():
    found[name] = array.dtype.name, list(array.shape[2:])
    if array.dtype.name not in manifest_lib.DTYPES[name]:
      raise ValueError(f'{where}: {name} must be '
                       + ' or '.join(manifest_lib.DTYPES[name])
                       + f'; it is {array.dtype.name}')
    if 0 in array.shape:
      raise ValueError(f'{where}: {name} must have something a step; it has '
                       f'shape {list(array.shape[2:])}')
  manifest_lib.check_same_kinds(where, found, kinds or found)
  return history, (first + np.flatnonzero(~np.asarray(healthy))).tolist()


def _write_block(directory, layout, index, history, dropped):
  """Writes the files of a block and then its record, which it returns."""
  record = {'steps': history.done.shape[1], 'dropped': dropped, 'arrays': {}}
  for name, array in history._asdict().items():
    data = shards.encode(layout, index, array)
    shape = list(array.shape[2:])
    record['arrays'][name] = {
        'dtype': array.dtype.name, 'shape': shape, 'bytes': len(data),
        'sha256': hashlib.sha256(data).hexdigest()}
    manifest_lib.replace(
        os.path.join(directory, name, shards.key(index, shape)), data)
  manifest_lib.replace_json(manifest_lib.record_path(directory, index), record)
  return record


def _finished(directory, layout, index):
  """The record of a block if its files are all there, or None."""
  path = manifest_lib.record_path(directory, index)
  if not os.path.lexists(path):
    return None
  record = manifest_lib.read_json(path)
  manifest_lib.check_record(path, layout, index, record)
  whole = all(
      os.path.lexists(shard) and manifest_lib.size(shard) == array['bytes']
      for shard, array in _files(directory, index, record))
  return record if whole else None


def _finish(directory, layout, plan, patience):
  """Writes what makes the blocks a zarr group, and then the done mark."""
  records = []
  for index in range(layout.num_blocks):
    record = _in_time(lambda i=index: _finished(directory, layout, i), patience)
    if not record:
      raise ValueError(f'{directory}: block {index} is not there; process '
                       f'{index} modulo the number of processes makes it')
    records.append(record)
    manifest_lib.check_same_kinds(
        manifest_lib.record_path(directory, index),
        manifest_lib.kinds(record), manifest_lib.kinds(records[0]))
  steps, _ = manifest_lib.together(directory, layout, records)
  with _writing(directory, 'its end'):
    for name, kind in manifest_lib.kinds(records[0]).items():
      manifest_lib.replace_json(os.path.join(directory, name, 'zarr.json'),
                                shards.metadata(layout, steps, *kind))
    manifest_lib.replace_json(os.path.join(directory, 'zarr.json'), {
        'zarr_format': 3, 'node_type': 'group', 'attributes': {}})
    manifest_lib.replace_json(manifest_lib.path_of(directory),
                              plan | {'blocks': records, 'done': True})


def _files(directory, index, record):
  """(path, what its record says of it) for each file of a block."""
  for name, array in record['arrays'].items():
    key = shards.key(index, array['shape'])
    yield os.path.join(directory, name, key), array


def _folders(directory):
  return [os.path.join(directory, name)
          for name in (*manifest_lib.NAMES, 'blocks')]


def _check_folders(directory):
  """Raises a ValueError unless what is in the folders is in the store."""
  for path in _folders(directory):
    if os.path.islink(path) or not os.path.isdir(path):
      raise ValueError(f'{path}: must be a folder, and no link to one')


def _check_range(name, given, end):
  given = np.asarray(given)
  if not given.size or given.min() < 0 or given.max() >= end:
    raise ValueError(f'{name}: must be one or more from 0 to {end - 1}; '
                     f'{reprlib.repr(given.tolist())} given')


def _in_time(look, patience):
  """look(), asked again until it is true or this many seconds are over."""
  end = time.monotonic() + patience
  while not (seen := look()) and time.monotonic() < end:
    time.sleep(0.2)
  return seen


@contextlib.contextmanager
def _writing(directory, what):
  """Names the store in what the system says against writing to it."""
  try:
    yield
  except OSError as error:
    raise OSError(error.errno, f'{directory}: {what} could not be written '
                  f'({error.strerror}); what is finished is kept') from error
