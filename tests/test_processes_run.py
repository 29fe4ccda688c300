"""A run goes on as it was, whatever devices and processes it goes on with.

What it is held to is the same run on one device that nothing stopped.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest

from experiments import pipeline
from tests import test_run

ROOT = pathlib.Path(__file__).parents[1]
# All resumed runs have at least 50 updates before them.
LONGER = ['distill.epochs=4', 'distill.updates_per_epoch=50']

# On so many devices of a CPU, to the end of an epoch.
DRIVER = '''
import sys
import jax
jax.config.update('jax_num_cpu_devices', int(sys.argv[1]))
from tests import test_processes_run as test
assert jax.device_count() == int(sys.argv[1])
workdir, store, end = sys.argv[2:]
print(*test.run(workdir, store, stop_after=int(end)), sep='\\n')
'''


def run(workdir, store, stop_after):
  """Runs, or goes on, to the end of an epoch: what it said."""
  quiet = test_run.Quiet(stop_after)
  with pytest.raises(KeyboardInterrupt):
    pipeline.run(test_run.tiny(*LONGER, f'data.store={store}'), str(workdir),
                 quiet)
  return quiet.said


def run_on(devices, workdir, store, stop_after):
  """As run, in a process with so many devices."""
  return subprocess.run(
      [sys.executable, '-c', DRIVER, str(devices), str(workdir), str(store),
       str(stop_after)], cwd=ROOT, env=environment(), check=True,
      capture_output=True, text=True, timeout=600).stdout.splitlines()


def environment():
  """Of processes whose devices their own settings number."""
  others = ('XLA_FLAGS', 'JAX_NUM_CPU_DEVICES')
  return {name: value for name, value in os.environ.items()
          if name not in others} | {
              'JAX_PLATFORMS': 'cpu',
              'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}


def lines(workdir):
  return [json.loads(line) for line in
          (workdir / 'metrics.jsonl').read_text().splitlines()]


def check_same(found, expected):
  """That lines are of the same epochs, and their figures alike to 1e-5."""
  assert [line['epoch'] for line in found] == [
      line['epoch'] for line in expected]
  for ours, theirs in zip(found, expected):
    for name in 'loss', 'loss_per_seed':
      assert ours[name] == pytest.approx(theirs[name], abs=1e-5)
    for name in 'validation', 'train':
      assert ours[name]['return_mean'] == pytest.approx(
          theirs[name]['return_mean'], abs=1e-5)


def files(folder):
  """{path: bytes} of all files of a folder."""
  return {path.relative_to(folder): path.read_bytes()
          for path in folder.rglob('*') if path.is_file()}


@pytest.fixture(scope='module', autouse=True)
def compiled_fast():
  """Half the time of compiling, which is nearly all that is done here."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """A workdir, its store beside it."""
  folder = tmp_path_factory.mktemp('undisturbed')
  run(folder / 'run', folder / 'store', stop_after=4)
  return folder


def test_a_run_goes_on_with_other_devices(undisturbed, tmp_path):
  """On one, then four, then two."""
  store = undisturbed / 'store'
  run(tmp_path, store, stop_after=1)
  for devices, done, end in (4, 1, 2), (2, 2, 4):
    said = run_on(devices, tmp_path, store, end)
    assert f'taken up after epoch {done} of 4' in said
  check_same(lines(tmp_path), lines(undisturbed / 'run'))


def start_pair(folder, store):
  """Two processes of one run of the command line; what they say is kept."""
  replaced = {text.partition('=')[0] for text in LONGER}
  assignments = [text for text in test_run.TINY
                 if text.partition('=')[0] not in replaced]
  assignments += [*LONGER, f'data.store={store}']
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  return [subprocess.Popen(
      [sys.executable, '-u', '-m', 'experiments.run',
       f'--workdir={folder}/run', '--distributed',
       f'--coordinator_address={address}', '--num_processes=2',
       f'--process_id={process}', *(f'--set={text}' for text in assignments)],
      cwd=ROOT, env=environment(), stderr=subprocess.STDOUT,
      stdout=(folder / f'said_{process}').open('w')) for process in range(2)]


def said_by(folder, process):
  return (folder / f'said_{process}').read_text()


def test_two_processes_are_one_run_and_one_of_them_goes_on(
    undisturbed, tmp_path):
  store, workdir = tmp_path / 'store', tmp_path / 'run'
  pair = start_pair(tmp_path, store)
  try:
    latest = time.monotonic() + 240
    while 'epoch 2/4' not in said_by(tmp_path, 0):
      assert time.monotonic() < latest and pair[0].poll() is None, [
          said_by(tmp_path, process) for process in range(2)]
      time.sleep(0.1)
    pair[1].send_signal(signal.SIGTERM)
    codes = [process.wait(timeout=60) for process in pair]
  finally:
    for process in pair:
      process.kill()
  assert codes == [143, 143]
  assert not (workdir / 'result.json').exists()
  # Each makes every other block, and the one that speaks tells of its own.
  blocks = re.findall(r'block (\d) of 8 is made', said_by(tmp_path, 0))
  assert blocks == ['1', '3', '5', '7']
  assert files(store) == files(undisturbed / 'store')
  expected = lines(undisturbed / 'run')
  done = lines(workdir)
  assert len(done) >= 2
  check_same(done, expected[:len(done)])
  said = run(workdir, store, stop_after=4)
  assert f'taken up after epoch {len(done)} of 4' in said
  assert not any('block' in text for text in said)
  check_same(lines(workdir), expected)
