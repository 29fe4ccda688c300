"""The speed-run: what its clock counts, what a crossing is, its records."""

import dataclasses
import json
import math
import pathlib
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax.experiment import report
from adjax.experiment import setup as setup_lib
from adjax.methods import rl2
from adjax.methods import training
from experiments import speedrun
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]
RECORDS = json.loads(
    (ROOT / 'experiments' / 'results' / 'speedrun.json').read_text())


def told(capsys):
  """The events that were told."""
  return [json.loads(text.removeprefix('speedrun: ')) for text in
          capsys.readouterr().out.splitlines()]


def events(share=0.96, validation=0.96, number=2):
  """What a run tells that comes to a share, and to another anew."""
  return [(1.0, {'event': 'begun'}), (3.0, {'event': 'compiled'}),
          (3.5, {'event': 'generated'}),
          (7.0, {'event': 'epoch', 'number': 1, 'share': 0.5}),
          (9.0, {'event': 'epoch', 'number': 2, 'share': share}),
          (12.0, {'event': 'confirmed', 'number': number,
                  'validation': validation, 'held_out': 0.1})]


def test_a_run_ends_with_the_first_epoch_that_is_there(capsys):
  rng = np.random.default_rng(0)
  for _ in range(50):
    optimum = rng.uniform(5, 20, 8).tolist()
    best = sum(optimum) / 8
    # Early and late episodes, which do not count, are far from the rest.
    curves = rng.uniform(0, 40, (6, 60))
    curves[:, 40:50] = best * rng.uniform(0.9, 1.0, (6, 10))
    first = next((n for n, curve in enumerate(curves, 1)
                  if sum(curve[40:50].tolist()) >= 9.5 * best), None)
    runner, stopped = speedrun.Told(), None
    for number, curve in enumerate(curves, 1):
      try:
        runner.epoch({'epoch': number, 'validation': {
            'optimum': optimum, 'return_mean': curve.tolist()}}, 6, 0.0)
      except KeyboardInterrupt:
        stopped = number
        break
    assert stopped == first
    assert len(told(capsys)) == (first or 6)


def test_the_clock_counts_all_up_to_the_crossing_and_nothing_after():
  found = speedrun.outcome(events())
  assert found['seconds'] == 9 and found['epoch'] == 2
  assert found['phases'] == {
      'start': 1, 'compile': 2, 'generate': 0.5, 'train': 5.5}
  assert '9.0 s' in speedrun.shown(found)


@pytest.mark.parametrize('wrong', [
    {'share': 0.949}, {'validation': 0.949}, {'validation': math.nan},
    {'number': 1}])
def test_what_is_not_there_or_not_confirmed_is_never_there(wrong):
  """Held-out tasks decide nothing; they are as bad in what is there."""
  assert speedrun.outcome(events(**wrong))['seconds'] == math.inf


def test_the_clock_is_around_the_whole_process(tmp_path):
  script = tmp_path / 'child.py'
  script.write_text(
      'import json, time\n'
      'time.sleep(.3)\nprint("something of its own")\n'
      f'for _, event in json.loads({json.dumps(json.dumps(events()))}):\n'
      '  print("speedrun: " + json.dumps(event), flush=True)\n'
      'time.sleep(.5)\n')
  found = speedrun.measure([sys.executable, '-S', str(script)])
  assert 0.3 <= found['phases']['start'] < found['seconds'] < 0.8
  with pytest.raises(RuntimeError, match='exit code 3'):
    speedrun.measure([sys.executable, '-S', '-c', 'raise SystemExit(3)'])


def test_a_run_tells_its_stages_and_the_worth_of_its_weights(
    tmp_path, capsys, monkeypatch):
  """With an epoch's own key and runs they are worth what the epoch was."""
  # Nothing is generated or learnt: most of what there is to compile.
  experiment = dataclasses.replace(
      tiny.fast('seeds=1'), data=None, method=rl2.Config(epochs=3))
  setup = setup_lib.make(experiment, 'data:1')
  used, evaluate = [], training.learning_curves

  def with_own_key(trainer, params, evaluation):
    used.append(evaluation)
    return evaluate(trainer, params, evaluation._replace(
        key=setup.evaluation.key, num_runs=setup.evaluation.num_runs))

  monkeypatch.setattr(training, 'learning_curves', with_own_key)
  monkeypatch.setattr(training, 'train', lambda trainer, state, *_: (state, {
      name: jnp.zeros(1) for name in ('loss', 'gradient_norm', 'skipped')}))
  for name, value in ('FIRST', 1), ('LAST', 5), ('SHARE', -1.0):
    monkeypatch.setattr(speedrun, name, value)
  speedrun.run(experiment, str(tmp_path), 'data:1')
  found = told(capsys)
  assert [event['event'] for event in found] == [
      'begun', 'compiled', 'generated', 'epoch', 'confirmed']
  epoch, anew = found[-2:]
  assert epoch['number'] == anew['number'] == 1
  np.testing.assert_allclose(epoch['share'], anew['validation'], rtol=1e-5)
  assert used[-1].num_runs >= 32
  keys = [jax.random.key_data(key).tolist()
          for key in (used[-1].key, *setup.keys)]
  assert len(set(map(tuple, keys))) == len(keys)


def test_a_race_is_of_medians_and_never_is_the_longest(
    tmp_path, capsys, monkeypatch):
  seconds = {'cold': [50, 40, math.inf], 'warm': [20, math.inf, math.inf]}
  left = {name: iter(x) for name, x in seconds.items()}
  folders = []

  def measure(command):
    seed, folder, name = command
    folders.append((seed, name, folder))
    return speedrun.outcome(events()) | {'seconds': next(left[name])}

  monkeypatch.setattr(speedrun, 'measure', measure)
  monkeypatch.setattr(speedrun, 'command', lambda *args: args)
  record = speedrun.race(range(3, 6))
  assert record['cold'] == 50 and record['warm'] == math.inf
  assert len(capsys.readouterr().out.splitlines()) == 3
  # A seed's warm run follows its cold one, with what that has left.
  assert [x[:2] for x in folders] == [
      (seed, name) for seed in (3, 4, 5) for name in ('cold', 'warm')]
  assert [x[2] for x in folders[::2]] == [x[2] for x in folders[1::2]]
  assert len({x[2] for x in folders}) == 3


@pytest.mark.parametrize('optimum', [None, np.array([1.0, 0.0])])
def test_what_has_no_share_or_too_few_episodes_is_refused(
    optimum, monkeypatch):
  monkeypatch.setattr(report, 'optimum', lambda *_: optimum)
  with pytest.raises(ValueError, match=r'^tasks=.*: must be some of which'):
    speedrun.check(tiny.fast('evaluate.episodes=50'))
  with pytest.raises(ValueError, match=r'^evaluate.episodes=49: must be at'):
    speedrun.check(tiny.fast('evaluate.episodes=49'))


def test_records_are_added_to_a_list_alone(tmp_path):
  path = tmp_path / 'records.json'
  assert speedrun.records('') == speedrun.records(str(path)) == []
  path.write_text('[{"cold": 1}]')
  assert speedrun.records(str(path)) == [{'cold': 1}]
  for text in ('{}', '[', ''):
    path.write_text(text)
    with pytest.raises(ValueError, match=r'^--output=.*: must be a JSON list'):
      speedrun.records(str(path))
  for wrong in (tmp_path, tmp_path / 'none' / 'records.json'):
    with pytest.raises(ValueError, match=r'^--output=.*: must be a JSON list'):
      speedrun.records(str(wrong))


def test_the_exit_code_is_1_above_a_bar(tmp_path):
  """And a child is told what its parent was."""
  path = tmp_path / 'records.json'
  code = f"""
from absl.testing import flagsaver
from experiments import speedrun
commands = []
def measure(command):
  commands.append(command)
  return speedrun.outcome({events()!r})
speedrun.measure = measure
def check(experiment):
  from experiments.results import row
  row.commit_of = lambda: 'abc-dirty'
speedrun.check = check
try:
  speedrun.start([
      's', '--seeds=2', '--set=data.histories=3', '--set', 'seed=5',
      '--cold_bar=9', '--warm_bar=9', '--output={path}', '--brought=luck'])
except SystemExit as error:
  print('exit code', error.code)
for bar in 'cold_bar', 'warm_bar':
  with flagsaver.flagsaver(**{{bar: 8.9}}):
    print('exit code', speedrun.main())
print(*commands[-1][1:], sep='\\n')
"""
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True,
                        text=True, capture_output=True)
  lines = done.stdout.splitlines()
  assert [x[-1] for x in lines if x.startswith('exit code')] == ['0', '1', '1']
  command = lines[lines.index('-m'):]
  assert command[:4] == ['-m', 'experiments.speedrun',
                         '--set=data.histories=3', '--set=seed=5']
  assert command[4:6] == ['--set=seed=6', '--set=seeds=1']
  record = json.loads(path.read_text())[2]
  assert record['brought'] == 'luck' and record['cold'] == 9
  assert record['commit'] == 'abc-dirty'
  assert 'data.histories=3' in record['command']
  assert len(record['runs']['warm']) == 2 and record['versions']['jax']


@pytest.mark.long
def test_runs_are_timed_cold_and_warm(tmp_path):
  """All of it: an experiment whose first epoch is good enough."""
  (tmp_path / 'mine.py').write_text(
      'import sys\nfrom tests import tiny\n'
      'sys.modules["__main__"].SHARE = -1.0\n'
      'experiment = tiny.fast("evaluate.episodes=50")\n')
  path, start = tmp_path / 'records.json', time.perf_counter()
  done = subprocess.run(
      [sys.executable, '-m', 'experiments.speedrun', '--seeds=1',
       f'--experiment={tmp_path}/mine.py', f'--output={path}',
       '--cold_bar=999', '--warm_bar=999'],
      cwd=ROOT, text=True, capture_output=True)
  spent = time.perf_counter() - start
  assert done.returncode == 0, done.stderr
  record, = json.loads(path.read_text())
  cold, warm = (record['runs'][name][0] for name in ('cold', 'warm'))
  assert 0 < warm['phases']['compile'] < cold['phases']['compile']
  assert cold['seconds'] + warm['seconds'] < spent
  for found in cold, warm:
    assert found['epoch'] == 1
    np.testing.assert_allclose(sum(found['phases'].values()), found['seconds'])
  # The same programs, the same weights, the same tasks.
  assert cold['confirmed'] == warm['confirmed']


def row(record):
  """A record as docs/speedrun.md has it."""
  figure = lambda x: '-' if x is None else f'{x:.0f} s'
  return (f'| {record["date"]} | `{record["commit"]}` | '
          f'{figure(record["cold"])} | {figure(record["warm"])} | '
          f'{record["device"]} | {record["brought"]} |')


def test_the_log_has_what_was_measured():
  page = (ROOT / 'docs' / 'speedrun.md').read_text()
  rows = [text for text in page.splitlines() if text.startswith('| 2')]
  assert rows == list(map(row, RECORDS))
  for record in RECORDS:
    for name, outcomes in record.get('runs', {}).items():
      np.testing.assert_allclose(record[name], statistics.median(
          math.inf if x['seconds'] is None else x['seconds']
          for x in outcomes))
