"""Sweeps: which cells, what is refused, how they are ranked, what they touch.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
from unittest import mock

from absl import flags
from absl.testing import flagsaver
import numpy as np
import pytest
import scipy.stats
import tiny

from adjax import types
from adjax.cli import sweep as sweep_cli
from adjax.experiment import contract
from adjax.experiment import run as run_lib
from adjax.experiment import specification
from adjax.experiment import sweep
from adjax.experiment import sweep_table
from adjax.experiment import workdir as workdir_lib

ROOT = pathlib.Path(__file__).parents[1]


def cells(*assignments):
  return sweep.cells(list(assignments), lambda texts: tiny.fast(*(
      f'{name}={text}' for name, text in texts.items())))


def values(*assignments):
  return [list(cell.values.values()) for cell in cells(*assignments)]


def test_a_sweep_is_a_product_the_last_fastest():
  found = cells('method.learning_rate=1e-3,.002', 'seed=0..1,7')
  assert [cell.name for cell in found] == [
      '000_learning_rate=0.001_seed=0', '001_learning_rate=0.001_seed=1',
      '002_learning_rate=0.001_seed=7', '003_learning_rate=0.002_seed=0',
      '004_learning_rate=0.002_seed=1', '005_learning_rate=0.002_seed=7']
  for cell in found:
    assert cell.experiment == tiny.fast(*(
        f'{name}={value}' for name, value in cell.values.items()))


def test_fields_change_together_and_components_are_fields():
  assert values('data.episodes/method.length=4/60, 5/80') == [[4, 60], [5, 80]]
  assert values('source=posterior,rmax') == [['posterior'], ['rmax']]
  found = cells('source=tabular_q,rmax', 'model.width/method.length=8/60')
  assert found[1].name == '001_source=rmax_width=8_length=60'
  found = cells('evaluate.episodes/data.episodes=5/4,6/5')
  assert found[0].name == '000_evaluate.episodes=5_data.episodes=4'


def test_what_is_in_quotes_or_parentheses_is_one_value():
  assert sweep._parse('a=(16,32),"x,y", \'0..2\',\'\'') == [
      {'a': '16,32'}, {'a': 'x,y'}, {'a': '0..2'}, {'a': ''}]
  assert sweep._parse('a/b="1/2"/(3,4),5/6') == [
      {'a': '1/2', 'b': '3,4'}, {'a': '5', 'b': '6'}]
  assert sweep._parse('a=-1..1') == [{'a': '-1'}, {'a': '0'}, {'a': '1'}]
  assert sweep._name(3, {'a.c': (16, 32), 'b.c': '~/x y.py', 'd': ''}) == (
      '003_a.c=16-32_b.c=-x-y.py_d=empty')
  assert len(sweep._name(3, {'a': 'b' * 300})) == 100


@pytest.mark.parametrize('assignments, message', [
    (['seed'], "sweep='seed': must be FIELD=V,V,… or"),
    (['seed='], "sweep='seed=': must be FIELD=V,V,… or"),
    (['seed=1,,2'], "sweep='seed=1,,2': must be FIELD=V"),
    (['seed/seeds=1/2,3'], "sweep='seed/seeds=1/2,3': must be FIELD=V"),
    (['seed/=1/2'], "sweep='seed/=1/2': must be FIELD=V"),
    (['seed=4..1'], "sweep='seed=4..1': must be with a..b from low to high"),
    (['seed=0..99999'], "sweep='seed=0..99999': must be with a..b from low"),
    (['seed=0..99', 'seeds=1..99'], 'must be of 1 to 1000 cells; these are'),
    (['seed=1', 'seed=2'], "sweep='seed=1 seed=2': must be of different fi"),
    (['method.learning_rate=1e-3,0.001'],
     "sweep='001_learning_rate=0.001': must be another experiment than 000_le"),
    (['seed=1,x'], 'seed=x: must be an integer'),
    (['sede=1'], 'sede: no such field; allowed here: '),
])
def test_what_is_no_sweep_is_refused(assignments, message):
  with pytest.raises(ValueError) as caught:
    cells(*assignments)
  assert message in str(caught.value) and '\n' not in str(caught.value)


def test_a_folder_is_one_sweeps(tmp_path):
  folder = str(tmp_path / 'sweep')
  found = cells('seed=0,1')
  assert sweep.epochs(folder, found) == [3, 3]
  assert not os.path.exists(folder)
  assert sweep.claim(folder, found) == [3, 3]
  before = (tmp_path / 'sweep' / 'sweep.json').read_bytes()
  assert sweep.claim(folder, found) == [3, 3]
  saved = json.loads(before)
  assert saved['format'] == 1 and saved['common']['method.batch_size'] == 4
  assert saved['cells'] == {
      '000_seed=0': {'seed': 0}, '001_seed=1': {'seed': 1}}
  for other in (cells('seed=0,2'), cells('seed=0..2'),
                cells('seed=0,1', 'seeds=3')):
    with pytest.raises(ValueError, match=r'^workdir=.* holds another sweep; '):
      sweep.claim(folder, other)
  assert (tmp_path / 'sweep' / 'sweep.json').read_bytes() == before
  (tmp_path / 'sweep' / 'sweep.json').write_text('{"format": 1')
  with pytest.raises(ValueError, match='it was damaged or changed'):
    sweep.claim(folder, found)
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'metrics.jsonl').write_text('')
  with pytest.raises(ValueError, match=r'holds metrics\.jsonl of a run; '):
    sweep.claim(str(tmp_path / 'run'), found)


def test_a_folder_is_a_runs_or_a_sweeps(tmp_path):
  found = cells('seed=0,1')
  claim = lambda name: workdir_lib.claim(
      str(tmp_path / name), found[0].experiment)
  sweep.claim(str(tmp_path / 'sweep'), found)
  with (pytest.raises(ValueError, match=r'^workdir=.*/sweep holds sweep\.json '
                      'of a sweep; choose another folder for a run$'),
        claim('sweep')):
    pass
  assert sorted(os.listdir(tmp_path / 'sweep')) == ['lock', 'sweep.json']
  with claim('sweep/000_seed=0'), claim('run'):  # Which holds its lock, too.
    with pytest.raises(ValueError, match=r'^workdir=.*/run holds config\.json '
                       'of a run; choose another folder for a sweep$'):
      sweep.claim(str(tmp_path / 'run'), found)
    assert sorted(os.listdir(tmp_path / 'run')) == ['config.json', 'lock']


def test_sizes_that_do_not_fit_are_told_before_anything_is_written(tmp_path):
  with pytest.raises(ValueError, match=r'^sweep: 001_length=999: .*length=999'):
    sweep.claim(str(tmp_path / 'x'), cells('method.length=60,999'))
  assert not (tmp_path / 'x').exists()


def write_lines(folder, cell, last, optimum=(2.0, 4.0), epochs=3):
  workdir = pathlib.Path(folder) / cell.name
  workdir.mkdir()
  (workdir / 'metrics.jsonl').write_text(''.join(json.dumps({
      'format': 1, 'epoch': epoch, 'seconds': 2.0, 'validation': {
          'optimum': optimum and list(optimum), 'last_10_per_task': last,
          'return_mean': [.3, *[.6] * 8, 1.5]}}) + '\n'
      for epoch in range(1, epochs + 1)) + '{"half')


def test_cells_are_ranked_over_their_seeds_by_validation(tmp_path):
  found = cells('data.histories=1,2,3', 'seed=0,1')
  # The luckiest single cell is not of the best configuration.
  for cell, last in zip(found, ([1, 1], [2, 4], [1.6, 3.2], [1.6, 3.2])):
    write_lines(tmp_path, cell, last)
  write_lines(tmp_path, found[4], [2, 4])
  write_lines(tmp_path, found[5], [2, 4], epochs=2)
  rows = sweep_table.rows(str(tmp_path), found, [3] * 6)
  assert [(row['name'][:3], row['rank']) for row in rows] == [
      ('002', 1), ('003', 1), ('000', 2), ('001', 2), ('004', None),
      ('005', None)]
  assert sweep_table.best(rows) == [found[2].name, found[3].name]
  assert rows[-1]['state'] == 'epoch 2 of 3'
  first = rows[2]
  assert first['unit'] == 'share of the optimum' and first['seconds'] == 6
  np.testing.assert_allclose(
      [first[name] for name in (
          'episode_1', 'episode_10', 'last_10', 'worst_task')],
      [.1, .5, 1 / 3, .25])
  failed = sweep_table.rows(str(tmp_path), found, [3] * 6, [found[3].name])
  assert sweep_table.best(failed) == [found[0].name, found[1].name]
  sweep_table.write(str(tmp_path), rows)
  told = json.loads((tmp_path / 'table.json').read_text())
  assert told['best'] == sweep_table.best(rows) and len(told['cells']) == 6
  for name in ('table.txt', 'table.md'):
    assert '0.333' in (tmp_path / name).read_text()


def test_a_damaged_cell_is_no_other_cells_matter(tmp_path):
  found = cells('seeds=1,2,3')
  for cell in found:
    write_lines(tmp_path, cell, [1, 2])
  (tmp_path / found[0].name / 'metrics.jsonl').write_text('x\n')
  (tmp_path / found[1].name / 'metrics.jsonl').write_text('{"epoch": 3}\n')
  rows = sweep_table.rows(str(tmp_path), found, [3] * 3)
  assert [row['state'] for row in rows] == ['done', 'failed', 'failed']
  assert [row['rank'] for row in rows] == [1, None, None]
  assert sweep_table.markdown(rows).count('| failed |') == 2


def test_where_one_knows_no_optimum_all_are_ranked_by_returns(tmp_path):
  found = cells('seeds=1,2')
  write_lines(tmp_path, found[0], [1, 1])
  write_lines(tmp_path, found[1], [1, 2], optimum=None)
  rows = sweep_table.rows(str(tmp_path), found, [3, 3])
  assert [row['last_10'] for row in rows] == [1.5, 1]
  assert {row['unit'] for row in rows} == {'return'}


def test_the_interval_is_over_tasks(tmp_path):
  found = cells('seed=1,2')
  returns = [1., 2., 4., 3.5, 3.]
  write_lines(tmp_path, found[0], returns, optimum=None)
  write_lines(tmp_path, found[1], [1.], optimum=None)
  rows = sweep_table.rows(str(tmp_path), found, [3, 3])
  expected = scipy.stats.ttest_1samp(returns, 0).confidence_interval(.95)
  np.testing.assert_allclose(rows[0]['ci95'], expected)
  assert rows[1]['ci95'] is None


class HeldOutTouched(AssertionError):
  pass


class Guarded(types.TaskDistribution):
  """Whose held-out and shifted tasks nobody may as much as look at."""

  def __getattribute__(self, name):
    if name in ('held_out', 'shifted'):
      raise HeldOutTouched(name)
    return super().__getattribute__(name)


@dataclasses.dataclass(frozen=True)
class Tasks:
  config: specification.Tasks

  def make(self):
    made = self.config.make()
    fields = {field.name: getattr(made, field.name)
              for field in dataclasses.fields(made)}
    return Guarded(**fields)


def run(experiment, workdir, held_out):
  with tiny.shared_programs(experiment):
    return run_lib.run(experiment, str(workdir), tiny.Recorder(),
                       mesh='data:1', held_out=held_out)


def test_a_run_without_held_out_tasks_touches_none(tmp_path, monkeypatch):
  # That the sets are disjoint is looked at before anything is computed.
  monkeypatch.setattr(contract, 'check', lambda tasks: None)
  experiment = tiny.fast('seeds=1', 'source=annealed_oracle')
  experiment = dataclasses.replace(experiment, tasks=Tasks(experiment.tasks))
  workdir = tmp_path / 'run'
  line = run(experiment, workdir, False)
  assert {path.name for path in workdir.iterdir()} == {
      'config.json', 'metrics.jsonl', 'checkpoints', 'lock'}
  assert line == json.loads(
      (workdir / 'metrics.jsonl').read_text().splitlines()[-1])
  # Nothing is compiled or trained to find that all is there.
  with mock.patch.object(run_lib, 'init_states', side_effect=AssertionError):
    assert run(experiment, workdir, False) == line
  with pytest.raises(HeldOutTouched):
    run(experiment, workdir, True)


@pytest.mark.long
def test_a_run_without_held_out_tasks_is_finished_later(tmp_path):
  experiment, workdir = tiny.fast('seeds=1'), tmp_path / 'run'
  line = run(experiment, workdir, False)
  run(experiment, workdir, True)
  tiny.run(experiment, tmp_path / 'whole')
  assert tiny.timeless(workdir) == tiny.timeless(tmp_path / 'whole')
  assert run(experiment, workdir, False) == line


class Shown:
  """What was said."""

  def __init__(self):
    self.said = []

  def say(self, text):
    self.said.append(text)


@pytest.fixture
def command(tmp_path):
  """Sweeps with flags in tmp_path: (exit code or error, cells run, said)."""
  def call(*sweep_of, fail=None, **options):
    asked = sweep_cli.Asked(list(sweep_of), **options)
    ran, shown = [], Shown()

    def run_cell(experiment, workdir, stop, held_out):
      del stop
      name = os.path.basename(workdir)
      ran.append((name[:3], held_out))
      if name[:3] in (fail or {}):
        raise fail[name[:3]]
      if not os.path.exists(workdir):
        write_lines(tmp_path / 'sweep', Named(name),
                    [2 - 10 * experiment.method.weight_decay] * 2)

    try:
      code = sweep_cli.main(
          run_cell, asked, str(tmp_path / 'sweep'), None, '', shown)
    except Exception as error:
      code = error
    return code, ran, shown.said

  with flagsaver.flagsaver():
    flags.FLAGS(['adjax', *(f'--set={text}' for text in tiny.QUICK)])
    yield call


@dataclasses.dataclass
class Named:
  name: str


def test_only_the_winner_meets_held_out_tasks_and_with_best_alone(
    command, tmp_path):
  sweep_of = 'method.weight_decay=.1,.2'
  code, ran, said = command(sweep_of, 'seed=0..1')
  assert code == 0
  assert ran == [(f'00{i}', False) for i in range(4)]
  assert 'Validation tasks, share of the optimum' in said[-2]
  code, ran, _ = command(sweep_of, 'seed=0..1', best=True)
  assert code == 0
  assert ran == [*((f'00{i}', False) for i in range(4)),
                 ('000', True), ('001', True)]
  told = json.loads((tmp_path / 'sweep' / 'table.json').read_text())
  assert told['best'] == [
      '000_weight_decay=0.1_seed=0',
      '001_weight_decay=0.1_seed=1']


def test_a_failed_cell_stops_no_other_and_is_named_at_the_end(command):
  sweep_of = 'method.weight_decay=.1,.2'
  error, ran, said = command(sweep_of, 'seed=0..1', best=True, fail={
      '001': FloatingPointError('diverged\nlong ago')})
  # The best configuration is one whose seeds are all there.
  assert ran == [*((f'00{i}', False) for i in range(4)),
                 ('002', True), ('003', True)]
  name = '001_weight_decay=0.1_seed=1'
  assert isinstance(error, RuntimeError)
  assert str(error).startswith(f'1 of 4 cells failed: {name}: ')
  assert str(error).endswith('FloatingPointError: diverged')
  assert any(text.startswith(f'cell {name} failed: ') for text in said)
  assert said[-2].count('  failed') == 1
  # It is tried again, and all others are there.
  assert command(sweep_of, 'seed=0..1')[0] == 0


def test_without_a_best_cell_nobody_meets_held_out_tasks(command):
  _, ran, said = command('seed=0..1', best=True, fail={
      '001': OSError('disk')})
  assert ran == [('000', False), ('001', False)]
  assert any(text.startswith('best: none; ') for text in said)


def test_one_cell_of_an_array(command, monkeypatch):
  assert command('seed=0..2', cell=2)[1] == [('002', False)]
  monkeypatch.setenv('SLURM_ARRAY_TASK_ID', '1')
  assert command('seed=0..2')[1] == [('001', False)]
  error, ran, _ = command('seed=0..2', best=True)
  assert not ran and str(error).startswith(
      "SLURM_ARRAY_TASK_ID='1': must be left out with --best")
  error, ran, _ = command('seed=0..2', cell=3)
  assert not ran and str(error) == (
      "--cell='3': must be from 0 to 2, a cell of the sweep")


@pytest.mark.parametrize('given, message', [
    ('model.widht=1', '--sweep=model.widht: no such field; allowed'),
    ('seeds=2,3', '--sweep=seeds: given twice, or a child of it is'),
    ('experiment=dark', '--sweep=experiment=dark: must be one of'),
    ('seed=-1..1', '--sweep=seed=-1: must be from 0 to 2**32 - 1'),
])
def test_a_value_that_is_not_allowed_is_told_of_the_sweep(
    command, tmp_path, given, message):
  error, ran, _ = command(given)
  assert str(error).startswith(message) and not ran
  assert not (tmp_path / 'sweep').exists()


def test_a_dry_run_computes_and_writes_nothing(command, tmp_path, monkeypatch):
  monkeypatch.setattr(sys, 'argv', [
      'adjax run', '--sweep=experiment=quick,dark_room_q', '--dry_run'])
  code, ran, said = command('experiment=quick,dark_room_q', dry_run=True)
  assert code == 0 and not ran and not (tmp_path / 'sweep').exists()
  lines = said[0].splitlines()
  assert lines[:2] == ['000_experiment=quick  epoch 0 of 3',
                       '001_experiment=dark_room_q  epoch 0 of 3']
  assert lines[2].startswith('memory: at least ')
  assert lines[3].startswith('minutes: unknown')
  assert lines[4] == (
      'sbatch --array=0-1%2 experiments/launch/slurm_array.sh '
      '--sweep=experiment=quick,dark_room_q')


STOPPED = """
import sys
from absl import flags
from absl.testing import flagsaver
from adjax.cli import sweep
import time, types
flags.FLAGS(['adjax'])
def run_cell(experiment, workdir, stop, held_out):
  print(workdir, flush=True)
  while workdir.endswith('seed=1'):
    time.sleep(.01)
    stop.check()
sweep.main(run_cell, sweep.Asked(['seed=0..2']), sys.argv[1], None, '',
           types.SimpleNamespace(say=lambda text: None))
"""


def test_a_signal_ends_the_sweep(tmp_path):
  process = subprocess.Popen(
      [sys.executable, '-c', STOPPED, str(tmp_path)], cwd=ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  assert process.stdout.readline().endswith('seed=0\n')
  assert process.stdout.readline().endswith('seed=1\n')
  process.send_signal(signal.SIGTERM)
  out, error = process.communicate(timeout=60)
  assert process.returncode == 143 and not out
  assert 'the same command goes on' in error
  assert not (tmp_path / 'table.json').exists()
