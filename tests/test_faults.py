"""The fault harness: a promise that is broken does not go unseen."""

import dataclasses
import json
import os
import random
import signal

import pytest

from experiments import faults
from experiments import faults_disk
from experiments import faults_numbers
from experiments import faults_process
from experiments import faults_refusals
from experiments import faults_runs
from experiments import faults_stops
from experiments import faults_table

Trial = faults_table.Trial
GOOD = Trial('it', survived=True, lost=1, same=True, detected=True, seconds=2.0,
             kept={'exits 1': True})


def test_a_promise_that_was_kept_is_not_broken():
  assert not GOOD.broken
  assert not Trial('it').broken


@pytest.mark.parametrize('change, said', [
    ({'survived': False}, 'survived'), ({'same': False}, 'same'),
    ({'detected': False}, 'detected'), ({'lost': 2}, 'loses at most 1'),
    ({'may_lose': 0}, 'loses at most 0'),
    ({'kept': {'exits 1': False}}, 'exits 1')])
def test_one_bad_trial_breaks_its_row(change, said):
  bad = dataclasses.replace(GOOD, **change)
  row, = faults_table.rows('kill', [GOOD, bad, GOOD])
  assert row.broken == [said] and f'BROKEN: {said}' in str(row)
  assert 'BROKEN' in faults_table.summary([row])


def test_rows_are_shares_and_medians_of_what_there_is_to_tell():
  row, = faults_table.rows('kill', [
      GOOD, dataclasses.replace(GOOD, lost=0, seconds=None, detected=None)])
  assert row == faults_table.Row(
      'kill', 'it', 'adjax', 2, 1, 0.5, 1, 1, 1, 2.0, [])
  assert 'every promise was kept in 1 rows' in faults_table.summary([row])


def test_peers_have_promised_nothing():
  bad = dataclasses.replace(GOOD, survived=False, who='naive')
  ours, theirs = faults_table.rows('kill', [GOOD, bad])
  assert not ours.broken and not theirs.broken and theirs.survived == 0
  assert 'was kept in 1 rows' in faults_table.summary([ours, theirs])


def test_on_devices_that_round_at_random_sameness_is_told_but_not_promised():
  row, = faults_table.rows('kill', [
      dataclasses.replace(GOOD, same=False, exact=False)])
  assert row.same == 0 and not row.broken


def test_every_fault_has_a_promise_and_fewer_trials_when_quick(bench):
  for name, fault in faults.FAULTS.items():
    assert fault.promise
    for make in (fault.ours, fault.peers):
      if make:
        quick, full = (list(make(bench, quick)) for quick in (True, False))
        assert len(quick) <= len(full) and full, name


def test_kills_are_at_least_300_in_all_and_in_every_stage(bench):
  blows = [blow for chain in faults_stops.kills(bench, False)
           for blow in chain.args[1]]
  assert len(blows) >= 300
  counts = [sum(blow.stage == stage for blow in blows)
            for stage in faults_stops.STAGES]
  assert min(counts) == max(counts)


def test_what_goes_wrong_with_the_harness_is_a_broken_promise():
  def hangs():
    raise RuntimeError('did not end')

  def impossible():
    raise faults_table.NotPossible('no disk')

  (trial,), reason = faults.attempt('disk', hangs)
  assert trial.broken == ['RuntimeError: did not end'] and not reason
  assert faults.attempt('disk', impossible) == ([], 'no disk')


# Processes.


@pytest.fixture
def bench(tmp_path):
  found = faults_runs.Bench(str(tmp_path), str(tmp_path / 'cache'))
  yield found
  found.close()


def process(code):
  return faults_process.Process(['-c', code])


def test_a_process_is_heard_while_it_runs():
  child = process('import time; print("@begin save 3", flush=True); '
                  'time.sleep(60)')
  assert child.wait('@begin save') and child.computed == 3
  assert not child.wait('@begin save', 2, seconds=0.1)
  child.send(signal.SIGTERM)
  assert child.end() == 143
  assert not child.wait('@begin save', 2)


def test_what_a_process_says_is_read():
  child = process(
      'import sys; print("taken up after epoch 7 of 9"); '
      'print(\'@state {"epoch": 7, "digests": [{"params": 5}]}\'); '
      'sys.exit("error: no")')
  assert child.end() == 1
  assert child.taken_up == child.computed == 7
  assert child.states == {7: [{'params': 5}]}
  assert 'error: no' in child.said and child.at_work() is None


def test_a_process_that_hangs_is_ended():
  child = process('import time; time.sleep(60)')
  with pytest.raises(RuntimeError, match='did not end'):
    child.end(limit=0.1)
  assert child.over


class Scripted(faults_runs.Bench):
  """A bench whose runs are small programs that say what a run would."""

  script = ''
  lengths = dict.fromkeys(faults_stops.STAGES, 0.0)

  def start(self, workdir, *args, **kwargs):
    child = process(self.script.replace('FOLDER', repr(str(workdir))))
    self._processes.append(child)
    return child


# Saves epoch after epoch to one file, as ours would announce it.
LOOP = '''
import os, time
path = FOLDER + '/state'
step = int(open(path).read()) if os.path.exists(path) else 0
if step:
  print('taken up after epoch', step)
print('@state {"epoch": %d, "digests": []}' % step, flush=True)
for number in range(step + 1, 6):
  print('@begin train', flush=True)
  print('@begin save', number, flush=True)
  time.sleep(0.2)
  SAVE
  print('@state {"epoch": %d, "digests": []}' % number, flush=True)
'''
SAVES = ("open(path + '.new', 'w').write(str(number)); "
         "os.replace(path + '.new', path)")


@pytest.mark.parametrize('save, broken', [(SAVES, False), ('pass', True)])
def test_a_chain_of_kills_counts_the_epochs_that_are_lost(
    tmp_path, monkeypatch, save, broken):
  bench = Scripted(str(tmp_path), '')
  bench.script = LOOP.replace('SAVE', save)
  monkeypatch.setattr(bench, 'same', lambda process, workdir: True)
  trials = faults_stops.chain(bench, [
      faults_stops.Blow('kill', 'save', (signal.SIGKILL,), 137, 1)] * 3)
  assert len(trials) == 3 and all(trial.survived for trial in trials)
  said = [name for trial in trials for name in trial.broken]
  assert bool(said) == broken, said


def test_a_run_that_cannot_be_taken_up_is_seen(tmp_path, monkeypatch):
  bench = Scripted(str(tmp_path), '')
  bench.script = LOOP.replace('if step:', 'assert not step').replace(
      "  print('taken", "print('taken").replace('SAVE', SAVES)
  monkeypatch.setattr(bench, 'same', lambda process, workdir: False)
  blow = faults_stops.Blow('kill', 'train', (signal.SIGKILL,), 137, 1)
  bench.generator = random.Random(2)
  trials = faults_stops.chain(bench, [blow] * 4)
  assert not trials[-1].survived and 'AssertionError' in str(trials[-1].broken)
  assert not any(trial.same for trial in trials)


def test_a_signal_must_lead_to_its_exit_code(tmp_path, monkeypatch):
  bench = Scripted(str(tmp_path), '')
  bench.script = LOOP.replace('SAVE', SAVES)  # Knows nothing of signals.
  monkeypatch.setattr(bench, 'same', lambda process, workdir: True)
  trial, = faults_stops.chain(
      bench, [faults_stops.ask(signal.SIGINT, 2, 'save')])
  assert trial.case == 'SIGINT twice' and trial.kept['within 30 s']
  bench.script = 'import signal; signal.signal(2, signal.SIG_IGN)\n' + (
      bench.script)
  trial, = faults_stops.chain(
      bench, [faults_stops.ask(signal.SIGINT, 2, 'save')])
  assert 'exits 130, not 0' in trial.broken


# The faults themselves.


@pytest.mark.parametrize('kind', faults_disk.HARMS)
def test_every_harm_changes_one_file(tmp_path, kind):
  for name in 'abc':
    (tmp_path / name).write_bytes(bytes(range(100)))
  (tmp_path / 'empty').touch()
  before = faults_runs.contents(tmp_path)
  for seed in range(5):
    folder = tmp_path / 'x'
    folder.mkdir()
    for name in before:
      (folder / name).write_bytes((tmp_path / name).read_bytes())
    faults_disk.harm(folder, kind, random.Random(seed))
    after = faults_runs.contents(folder)
    assert len([n for n in before if after.get(n) != before[n]]) == 1
    for path in folder.iterdir():
      path.unlink()
    folder.rmdir()


def test_a_small_disk_becomes_full():
  try:
    with faults_disk.small_disk(2**20) as disk:
      ballast = faults_disk.fill(disk, 8192)
      with pytest.raises(OSError, match='No space'):
        (disk / 'x').write_bytes(bytes(2**15))
      ballast.unlink()
      (disk / 'y').write_bytes(bytes(2**15))
      assert faults_disk.size(disk) >= 2**15
  except faults_table.NotPossible:
    pytest.skip('no disk can be mounted here')
  assert not os.path.exists(disk / 'y')


def test_what_links_point_to_is_no_content(tmp_path):
  (tmp_path / 'a').write_text('a')
  (tmp_path / 'b').symlink_to('a')
  before = faults_runs.contents(tmp_path)
  assert before['b'] == 'a'
  (tmp_path / 'a').write_text('b')
  assert faults_runs.contents(tmp_path) != before


def test_clocks_are_no_difference_but_figures_are(tmp_path):
  def write(seconds, loss):
    (tmp_path / 'metrics.jsonl').write_text(
        json.dumps({'epoch': 1, 'loss': loss, 'seconds': seconds}) + '\n')
    (tmp_path / 'result.json').write_text(json.dumps({'seconds': seconds}))
    return faults_runs.timeless(tmp_path)
  assert write(1.0, 0.5) == write(2.0, 0.5) != write(1.0, 0.6)


def test_skipped_updates_are_counted_over_seeds(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text(
      '{"skipped": [1, 2]}\n{"skipped": [0, 0]}\n')
  assert faults_numbers.skipped(tmp_path) == [3, 0]


def test_links_of_crafted_workdirs_lead_outside(tmp_path):
  workdir, canary = tmp_path / 'run', tmp_path / 'canary'
  (workdir / 'checkpoints' / '3').mkdir(parents=True)
  canary.mkdir()
  faults_refusals._link('checkpoints', workdir, canary)
  assert (workdir / 'checkpoints').is_symlink()
  assert (canary / 'checkpoints' / '3').is_dir()
