"""Checkpoints come back exactly, or are passed over by name."""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys

import hypothesis
from hypothesis import strategies
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax.storage import checkpoint
from adjax.storage import files as files_lib

ROOT = pathlib.Path(__file__).parents[1]


def state(seed, dtype=jnp.float32):
  random = np.random.default_rng(seed)
  return {'w': jnp.asarray(random.normal(size=(300, 40)), dtype),
          'half': jnp.asarray(random.normal(size=7), jnp.bfloat16),
          'step': jnp.int32(seed), 'key': jax.random.key(seed)}


def assert_same(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    assert x.dtype == y.dtype
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_array_equal(x, y)


def fill(directory, steps=(1, 2, 3), keep=3):
  checkpoints = checkpoint.Checkpoints(str(directory), keep)
  for step in steps:
    checkpoints.save(step, state(step))


def restored(directory, like=None):
  """(step, state) and what was said of others."""
  said = []
  found = checkpoint.Checkpoints(str(directory)).restore(
      like or state(0), said.append)
  return found, said


def assert_passed_over(directory, *words):
  """State 3 is, and state 2 comes back."""
  (step, found), said = restored(directory)
  assert step == 2 and len(said) == 1
  for word in ('checkpoint 3 does not load and is passed over', *words):
    assert word in said[0]
  assert len(said[0].splitlines()) == 1
  assert_same(found, state(2))


@pytest.fixture(scope='module')
def filled(tmp_path_factory):
  """States 2 and 3, to be copied."""
  directory = tmp_path_factory.mktemp('filled')
  fill(directory, (2, 3))
  return directory


@pytest.fixture
def copy(filled, tmp_path):
  return shutil.copytree(filled, tmp_path / 'copy')


def files(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file())


def damage(directory, step):
  """Overwrites every file of a step."""
  for path in files(pathlib.Path(directory) / str(step)):
    path.write_bytes(b'\xff' * path.stat().st_size)


def test_the_newest_state_comes_back_exactly(copy):
  (step, found), said = restored(copy)
  assert step == 3 and not said
  assert_same(found, state(3))


def test_old_states_are_let_go(tmp_path):
  fill(tmp_path, range(1, 6), keep=2)
  assert checkpoint.Checkpoints(str(tmp_path)).steps == [4, 5]
  assert sorted(os.listdir(tmp_path)) == ['4', '5']


def test_nothing_saved_is_nothing_and_looking_changes_nothing(tmp_path):
  assert restored(tmp_path / 'none') == (None, [])
  assert not (tmp_path / 'none').exists()


def test_a_damaged_state_is_passed_over_and_saved_again(copy):
  damage(copy, 3)
  said = []
  checkpoints = checkpoint.Checkpoints(str(copy))
  step, found = checkpoints.restore(state(0), said.append)
  assert step == 2 and len(said) == 1 and 'checkpoint 3' in said[0]
  assert_same(found, state(2))
  checkpoints.save(3, state(3))
  (step, found), said = restored(copy)
  assert step == 3 and not said
  assert_same(found, state(3))


def test_states_that_do_not_load_do_not_push_out_those_that_do(tmp_path):
  fill(tmp_path, (1, 2, 3, 4), keep=4)
  damage(tmp_path, 3)
  damage(tmp_path, 4)
  checkpoints = checkpoint.Checkpoints(str(tmp_path), keep=2)
  assert checkpoints.restore(state(0), lambda text: None)[0] == 2
  checkpoints.save(3, state(3))
  assert checkpoints.steps == [2, 3, 4]
  (step, _), said = restored(tmp_path)
  assert step == 3 and 'checkpoint 4' in said[0]


def flip(path, position):
  data = bytearray(path.read_bytes())
  data[position] ^= 1 << random.Random(str(path)).randrange(8)
  path.write_bytes(data)


HARMS = {
    'first bit': lambda path: flip(path, 0),
    'a bit': lambda path: flip(path, path.stat().st_size // 2),
    'last bit': lambda path: flip(path, -1),
    'cut': lambda path: os.truncate(path, path.stat().st_size // 2),
    'remove': lambda path: path.unlink(),
    'empty': lambda path: path.write_bytes(b''),
    'longer': lambda path: path.write_bytes(path.read_bytes() + b'\n'),
}


@pytest.mark.parametrize('harm', HARMS)
def test_a_fault_in_any_one_file_is_found_and_named(copy, harm):
  """Of empty files, too, there being some; these can only go or grow."""
  for path in files(copy / '3'):
    data = path.read_bytes()
    if not data and harm not in ('remove', 'longer'):
      continue
    HARMS[harm](path)
    assert_passed_over(copy, path.name)
    path.write_bytes(data)
  assert restored(copy)[0][0] == 3


def test_a_file_too_many_is_found(copy):
  (copy / '3' / 'state' / 'more').write_text('')
  assert_passed_over(copy, "file 'state/more' is not of it")


def test_a_state_with_the_name_of_another_is_found(copy):
  shutil.rmtree(copy / '3')
  shutil.copytree(copy / '2', copy / '3')
  assert_passed_over(copy, 'seal')


def test_a_file_in_place_of_a_state_is_found_and_overwritten(copy):
  shutil.rmtree(copy / '3')
  (copy / '3').write_text('')
  assert_passed_over(copy)
  checkpoint.Checkpoints(str(copy)).save(3, state(3))
  assert restored(copy)[0][0] == 3


# Functions, so that the programs below import this file without any device.
OTHERS = {
    "leaf ['w']: float16[300, 40] was saved, float32[300, 40] is wanted":
        lambda: state(3, jnp.float16),
    "leaf ['w']: int32[300, 40] was saved, float32[300, 40] is wanted":
        lambda: state(3) | {'w': jnp.zeros((300, 40), jnp.int32)},
    "leaf ['w']: float32[40, 300] was saved, float32[300, 40] is wanted":
        lambda: state(3) | {'w': jnp.zeros((40, 300))},
    "leaf ['x']: float32[3] was saved, absent is wanted":
        lambda: state(3) | {'x': jnp.zeros(3)},
    "leaf ['key']: key<rbg>[] was saved, key<fry>[] is wanted":
        lambda: state(3) | {'key': jax.random.key(3, impl='rbg')},
}


@pytest.mark.parametrize('words', OTHERS)
def test_a_state_of_other_leaves_is_not_cast(copy, words):
  checkpoint.Checkpoints(str(copy)).save(3, OTHERS[words]())
  assert_passed_over(copy, words)


def test_what_changes_between_file_and_array_is_found(copy, monkeypatch):
  load = checkpoint.ocp.load
  def wrong(folder, like):
    found = load(folder, like)
    return found | {'w': found['w'] + 1} if folder.endswith('3') else found
  monkeypatch.setattr(checkpoint.ocp, 'load', wrong)
  assert_passed_over(copy, "leaf ['w'] is not as it was sealed")


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats() | strategies.text(),
    lambda x: strategies.lists(x) | strategies.dictionaries(
        strategies.sampled_from(('step', 'files', 'leaves', 'x')), x))


@hypothesis.given(strategies.binary() | JSON)
@hypothesis.settings(
    max_examples=20, deadline=None, derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.example(b'[' * 100_000)
@hypothesis.example(b'{"format": ' + b'9' * 5000 + b'}')
@hypothesis.example({'step': 3, 'files': {}, 'leaves': {'x': 'abc'}})
@hypothesis.example({'step': 3, 'files': {'../seal': []}, 'leaves': {}})
def test_a_crafted_seal_is_passed_over(copy, content):
  """With a checksum that agrees, too."""
  seal = copy / '3' / 'seal'
  if isinstance(content, dict):
    files_lib.write_sealed(str(seal), content)
  elif isinstance(content, bytes):
    seal.write_bytes(content)
  else:
    seal.write_text(json.dumps(content))
  assert_passed_over(copy)


def test_a_state_of_an_older_adjax_is_passed_over(copy):
  (copy / '3' / 'seal').write_text('{"step": 3, "leaves": {}, "files": {}}')
  assert_passed_over(copy, '3/seal: was written by an older adjax; use that')


def test_no_state_that_loads_is_an_error(copy):
  damage(copy, 2)
  damage(copy, 3)
  with pytest.raises(RuntimeError, match=r'\[2, 3\] .* none loads'):
    restored(copy)


def test_only_folders_of_our_own_are_deleted(copy):
  for name in ('1.new', '2.old', '03', '-1', '3x', '..3', 'new', '9' * 30):
    (copy / name).mkdir()
  checkpoints = checkpoint.Checkpoints(str(copy), keep=1)
  assert checkpoints.steps == [2, 3]
  checkpoints.save(4, state(4))
  assert sorted(os.listdir(copy)) == sorted(
      ['4', '03', '-1', '3x', '..3', 'new', '9' * 30])


@pytest.mark.parametrize('step', [-1, 1.5, '../3', 10 ** 9, True])
def test_a_step_that_is_no_step_is_refused(tmp_path, step):
  with pytest.raises(ValueError, match=r'step=.*must be an integer from 0'):
    checkpoint.Checkpoints(str(tmp_path)).save(step, state(0))
  with pytest.raises(ValueError, match='keep=0: must be at least 1'):
    checkpoint.Checkpoints(str(tmp_path), keep=0)


@pytest.mark.parametrize('error, reason', [
    (OSError(28, 'No space left on device'), 'No space left on device'),
    (ExceptionGroup('some', [ValueError('x: No space left on device [28]')]),
     'No space left on device'),
    (RuntimeError('a thread died\nof this'), 'RuntimeError: a thread died'),
    (ValueError(), 'ValueError'),
])
def test_a_save_that_fails_is_one_error_and_costs_nothing(
    tmp_path, monkeypatch, error, reason):
  def fail(folder, state):
    os.makedirs(os.path.join(folder, 'state'))
    raise error
  checkpoints = checkpoint.Checkpoints(str(tmp_path), keep=1)
  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.ocp, 'save', fail)
    with pytest.raises(OSError) as failed:
      checkpoints.save(1, state(1))
    assert str(failed.value) == (
        f'checkpoint 1 could not be written to {tmp_path} ({reason}); none is '
        'there yet')
  assert not list(tmp_path.iterdir())
  checkpoints.save(1, state(1))
  monkeypatch.setattr(checkpoint.ocp, 'save', fail)
  for step in (1, 2):
    with pytest.raises(OSError, match='the last good one is 1'):
      checkpoints.save(step, state(2))
  monkeypatch.undo()
  (step, found), said = restored(tmp_path)
  assert step == 1 and not said
  assert_same(found, state(1))


@pytest.fixture
def small_disk(tmp_path):
  """Of 4 MB."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  try:
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'none', folder],
                   check=True, capture_output=True)
  except (OSError, subprocess.CalledProcessError):
    pytest.skip('disks cannot be mounted here')
  yield folder
  subprocess.run(['umount', '-l', folder], check=True)


@pytest.mark.filterwarnings(
    'ignore::pytest.PytestUnraisableExceptionWarning')  # Of orbax's threads.
def test_a_full_disk_keeps_the_last_good_state(small_disk):
  def big(seed):
    return {'w': jax.random.bits(jax.random.key(seed), (200_000,))}
  directory = small_disk / 'checkpoints'
  checkpoints = checkpoint.Checkpoints(str(directory), keep=1)
  checkpoints.save(1, big(1))
  levels = [0, 1, 2, 5, 10, 50, 200, 400, 700, 780]
  for free in levels:
    disk = os.statvfs(small_disk)
    (small_disk / 'other').write_bytes(
        bytes(disk.f_bavail * disk.f_bsize - free * 1024))
    with pytest.raises(OSError, match=r'checkpoint 2 .* \(No space left on dev'
                       r'ice\); the last good one is 1'):
      checkpoints.save(2, big(2))
    (small_disk / 'other').unlink()
    assert os.listdir(directory) == ['1']
    (step, found), said = restored(directory, big(0))
    assert step == 1 and not said
    assert_same(found, big(1))
  checkpoints.save(2, big(2))
  assert_same(restored(directory, big(0))[0][1], big(2))


# Imports once, and makes a child for every one that is asked for. A child
# takes up where the last one was killed.
CHILDREN = """
import itertools, os, signal, sys, time
from adjax.storage import checkpoint
from tests import test_checkpoint as test
for line in sys.stdin:
  begun, begin = os.pipe()
  child = os.fork()
  if child == 0:
    checkpoints = checkpoint.Checkpoints(sys.argv[1])
    found = checkpoints.restore(test.state(0), print)
    os.write(begin, b'.')
    for step in itertools.count(found[0] + 1 if found else 1):
      checkpoints.save(step, test.state(step))
  os.read(begun, 1)
  time.sleep(float(line))
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  print('killed', flush=True)
"""


def test_a_run_killed_inside_a_save_goes_on_from_the_one_before(tmp_path):
  directory = tmp_path / 'checkpoints'
  last = 0
  with subprocess.Popen(
      [sys.executable, '-c', CHILDREN, str(directory)], cwd=ROOT, text=True,
      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'}) as children:
    for number in range(10):
      seconds = 0.5 * random.Random(number).random()
      print(seconds, file=children.stdin, flush=True)
      assert children.stdout.readline() == 'killed\n'
      found, said = restored(directory)
      assert not said
      if found is not None:
        step, found = found
        assert_same(found, state(step))
        assert last <= step
        last = step
    children.stdin.close()
  assert last > 3
  left = [name for name in os.listdir(directory) if name.isdecimal()]
  assert len(left) <= 4


PROCESS = """
import sys
import jax
from jax.sharding import NamedSharding, PartitionSpec
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
from adjax.storage import checkpoint
from tests import test_checkpoint as test
replicated = NamedSharding(jax.make_mesh((2,), ('data',)), PartitionSpec())
def state(seed):
  return jax.jit(lambda x: x, out_shardings=replicated)(test.state(seed))
checkpoints = checkpoint.Checkpoints(sys.argv[1])
assert checkpoints.restore(state(0), print) is None
for step in range(1, 5):
  checkpoints.save(step, state(step))
  assert checkpoints.steps[-1] == step
step, found = checkpoints.restore(state(0), print)
assert step == 4
test.assert_same(found, test.state(4))
"""


def test_saved_by_two_processes_and_restored_by_one(tmp_path):
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{probe.getsockname()[1]}'
  processes = [
      subprocess.Popen(
          [sys.executable, '-c', PROCESS, str(tmp_path / 'c'), address, str(i)],
          cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
          env=os.environ | {
              'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '1',
              'JAX_CPU_COLLECTIVES_IMPLEMENTATION': 'gloo',
              'JAX_ENABLE_PREEMPTION_SERVICE': 'false'}) for i in range(2)]
  for process in processes:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
  assert sorted(os.listdir(tmp_path / 'c')) == ['2', '3', '4']
  (step, found), said = restored(tmp_path / 'c')
  assert step == 4 and not said
  assert_same(found, state(4))
