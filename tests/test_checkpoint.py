"""Checkpoints come back exactly, or are passed over by name."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import checkpoint


def state(seed):
  return {'w': jax.random.normal(jax.random.key(seed), (300, 40)),
          'step': jnp.int32(seed), 'key': jax.random.key(seed)}


def assert_same(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    assert x.dtype == y.dtype
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_array_equal(x, y)


def fill(directory, steps=(1, 2, 3), keep=3):
  checkpoints = checkpoint.Checkpoints(str(directory), keep)
  for step in steps:
    checkpoints.save(step, state(step))
  checkpoints.close()


def damage(directory, step):
  """Overwrites every file of a step."""
  folder = next(p for p in pathlib.Path(directory).iterdir()
                if p.name.endswith(str(step)))
  for path in folder.rglob('*'):
    if path.is_file():
      path.write_bytes(b'\xff' * path.stat().st_size)


def test_the_newest_state_comes_back_exactly(tmp_path):
  fill(tmp_path)
  said = []
  step, found = checkpoint.Checkpoints(str(tmp_path)).restore(
      state(0), said.append)
  assert step == 3 and not said
  assert_same(found, state(3))


def test_old_states_are_let_go(tmp_path):
  fill(tmp_path, range(1, 6), keep=2)
  assert checkpoint.Checkpoints(str(tmp_path)).steps == [4, 5]


def test_nothing_saved_is_nothing(tmp_path):
  checkpoints = checkpoint.Checkpoints(str(tmp_path))
  assert checkpoints.restore(state(0), pytest.fail) is None


def test_a_damaged_state_is_passed_over_and_saved_again(tmp_path):
  fill(tmp_path)
  damage(tmp_path, 3)
  said = []
  checkpoints = checkpoint.Checkpoints(str(tmp_path))
  step, found = checkpoints.restore(state(0), said.append)
  assert step == 2 and len(said) == 1 and 'checkpoint 3' in said[0]
  assert_same(found, state(2))
  checkpoints.save(3, state(3))
  checkpoints.close()
  step, found = checkpoint.Checkpoints(str(tmp_path)).restore(
      state(0), pytest.fail)
  assert step == 3
  assert_same(found, state(3))


@pytest.mark.parametrize('harm', ['flip', 'cut', 'remove', 'empty'])
def test_one_damaged_file_is_found(tmp_path, harm):
  fill(tmp_path)
  folder = next(p for p in tmp_path.iterdir() if p.name.endswith('3'))
  largest = max((p for p in folder.rglob('*') if p.is_file()),
                key=lambda p: p.stat().st_size)
  data = bytearray(largest.read_bytes())
  if harm == 'flip':
    data[len(data) // 2] ^= 4
  elif harm == 'cut':
    data = data[:len(data) // 2]
  elif harm == 'empty':
    data = b''
  largest.write_bytes(data)
  if harm == 'remove':
    largest.unlink()
  said = []
  step, found = checkpoint.Checkpoints(str(tmp_path)).restore(
      state(0), said.append)
  assert step == 2 and len(said) == 1 and 'checkpoint 3' in said[0]
  assert_same(found, state(2))


def test_no_state_that_loads_is_an_error(tmp_path):
  fill(tmp_path, (1, 2))
  damage(tmp_path, 1)
  damage(tmp_path, 2)
  with pytest.raises(RuntimeError, match=r'\[1, 2\] .* none loads'):
    checkpoint.Checkpoints(str(tmp_path)).restore(state(0), lambda text: None)
