"""Stores: what is read is what was made, whatever happened in between."""

import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest
import zarr

from adjax import types
from adjax.storage import blocks as blocks_lib
from adjax.storage import files as files_lib
from adjax.storage import manifest
from adjax.storage import store

DESCRIPTION = {'seed': 3, 'tasks': {'goals': [[1, 2], [3, 4]]}}
LAYOUT = store.Layout(num_streams=11, steps=2300, block=4)


def history_of(first, last, steps=2300, obs=(2,)):
  """Streams first to last - 1 of a world; a stream is the same in any block."""
  def stream(number):
    rng = np.random.default_rng(number)
    return types.History(
        rng.integers(-9, 9, (steps, *obs)).astype(np.int16),
        rng.integers(0, 5, steps).astype(np.int8),
        rng.standard_normal(steps).astype(np.float32),
        rng.random(steps) < 0.05)
  return types.History(*map(np.stack, zip(*map(stream, range(first, last)))))


def make(first, last):
  return history_of(first, last), np.ones(last - first, bool)


def write(directory, make=make, layout=LAYOUT, description=None, **kwargs):
  store.write(str(directory), description or DESCRIPTION, layout, make,
              **kwargs)


def whole(directory):
  """All that can be read from a store."""
  opened = store.Store(str(directory))
  streams = np.arange(opened.num_streams)
  return opened.read(streams, np.zeros_like(streams), opened.steps)


def assert_equal(a, b):
  for x, y in zip(a, b, strict=True):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


def files(directory):
  return {str(path.relative_to(directory)): path.read_bytes()
          for path in directory.rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  directory = tmp_path_factory.mktemp('made') / 'store'
  write(directory)
  return directory


@pytest.fixture
def copy(made, tmp_path):
  return shutil.copytree(made, tmp_path / 'copy')


def test_a_store_says_what_it_is(made):
  opened = store.Store(str(made))
  assert opened.num_streams == 11 and opened.steps == 2300
  assert opened.description == DESCRIPTION and opened.dropped == []
  opened.verify()


def test_plain_zarr_reads_it(made):
  group = zarr.open_group(str(made), mode='r')
  assert_equal([group[name][...] for name in types.History._fields],
               history_of(0, 11))


def test_a_block_is_one_file_of_each_array(made):
  for name in types.History._fields:
    assert len(list((made / name).glob('c.*'))) == LAYOUT.num_blocks == 3


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.data())
def test_a_subsequence_is_that_of_the_history(made, data):
  history, opened = history_of(0, 11), store.Store(str(made))
  length = data.draw(st.integers(1, 2300))
  num = data.draw(st.integers(1, 5))
  draw = lambda end: np.array(data.draw(
      st.lists(st.integers(0, end), min_size=num, max_size=num)))
  streams, starts = draw(10), draw(2300 - length)
  time = starts[:, None] + np.arange(length)
  assert_equal(opened.read(streams, starts, length),
               [x[streams[:, None], time] for x in history])


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
    num=st.integers(1, 9), steps=st.integers(1, 40), block=st.integers(1, 12),
    obs=st.sampled_from([(), (2,), (3, 1, 2), (70_000,)]))
def test_any_layout_comes_back(tmp_path_factory, num, steps, block, obs):
  directory = tmp_path_factory.mktemp('any') / 'store'
  write(directory, lambda first, last: (
      history_of(first, last, steps, obs), np.ones(last - first, bool)),
        store.Layout(num, steps, block))
  assert_equal(whole(directory), history_of(0, num, steps, obs))
  shutil.rmtree(directory)


@pytest.mark.parametrize('dtype', manifest.DTYPES['obs'])
def test_all_dtypes_of_observations_come_back(tmp_path, dtype):
  obs = np.arange(24).reshape(2, 3, 4).astype(dtype)
  history = history_of(0, 2, 3)._replace(obs=obs)
  write(tmp_path, lambda first, last: (history, np.ones(2, bool)),
        store.Layout(2, 3, 2))
  assert_equal(whole(tmp_path), history)
  assert zarr.open_group(str(tmp_path), mode='r')['obs'].dtype == obs.dtype


def test_the_other_byte_order_comes_back_as_ours(tmp_path):
  history = history_of(0, 2, 3)
  foreign = types.History(*(x.astype(x.dtype.newbyteorder('>'))
                            for x in history))
  write(tmp_path, lambda first, last: (foreign, np.ones(2, bool)),
        store.Layout(2, 3, 2))
  assert_equal(whole(tmp_path), history)


def test_nothing_but_zeros_comes_back(tmp_path):
  zeros = types.History(*map(np.zeros_like, history_of(0, 2, 3)))
  write(tmp_path, lambda first, last: (zeros, np.ones(2, bool)),
        store.Layout(2, 3, 2))
  assert_equal(whole(tmp_path), zeros)


def test_blocks_of_different_lengths_have_the_steps_of_all(tmp_path):
  lengths = {0: 2300, 4: 1207, 8: 1999}
  write(tmp_path, lambda first, last: (
      history_of(first, last, lengths[first]), np.ones(last - first, bool)))
  expected = types.History(*map(np.concatenate, zip(*(
      [x[:, :1207] for x in history_of(first, min(first + 4, 11), steps)]
      for first, steps in lengths.items()))))
  assert store.Store(str(tmp_path)).steps == 1207
  assert_equal(whole(tmp_path), expected)
  group = zarr.open_group(str(tmp_path), mode='r')
  np.testing.assert_array_equal(group['reward'][...], expected.reward)


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(st.data())
def test_of_longer_blocks_the_last_steps_are_read_if_wanted(
    tmp_path_factory, data):
  directory = tmp_path_factory.mktemp('last') / 'store'
  layout = store.Layout(data.draw(st.integers(1, 9)), 40,
                        data.draw(st.integers(1, 4)))
  lengths = data.draw(st.lists(
      st.integers(1, 40), min_size=layout.num_blocks,
      max_size=layout.num_blocks))
  made = [history_of(*layout.streams(index), steps)
          for index, steps in enumerate(lengths)]
  write(directory, lambda first, last: (
      made[first // layout.block], np.ones(last - first, bool)), layout)
  steps = min(lengths)
  for last, cut in ((False, slice(0, steps)), (True, slice(-steps, None))):
    opened = store.Store(str(directory), last=last)
    streams = np.arange(layout.num_streams)
    assert_equal(opened.read(streams, np.zeros_like(streams), steps),
                 [np.concatenate([x[:, cut] for x in block])
                  for block in zip(*made)])
  shutil.rmtree(directory)


def test_diverged_streams_are_named_and_not_read(tmp_path):
  diverged = [0, 5, 6, 10]
  write(tmp_path, lambda first, last: (
      history_of(first, last), ~np.isin(np.arange(first, last), diverged)))
  opened = store.Store(str(tmp_path))
  assert opened.dropped == diverged and opened.num_streams == 7
  finite = [1, 2, 3, 4, 7, 8, 9]
  assert_equal(whole(tmp_path), [x[finite] for x in history_of(0, 11)])


def test_a_store_of_diverged_streams_only_is_refused(tmp_path):
  with pytest.raises(ValueError, match='all 11 streams are dropped'):
    write(tmp_path, lambda first, last: (
        history_of(first, last), np.zeros(last - first, bool)))


# Writing is interrupted.

def test_a_finished_store_is_used_as_it_is(made):
  before = files(made)
  write(made, pytest.fail)
  assert files(made) == before


def test_another_description_or_layout_is_refused_by_name(copy):
  before = files(copy)
  with pytest.raises(ValueError, match=r'description\.seed: 3 -> 4$'):
    write(copy, pytest.fail, description=DESCRIPTION | {'seed': 4})
  with pytest.raises(ValueError, match=r'block: 4 -> 5$'):
    write(copy, pytest.fail, store.Layout(11, 2300, 5))
  assert files(copy) == before


def test_stopped_at_any_instant_it_goes_on(tmp_path, monkeypatch):
  """Stopped as it syncs a file or folder, the n-th, in a store for each n."""
  class Stopped(BaseException):
    pass

  layout, sync = store.Layout(5, 30, 2), os.fsync
  def short(first, last):
    return history_of(first, last, 30), np.ones(last - first, bool)
  write(tmp_path / 'whole', short, layout)
  expected = files(tmp_path / 'whole')
  for number in itertools.count():
    directory, left = tmp_path / str(number), iter(range(number))

    def stop(*args, left=left):
      if next(left, None) is None:
        raise Stopped
      sync(*args)

    with monkeypatch.context() as patch:
      patch.setattr(os, 'fsync', stop)
      try:
        write(directory, short, layout)
        break
      except Stopped:
        pass
    if number < 43:  # Then all is there, if not for good.
      with pytest.raises(ValueError, match=r'manifest\.json'):
        store.Store(str(directory))
    made, done = [], len(list(directory.glob('blocks/*.json')))
    write(directory, lambda first, last, made=made: (
        made.append(first // 2), short(first, last))[1], layout)
    assert made == list(range(done, 3))
    assert {name: data for name, data in files(directory).items()
            if not name.endswith('.new')} == expected
  # Of each block four arrays and a record; each with its folder.
  assert number == 2 * (1 + 3 * 5 + 4 + 1 + 1)


def test_killed_at_random_instants_it_goes_on(made, tmp_path):
  rng = np.random.default_rng(0)
  context = multiprocessing.get_context('spawn')
  for wait in rng.uniform(0, 0.15, 4):
    child = context.Process(target=write, args=(tmp_path / 'store', slow_make))
    child.start()
    while child.is_alive() and not (tmp_path / 'store').exists():
      time.sleep(0.005)
    time.sleep(wait)
    child.kill()
    child.join()
  write(tmp_path / 'store')
  assert_equal(whole(tmp_path / 'store'), history_of(0, 11))
  assert store.Store(str(tmp_path / 'store')).verify() is None


def slow_make(first, last):
  time.sleep(0.05)
  return make(first, last)


def test_a_block_whose_file_is_gone_is_made_again(copy, made):
  path = str(copy / 'manifest.json')
  found = files_lib.read_sealed(path)
  del found['blocks']
  files_lib.write_sealed(path, found)
  (copy / 'reward' / 'c.1.0').unlink()
  write(copy, lambda first, last: make(first, last) if first == 4
        else pytest.fail())
  assert files(copy) == files(made)


def test_a_full_disk_is_named_and_what_is_finished_is_kept(made, tmp_path):
  code = f'''
import resource, sys
sys.path[:0] = {[os.path.dirname(__file__)]!r}
import test_store
def make(first, last):
  if first == 4:
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
  return test_store.make(first, last)
test_store.write({str(tmp_path / 'store')!r}, make)
'''
  child = subprocess.run([sys.executable, '-c', code], text=True,
                         capture_output=True, check=False)
  assert child.returncode == 1
  last = child.stderr.strip().splitlines()[-1]
  assert last.startswith('OSError') and 'File too large' in last
  assert str(tmp_path / 'store' / 'obs' / 'c.1.0.0') in last
  assert not list(tmp_path.rglob('*.new'))
  blocks = []
  write(tmp_path / 'store', lambda first, last: (
      blocks.append(first), make(first, last))[1])
  assert blocks == [4, 8] and files(tmp_path / 'store') == files(made)


def test_two_processes_make_the_store_of_one(made, tmp_path):
  barrier = threading.Barrier(2)
  whose, errors = {0: [], 1: []}, []

  def run(process):
    try:
      write(tmp_path / 'store', lambda first, last: (
          whose[process].append(first // 4), make(first, last))[1],
            process=process, num_processes=2,
            barrier=lambda name: barrier.wait(60))
      assert_equal(whole(tmp_path / 'store'), history_of(0, 11))
    except BaseException as error:
      errors.append(error)
      barrier.abort()

  threads = [threading.Thread(target=run, args=(p,)) for p in (0, 1)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not errors and whose == {0: [0, 2], 1: [1]}
  assert files(tmp_path / 'store') == files(made)


def test_processes_that_do_not_see_each_other_are_told(tmp_path, monkeypatch):
  monkeypatch.setattr(blocks_lib, '_PATIENCE', 0)
  with pytest.raises(ValueError, match='one folder for all processes'):
    write(tmp_path / 'a', process=1, num_processes=2)
  with pytest.raises(ValueError, match='block 1 is not there'):
    write(tmp_path / 'b', process=0, num_processes=2)


# Reading goes wrong.

@pytest.mark.parametrize('name', types.History._fields)
def test_any_flipped_bit_is_found_when_it_is_read(copy, name):
  shard = next((copy / name).glob('c.1.*'))
  data = shard.read_bytes()
  rng = np.random.default_rng(0)
  for position in (0, len(data) - 1, *rng.integers(0, len(data), 20)):
    harmed = bytearray(data)
    harmed[position] ^= 1 << rng.integers(8)
    shard.write_bytes(harmed)
    with pytest.raises(ValueError, match=f'{copy}: {name} cannot be read'):
      whole(copy)
    with pytest.raises(ValueError, match=f'{shard}: its SHA-256'):
      store.Store(str(copy)).verify()


@pytest.mark.parametrize('harm', ['cut', 'empty', 'remove', 'folder'])
def test_a_damaged_file_is_named_when_it_is_opened(copy, harm):
  shard = copy / 'action' / 'c.2.0'
  data = shard.read_bytes()
  shard.unlink()
  if harm in ('cut', 'empty'):
    shard.write_bytes(data[:len(data) // 2 * (harm == 'cut')])
  elif harm == 'folder':
    shard.mkdir()
  with pytest.raises(ValueError, match=str(shard)):
    store.Store(str(copy))


def test_a_file_that_goes_while_it_is_read_is_no_zeros(copy):
  opened = store.Store(str(copy))
  (copy / 'done' / 'c.2.0').unlink()
  with pytest.raises(ValueError, match='done cannot be read'):
    opened.read(np.array([10]), np.array([0]), 10)


@pytest.mark.parametrize('streams, starts, length, message', [
    ([0, 11], [0, 0], 5, 'streams: .* 0 to 10'),
    ([-1], [0], 5, 'streams: .* 0 to 10'),
    ([0], [2296], 5, 'starts: .* 0 to 2295'),
    ([0], [-1], 5, 'starts: .* 0 to 2295'),
    ([0], [0], 0, 'length=0'),
    ([0], [0], 2301, 'length=2301: .* 1 to 2300'),
    ([0], [0], 5.0, r'length=5\.0'),
    ([0, 1], [0], 5, 'starts='),
    ([[0]], [[0]], 5, 'streams='),
    ([0.0], [0], 5, 'streams='),
    ([0], [True], 5, 'starts='),
])
def test_wrong_indices_are_named(made, streams, starts, length, message):
  with pytest.raises(ValueError, match=message):
    store.Store(str(made)).read(np.array(streams), np.array(starts), length)


def test_no_streams_at_all_are_refused(made):
  with pytest.raises(ValueError, match='streams: must be one or more'):
    store.Store(str(made)).read(np.zeros(0, int), np.zeros(0, int), 5)


@pytest.mark.parametrize('change, message', [
    (lambda h: h._replace(obs=h.obs[:, 1:]), r'history\.obs'),
    (lambda h: h._replace(action=h.action * 0.5), r'history\.action'),
    (lambda h: h._replace(reward=h.reward.astype(float)), 'float32'),
    (lambda h: h._replace(done=h.done[..., None]), r'history\.done'),
    (lambda h: types.History(*(x[1:] for x in h)), r'history\.action'),
    (lambda h: types.History(*(x[:, :0] for x in h)), '1 to 2300 steps'),
    (lambda h: types.History(*(np.concatenate([x, x], 1) for x in h)),
     '1 to 2300 steps; it has 4600'),
    (lambda h: h._replace(obs=h.obs.astype(complex)), 'obs must be'),
    (lambda h: h._replace(obs=h.obs[..., :0]), r'obs must have .* \[0\]'),
    (lambda h: h._replace(obs=h.obs.astype(np.int8)),
     r'make\(4, 8\): obs must be int16 \[2\]'),
])
def test_what_is_made_wrong_is_refused(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    write(tmp_path / 'store', lambda first, last: make(first, last)
          if first == 0
          else (change(history_of(first, last)), np.ones(4, bool)))
  assert len(list((tmp_path / 'store').rglob('*.json'))) == 2
  with pytest.raises(ValueError, match='finite'):
    write(tmp_path / 'store', lambda first, last: (
        history_of(first, last), np.ones(4)))


# Reading ahead.

def test_prefetched_batches_are_those_read_in_order(made):
  opened = store.Store(str(made))
  batches = [(np.array([i, 3]), np.array([7 * i, i])) for i in range(9)]
  for ahead in (1, 2, 20):
    found = list(opened.prefetch(iter(batches), 50, ahead))
    assert len(found) == 9
    for (streams, starts), history in zip(batches, found):
      assert_equal(history, opened.read(streams, starts, 50))


def test_batches_are_asked_for_as_they_are_needed(made):
  asked = itertools.count()
  batches = ((np.array([0]), np.array([next(asked)])) for _ in range(9))
  read = store.Store(str(made)).prefetch(batches, 5, ahead=2)
  next(read)
  assert next(asked) == 3
  read.close()


def test_an_error_ahead_is_raised_in_its_turn_and_the_thread_ends(made):
  batches = [(np.array([i]), np.array([0])) for i in (0, 1, 99, 2)]
  read = store.Store(str(made)).prefetch(batches, 5)
  next(read)
  next(read)
  with pytest.raises(ValueError, match='streams'):
    next(read)
  assert not prefetching()


def test_the_thread_ends_with_the_reading(made):
  batches = ((np.array([0]), np.array([0])) for _ in itertools.count())
  read = store.Store(str(made)).prefetch(batches, 5)
  next(read)
  assert prefetching()
  read.close()
  assert not prefetching()
  with pytest.raises(ValueError, match='ahead=0'):
    next(store.Store(str(made)).prefetch(batches, 5, ahead=0))


def prefetching():
  return [thread for thread in threading.enumerate()
          if thread.name.startswith('prefetch')]
