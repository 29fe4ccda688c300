"""Histories are made and written to a store block by block.

A block's record is written after its files, and the manifest that has all
records after everything: whatever stops the writing, the next call goes on with
the blocks that have no record.
"""

from collections.abc import Callable
import functools
import hashlib
import os
import time
from typing import TypeVar

import numpy as np

from adjax import arrays
from adjax import config
from adjax import types
from adjax.storage import files
from adjax.storage import manifest
from adjax.storage import shards

# (first, last) -> the streams from first to last - 1, and which are finite.
Make = Callable[[int, int], tuple[types.History, np.ndarray]]
_Seen = TypeVar('_Seen')
# Seconds after which a shared folder surely shows what another host wrote.
_PATIENCE = 120


def write(
    directory: str, description: dict[str, object], layout: manifest.Layout,
    make: Make, say: Callable[[str], None] = lambda text: None,
    process: int = 0, num_processes: int = 1,
    barrier: Callable[[str], None] = lambda name: None,
) -> None:
  """Makes a store, or what is missing of it.

  Args:
    directory: a folder of its own, shared by all devices.
    description: all that the histories follow from, as JSON; a store with
      another one is refused.
    layout: how many streams, and how many to make at once.
    make: (first, last) -> (History [last - first, T], finite [last - first]) of
      the streams first to last - 1, as NumPy arrays, with T at most
      layout.steps. Where T differs between blocks, the store has the steps that
      all of them have. A stream that is not finite has diverged: it is kept,
      named as dropped and never read.
    say: is told of every block.
    process: which of the processes this is; block b is made by process b modulo
      num_processes.
    num_processes: how many there are.
    barrier: returns once all processes have called it with this name.

  Raises:
    ValueError: if the folder holds something else or is damaged, or if make
      gives wrong shapes or dtypes; nothing is changed then.
    OSError: if a file cannot be written; the blocks before it are kept.
  """
  config.check('process', process, 0 <= process < num_processes,
               f'from 0 to num_processes - 1 = {num_processes - 1}')
  patience = _PATIENCE if num_processes > 1 else 0
  plan = manifest.plan(description, layout)
  if manifest.is_done(directory, plan):
    return
  path = manifest.path_of(directory)
  if process == 0:
    _begin(directory, path, plan)
  barrier('store is begun')
  if not _in_time(lambda: os.path.exists(path), patience):
    raise ValueError(f'{directory}: must be one folder for all processes; '
                     f'process {process} does not see what process 0 wrote')
  manifest.is_done(directory, plan)  # Of the same plan at least.
  kinds = None
  for index in range(process, layout.num_blocks, num_processes):
    record = _finished(directory, index)
    say(f'{directory}: block {index + 1} of {layout.num_blocks} '
        + ('is there' if record else 'is made'))
    if record is None:
      record = _write_block(directory, layout, index,
                            *_make(make, layout, index, kinds))
    kinds = record['kinds']
  barrier('store has its blocks')
  if process == 0:
    _finish(directory, layout, plan, patience)
  barrier('store is done')
  _in_time(lambda: manifest.is_done(directory, plan), patience)


def _begin(directory: str, path: str, plan: dict[str, object]) -> None:
  if os.path.exists(path):
    return
  os.makedirs(directory, exist_ok=True)
  if set(os.listdir(directory)) - {os.path.basename(path) + '.new'}:
    raise ValueError(f'{directory}: must be an empty folder or a store; it '
                     'holds files and no manifest.json')
  files.write_sealed(path, plan)


def _make(
    make: Make, layout: manifest.Layout, index: int,
    kinds: manifest.Kinds | None
) -> tuple[types.History, list[int]]:
  """(History [S_b, T], dropped streams) of a block, or an error."""
  first, last = layout.streams(index)
  history, finite = make(first, last)
  arrays.check_steps('history', history, f'{last - first}, T')
  arrays.check('finite [S] bool', finite, S=last - first)
  where = f'make({first}, {last})'
  if not 1 <= history.done.shape[1] <= layout.steps:
    raise ValueError(f'{where}: must have from 1 to {layout.steps} steps; '
                     f'it has {history.done.shape[1]}')
  for name, allowed in manifest.DTYPES.items():
    array = getattr(history, name)
    if array.dtype.name not in allowed:
      raise ValueError(f'{where}: {name} must be {" or ".join(allowed)}; it is '
                       f'{array.dtype.name}')
    if 0 in array.shape:
      raise ValueError(f'{where}: {name} must have something a step; it has '
                       f'shape {list(array.shape[2:])}')
  manifest.check_kinds(where, _kinds(history), kinds or _kinds(history))
  return history, (first + np.flatnonzero(~finite)).tolist()


def _kinds(history: types.History) -> manifest.Kinds:
  return {name: [array.dtype.name, list(array.shape[2:])]
          for name, array in history._asdict().items()}


def _write_block(
    directory: str, layout: manifest.Layout, index: int,
    history: types.History, dropped: list[int]
) -> manifest.Record:
  """Writes the files of a block and then its record, which it returns."""
  kinds, written = _kinds(history), {}
  for name, array in history._asdict().items():
    path = os.path.join(
        directory, name, manifest.shard_name(index, kinds[name][1]))
    data = shards.encode(layout, index, array)
    written[name] = [len(data), hashlib.sha256(data).hexdigest()]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    files.write(path, data)
  record = {'steps': history.done.shape[1], 'dropped': dropped, 'kinds': kinds,
            'files': written}
  path = manifest.record_path(directory, index)
  os.makedirs(os.path.dirname(path), exist_ok=True)
  files.write_sealed(path, record)
  return record


def _finished(directory: str, index: int) -> manifest.Record | None:
  """The record of a block if its files are all there."""
  path = manifest.record_path(directory, index)
  if not os.path.exists(path):
    return None
  record = files.read_sealed(path)
  whole = all(manifest.is_whole(shard, size) for shard, size, _
              in manifest.shards_of(directory, index, record))
  return record if whole else None


def _finish(
    directory: str, layout: manifest.Layout, plan: dict[str, object],
    patience: float
) -> None:
  """Writes what makes the blocks a zarr group, and then the whole manifest."""
  records = []
  for index in range(layout.num_blocks):
    record = _in_time(
        functools.partial(_finished, directory, index), patience)
    if record is None:
      raise ValueError(f'{directory}: block {index} is not there; process '
                       f'{index} modulo the number of processes makes it')
    records.append(record)
  steps, _ = manifest.combine(directory, layout, records)
  for name, kind in records[0]['kinds'].items():
    files.write_json(os.path.join(directory, name, 'zarr.json'),
                     shards.metadata(layout, steps, *kind))
  files.write_json(os.path.join(directory, 'zarr.json'), {
      'zarr_format': 3, 'node_type': 'group', 'attributes': {}})
  files.write_sealed(manifest.path_of(directory), plan | {'blocks': records})


def _in_time(look: Callable[[], _Seen], patience: float) -> _Seen:
  """What is looked for, once it is there or this many seconds are over."""
  end = time.monotonic() + patience
  while not (seen := look()) and time.monotonic() < end:
    time.sleep(0.2)
  return seen
