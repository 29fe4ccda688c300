"""The page in a browser without a screen: it plays, and asks for nothing."""

import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import pytest

from adjax.experiment import again
from adjax.page import data
from adjax.page import write
from tests import tiny

BROWSER = next(filter(None, map(shutil.which, (
    'chromium-headless-shell', 'chromium', 'chromium-browser',
    'google-chrome'))), None)
FRAMES = 300
SELFTEST = (pathlib.Path(__file__).parent / 'page_selftest.js').read_text()

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(BROWSER is None, reason='no Chromium was found')]

SMALL = [
    'data.histories=2', 'model.layers=2', 'model.width=16', 'model.window=40',
    'model.feed_forward=32', 'method.epochs=1', 'method.updates_per_epoch=4',
    'method.batch_size=4', 'method.length=60', 'seeds=1']
RUNS = {
    'grid': ('quick', 'data.episodes=4', 'evaluate.episodes=5'),
    'key_to_door': ('key_to_door', 'data.episodes=2', 'evaluate.episodes=3'),
    'arms': ('bandit', 'data.episodes=70', 'evaluate.episodes=60'),
    'pool': ('watermaze', 'data.episodes=2', 'evaluate.episodes=3',
             'tasks.height=8', 'tasks.width=12'),
    'traces': ('cartpole', 'data.episodes=4', 'evaluate.episodes=3',
               'tasks.episode_length=50', 'source.rollout=16'),
}


@pytest.fixture(scope='module')
def workdirs(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs')
  for name, (preset, *assignments) in RUNS.items():
    tiny.run(tiny.preset(preset, *SMALL, *assignments), folder / name)
  return folder


def runs_of(workdirs, *names):
  return [data.of_workdir(
      str(workdirs / name), again.command(json.loads(
          (workdirs / name / 'config.json').read_text())['config']),
      len(names)) for name in names]


def page_of(workdirs, *names):
  return write.page(runs_of(workdirs, *names))


def opened(page, width, dark):
  """What the page found of itself, and what the browser said."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'page.html'
    path.write_text(page.replace(
        '</body>', f'<script>const FRAMES = {FRAMES};\n{SELFTEST}</script>'
        '</body>'))
    ended = subprocess.run([
        BROWSER, '--headless', '--no-sandbox', '--disable-gpu',
        f'--user-data-dir={folder}/profile', f'--window-size={width},2000',
        f'--blink-settings=preferredColorScheme={0 if dark else 1}',
        '--virtual-time-budget=60000', '--enable-logging=stderr', '--v=0',
        '--dump-dom', path.as_uri()], capture_output=True, text=True,
                           timeout=300, check=True)
  verdict = re.search(
      r'<pre id="verdict" hidden="">(.*?)</pre>', ended.stdout, re.S)
  assert verdict, ended.stderr[-2000:]
  console = [line for line in ended.stderr.splitlines() if 'CONSOLE' in line
             and 'willReadFrequently' not in line]  # That is the test's doing.
  return json.loads(verdict[1].replace('&lt;', '<').replace(
      '&gt;', '>').replace('&amp;', '&')), console


@pytest.mark.parametrize('width, dark', [(1280, False), (380, True)])
@pytest.mark.parametrize('name', RUNS)
def test_a_page_plays(workdirs, name, width, dark):
  start = time.perf_counter()
  found, console = opened(page_of(workdirs, name), width, dark)
  seconds = time.perf_counter() - start
  assert not [check for check, ok in found.items() if ok is False], found
  assert found['problems'] == [] and console == []
  assert ('the model acts' in found) == (
      name in ('grid', 'key_to_door', 'arms'))
  assert 'it is drawn' in found and found['unshown'] == 0
  # The start of the browser included.
  steps = FRAMES * (1 + ('the model acts' in found))
  assert steps / seconds >= 30, f'{steps} steps drawn in {seconds:.1f} s'


@pytest.mark.parametrize('names', [
    ('grid', 'key_to_door'), ('grid', 'traces'), ('traces', 'grid')])
def test_a_page_of_several_runs_plays(workdirs, names):
  found, console = opened(page_of(workdirs, *names), 1280, True)
  assert not [check for check, ok in found.items() if ok is False], found
  assert found['problems'] == [] and console == [] and found['unshown'] == 0
  assert {'it is drawn', 'the model acts'} <= set(found)


def without_rollouts(run):
  del run['rollouts'], run['scene']


def without_values(run):
  unknown = float('nan')  # As of what a file has as null.
  run['series'][0]['mean'][1] = run['series'][0]['low'][0] = unknown
  run['shares'][0][0] = unknown


def of_ones_own_scene(run):
  del run['model']
  for life in run['rollouts']['lives']:
    life['scene'] = {'kind': 'maze'}


def damaged(run):
  run['model']['weights'] = 'AAAA'
  for life in run['rollouts']['lives']:
    life['data'] = 'AAAA'


@pytest.mark.parametrize('change, unshown, played', [
    (without_rollouts, 1, set()), (damaged, 2, set()),
    (without_values, 0, {'it is drawn', 'the model acts'}),
    (of_ones_own_scene, 0, {'it is drawn'})])
def test_what_cannot_be_shown_leaves_the_rest(
    workdirs, change, unshown, played):
  """The curves, and how the run was made."""
  run, = runs_of(workdirs, 'grid')
  change(run)
  found, console = opened(write.page([run]), 1280, False)
  assert not [check for check, ok in found.items() if ok is False], found
  assert found['problems'] == [] and console == []
  assert found['unshown'] == unshown
  assert {'it is drawn', 'the model acts'} & set(found) == played
