"""Arrays [S, T, ...] as sharded zarr 3; the one place that knows tensorstore.

A block of streams is one file, a shard, of independently compressed chunks of
one stream and so many steps.
"""

import math
import os
from typing import Any

import numpy as np
import tensorstore as ts

from adjax.storage import manifest

# What is decompressed together. Longer chunks compress better and cost fewer
# calls, shorter ones decode less beside a window: windows of 300 steps are read
# fastest from chunks of 750 to 1000.
_CHUNK_STEPS = 1000
_CHUNK_BYTES = 2**18
# Decoded chunks that may be used again, beside the indices of the shards.
_CACHE_BYTES = 2**26


def metadata(
    layout: manifest.Layout, steps: int, dtype: str, shape: list[int]
) -> dict[str, Any]:
  """The zarr.json of an array whose shards are its blocks.

  A shard has room for layout.steps, however few of them there are: what the
  file of a block looks like does not depend on the blocks that others make.

  Args:
    layout: how the streams are cut.
    steps: how many steps all streams have, T.
    dtype: its name.
    shape: what follows [S, T].
  """
  chunk = _chunk_steps(layout, dtype, shape)
  room = -(-layout.steps // chunk) * chunk
  plain = {'name': 'bytes', 'configuration': {'endian': 'little'}}
  zstd = {'name': 'zstd', 'configuration': {'level': 3, 'checksum': False}}
  crc = {'name': 'crc32c'}
  return {
      'zarr_format': 3, 'node_type': 'array', 'attributes': {},
      'shape': [layout.num_streams, steps, *shape], 'data_type': dtype,
      'fill_value': False if dtype == 'bool' else 0,
      'chunk_grid': {'name': 'regular', 'configuration': {
          'chunk_shape': [layout.block, room, *shape]}},
      'chunk_key_encoding': {'name': 'default', 'configuration': {
          'separator': '.'}},
      'codecs': [{'name': 'sharding_indexed', 'configuration': {
          'chunk_shape': [1, chunk, *shape], 'codecs': [plain, zstd, crc],
          'index_codecs': [plain, crc], 'index_location': 'end'}}]}


def encode(layout: manifest.Layout, index: int, array: np.ndarray) -> bytes:
  """The file of a block [S_b, T_b, ...].

  In memory, so that its checksum is of what was meant, whatever a disk then
  makes of it.
  """
  context, shape = ts.Context(), list(array.shape[2:])
  first, last = layout.streams(index)
  made = _open({'driver': 'memory'}, metadata(
      layout, layout.steps, array.dtype.name, shape), context, create=True)
  made[first:last, :array.shape[1]].write(array).result()
  memory = ts.KvStore.open({'driver': 'memory'}, context=context).result()
  return memory[manifest.shard_name(index, shape)]


def open_arrays(
    directory: str, layout: manifest.Layout, kinds: manifest.Kinds
) -> dict[str, ts.TensorStore]:
  """The arrays [S, layout.steps, ...] in folders of their names, to read from.

  Steps that a block does not have are an error when they are read.
  """
  # Without its index in the cache, each chunk of a shard would cost a reading
  # of the whole index.
  indices = layout.num_blocks * sum(
      16 * layout.block * -(-layout.steps // _chunk_steps(layout, *kind))
      for kind in kinds.values())
  context = ts.Context({'cache_pool': {
      'total_bytes_limit': min(_CACHE_BYTES + 2 * indices, 2**40)}})
  return {
      name: _open(
          {'driver': 'file',
           'path': os.path.abspath(os.path.join(directory, name)) + os.sep},
          metadata(layout, layout.steps, *kind), context, assume_metadata=True)
      for name, kind in kinds.items()}


def start_reading(
    array: ts.TensorStore, firsts: list[tuple[int, int]], length: int
) -> ts.Future:
  """A future of subsequences [B, L, ...] from (stream, step) on."""
  return ts.stack([
      array[stream, step:step + length][ts.d[0].translate_to[0]]
      for stream, step in firsts]).read()


def _chunk_steps(
    layout: manifest.Layout, dtype: str, shape: list[int]
) -> int:
  step_bytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
  return max(1, min(layout.steps, _CHUNK_STEPS, _CHUNK_BYTES // step_bytes))


def _open(
    kvstore: dict[str, str], metadata: dict[str, Any], context: ts.Context,
    create: bool = False, assume_metadata: bool = False
) -> ts.TensorStore:
  return ts.open(
      # A chunk that is not there is an error and not zeros: zeros are stored.
      {'driver': 'zarr3', 'kvstore': kvstore, 'metadata': metadata,
       'store_data_equal_to_fill_value': True,
       'fill_missing_data_reads': False, 'recheck_cached_data': False},
      open=True, context=context, create=create,
      assume_metadata=assume_metadata).result()
