"""A run is resumed as it was, whatever devices and processes it goes on with.

What it is held to is the same run on one device that nothing stopped.
"""

import functools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from adjax import presets
from adjax.experiment import specification
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]
EPOCHS = 4
# All resumed runs have at least 50 updates before them.
LONGER = [f'method.epochs={EPOCHS}', 'method.updates_per_epoch=50']
RL2 = ['method=rl2', 'data=none', f'method.epochs={EPOCHS}',
       'method.updates_per_epoch=4', 'method.trials=8', 'method.minibatches=2',
       'method.episodes=2']


def assignments(kind, folder):
  """Of the quick preset made tiny, trained on what kind tells."""
  if kind == 'online':
    return [*[text for text in tiny.QUICK
              if not text.startswith(('data.', 'method.'))], *RL2]
  more = {'memory': [], 'store': [f'data.store={folder}/store'],
          'regenerated': ['data.regenerate_every=2']}[kind]
  names = {text.partition('=')[0] for text in LONGER}
  return [*[text for text in tiny.QUICK if text.partition('=')[0] not in names],
          *LONGER, *more]


def run(folder, kind, stop_after, mesh='data:1', store=None):
  """Runs, or resumes, to the end of an epoch: what it said."""
  experiment = specification.override(
      presets.get('quick'), assignments(kind, store or folder))
  said, result = tiny.run(experiment, folder / 'run', stop_after, mesh)
  assert result is None
  return said


def lines(folder):
  return [json.loads(line) for line in
          (folder / 'run' / 'metrics.jsonl').read_text().splitlines()]


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


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """A function: kind -> a folder with such a run and its store, if any."""
  @functools.cache
  def of_kind(kind):
    folder = tmp_path_factory.mktemp(kind)
    run(folder, kind, EPOCHS)
    return folder
  return of_kind


@pytest.mark.long
def test_a_run_goes_on_with_other_devices(undisturbed, tmp_path):
  """On one, then four, then two."""
  store = undisturbed('store')
  run(tmp_path, 'store', 1, store=store)
  for mesh, done, end in ('data:4', 1, 2), ('data:2', 2, 4):
    said = run(tmp_path, 'store', end, mesh, store)
    assert f'resumed after epoch {done} of 4' in said
  check_same(lines(tmp_path), lines(store))


def start_pair(folder, kind):
  """Two processes of one run of the command line; what they say is kept."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  environment = {name: value for name, value in os.environ.items()
                 if name != 'JAX_NUM_CPU_DEVICES'} | {'JAX_PLATFORMS': 'cpu'}
  return [subprocess.Popen(
      [sys.executable, '-u', '-m', 'experiments.run',
       f'--workdir={folder}/run', '--distributed',
       f'--coordinator_address={address}', '--num_processes=2',
       f'--process_id={process}',
       *(f'--set={text}' for text in assignments(kind, folder))],
      cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
      stderr=subprocess.STDOUT,
      stdout=(folder / f'said_{process}').open('w')) for process in range(2)]


def said_by(folder, process):
  return (folder / f'said_{process}').read_text()


@pytest.mark.long
@pytest.mark.parametrize('kind', ['store', 'memory', 'regenerated', 'online'])
def test_two_processes_are_one_run_and_one_of_them_goes_on(
    undisturbed, tmp_path, kind):
  pair = start_pair(tmp_path, kind)
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
  assert not (tmp_path / 'run' / 'result.json').exists()
  if kind == 'store':
    # Each makes every other block, and the one that speaks tells of its own.
    blocks = re.findall(r'block (\d) of 8 is made', said_by(tmp_path, 0))
    assert blocks == ['1', '3', '5', '7']
    assert files(tmp_path / 'store') == files(undisturbed(kind) / 'store')
  expected, done = lines(undisturbed(kind)), lines(tmp_path)
  assert len(done) >= 2
  check_same(done, expected[:len(done)])
  said = run(tmp_path, kind, EPOCHS)
  assert f'resumed after epoch {len(done)} of 4' in said
  assert not any('block' in text for text in said)
  check_same(lines(tmp_path), expected)
