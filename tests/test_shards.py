"""Shards: chunks that suit a window, bytes that depend on a block alone."""

import math

import numpy as np
import pytest

from adjax.storage import manifest
from adjax.storage import shards


def chunk_of(steps, dtype, shape):
  layout = manifest.Layout(num_streams=10, steps=steps, block=4)
  found = shards.metadata(layout, steps, dtype, shape)
  shard = found['chunk_grid']['configuration']['chunk_shape']
  chunk = found['codecs'][0]['configuration']['chunk_shape']
  assert all(a % b == 0 for a, b in zip(shard, chunk, strict=True))
  assert shard[1] >= steps
  return chunk


@pytest.mark.parametrize('steps, dtype, shape, expected', [
    (750, 'int8', [2], 750), (15000, 'int8', [2], 1000),
    (2300, 'float32', [], 1000), (15000, 'uint8', [64, 64, 3], 21),
    (15000, 'float64', [10**6], 1)])
def test_a_chunk_is_some_steps_of_one_stream(steps, dtype, shape, expected):
  chunk = chunk_of(steps, dtype, shape)
  assert chunk == [1, expected, *shape]
  assert expected == 1 or (
      math.prod(chunk) * np.dtype(dtype).itemsize <= 2**18)


def test_the_file_of_a_block_depends_on_that_block_alone():
  array = np.random.default_rng(0).integers(0, 9, (4, 70, 2)).astype(np.int8)
  one, other = (shards.encode(manifest.Layout(num, 100, 4), index, array)
                for num, index in ((4, 0), (40, 7)))
  assert one == other
  assert manifest.shard_name(7, [2]) == 'c.7.0.0'
  assert manifest.shard_name(7, []) == 'c.7.0'


def test_even_random_actions_take_less_than_half_a_byte():
  action = np.random.default_rng(0).integers(0, 5, (8, 3000)).astype(np.int8)
  data = shards.encode(manifest.Layout(8, 3000, 8), 0, action)
  assert action.size * math.log2(5) / 8 < len(data) < action.size / 2
