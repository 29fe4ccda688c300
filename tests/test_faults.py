"""The fault harness: a promise that is broken does not go unseen."""

import dataclasses
import json
import random
import signal

import pytest

from experiments.faults import __main__ as program
from experiments.faults import disk
from experiments.faults import harness as harness_lib
from experiments.faults import nonfinite
from experiments.faults import process as process_lib
from experiments.faults import stops
from experiments.faults import table

GOOD = table.Trial('it', survived=True, lost=1, same=True, detected=True,
                   seconds=2.0, kept={'exits 1': True})


def test_a_promise_that_was_kept_is_not_broken():
  assert not GOOD.broken() and not table.Trial('it').broken()


@pytest.mark.parametrize('change, said', [
    ({'survived': False}, 'survived'), ({'same': False}, 'same'),
    ({'detected': False}, 'detected'), ({'lost': 2}, 'loses at most 1'),
    ({'may_lose': 0}, 'loses at most 0'),
    ({'kept': {'exits 1': False}}, 'exits 1')])
def test_one_bad_trial_breaks_its_row(change, said):
  bad = dataclasses.replace(GOOD, **change)
  row, = table.rows('kill', [GOOD, bad, GOOD])
  assert row['broken'] == [said] and f'BROKEN: {said}' in table.line(row)
  assert 'BROKEN' in table.summary([row])


def test_rows_are_shares_and_medians_of_what_there_is_to_tell():
  row, = table.rows('kill', [
      GOOD, dataclasses.replace(GOOD, lost=0, seconds=None, detected=None)])
  assert row == {
      'fault': 'kill', 'case': 'it', 'who': 'adjax', 'injections': 2,
      'survived': 1, 'lost_median': 0.5, 'lost_max': 1, 'same': 1,
      'detected': 1, 'seconds': 2.0, 'broken': []}
  assert '0.5 / 1' in table.line(row)
  assert 'every promise was kept in 1 rows' in table.summary([row])


def test_peers_have_promised_nothing():
  bad = dataclasses.replace(GOOD, survived=False, who='naive')
  ours, theirs = table.rows('kill', [GOOD, bad])
  assert not ours['broken'] and not theirs['broken']
  assert theirs['survived'] == 0
  assert 'was kept in 1 rows' in table.summary([ours, theirs])


def test_on_devices_that_round_at_random_sameness_is_told_but_not_promised():
  row, = table.rows('kill', [dataclasses.replace(GOOD, same=False)], False)
  assert row['same'] == 0 and not row['broken']


def test_every_fault_has_a_promise_and_fewer_trials_when_quick(harness):
  for name, fault in program.FAULTS.items():
    assert fault.promise
    for make in (fault.ours, fault.peers):
      if make:
        quick, full = (list(make(harness, quick)) for quick in (True, False))
        assert len(quick) <= len(full) and full, name


@pytest.mark.parametrize('number, least', [(0, 300), (60, 60), (1, 6)])
def test_kills_are_as_many_as_asked_for_and_in_every_stage(
    harness, number, least):
  ends = [end for chain in stops.kills(harness, False, number)
          for end in chain.args[1]]
  counts = [sum(end.stage == stage for end in ends) for stage in stops.STAGES]
  assert least <= len(ends) < least + 30 and min(counts) == max(counts)


def test_what_goes_wrong_with_the_harness_is_a_broken_promise():
  def hangs():
    raise RuntimeError('did not end')

  def impossible():
    raise table.NotPossible('no disk')

  (trial,), reason = program.attempt('disk', hangs)
  assert trial.broken() == ['RuntimeError: did not end'] and not reason
  assert program.attempt('disk', impossible) == ([], 'no disk')


def test_peers_need_not_wait_and_ours_wait_for_the_undisturbed_run(harness):
  said = []
  harness.exact = True
  harness.prepare = lambda: said.append('prepared')
  fault = program.Fault(
      '', lambda *_: iter([lambda: said.append('ours') or [GOOD]]),
      lambda *_: iter([lambda: [dataclasses.replace(GOOD, who='naive')]]))
  found = list(program.inject(harness, {'kill': fault}, True))
  assert said == ['prepared', 'ours']
  assert [row['who'] for row in found] == ['adjax', 'naive']


# Processes.


@pytest.fixture
def harness(tmp_path):
  found = harness_lib.Harness(tmp_path, tmp_path / 'cache')
  yield found
  found.close()


def process(code):
  return process_lib.Process(['-c', code])


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
      'import sys; print("resumed after epoch 7 of 9"); '
      'print(\'@state {"epoch": 7, "digests": [{"params": 5}]}\'); '
      'print("@begin save", end=""); sys.exit("error: no")')
  assert child.end() == 1
  assert child.resumed == child.computed == 7
  assert child.states == {7: [{'params': 5}]}
  assert 'error: no' in child.said and child.at_work() is None


def test_a_process_that_hangs_is_ended():
  child = process('import time; time.sleep(60)')
  with pytest.raises(RuntimeError, match='did not end'):
    child.end(limit=0.1)
  child.stop()


class Scripted(harness_lib.Harness):
  """A harness whose runs are small programs that say what a run would."""

  script, is_same = '', True
  lengths = dict.fromkeys(stops.STAGES, 0.0)

  def start(self, workdir, *args, **kwargs):
    child = process(self.script.replace('FOLDER', repr(str(workdir))))
    self._processes.append(child)
    return child

  def same(self, process, workdir):
    return self.is_same


# Saves epoch after epoch to one file, as ours would announce it.
LOOP = '''
import os, time
path = FOLDER + '/state'
step = int(open(path).read()) if os.path.exists(path) else 0
if step:
  print('resumed after epoch', step)
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
    tmp_path, save, broken):
  harness = Scripted(tmp_path, '')
  harness.script = LOOP.replace('SAVE', save)
  trials = stops.chain(harness, [stops.kill('save')] * 3)
  assert len(trials) == 3 and all(trial.survived for trial in trials)
  said = [name for trial in trials for name in trial.broken()]
  assert bool(said) == broken, said


def test_a_run_that_cannot_be_resumed_is_seen(tmp_path):
  harness = Scripted(tmp_path, '')
  harness.script = LOOP.replace('if step:', 'assert not step').replace(
      "  print('resumed", "print('resumed").replace('SAVE', SAVES)
  harness.is_same = False
  harness.generator = random.Random(2)
  trials = stops.chain(harness, [stops.kill('train')] * 4)
  assert not trials[-1].survived
  assert 'AssertionError' in str(trials[-1].broken())
  assert not any(trial.same for trial in trials)


def test_a_signal_must_lead_to_its_exit_code(tmp_path):
  harness = Scripted(tmp_path, '')
  harness.script = LOOP.replace('SAVE', SAVES)  # Knows nothing of signals.
  trial, = stops.chain(harness, [stops.ask(signal.SIGINT, 2, 'save')])
  assert trial.case == 'SIGINT twice' and trial.kept['within 30 s']
  harness.script = 'import signal; signal.signal(2, signal.SIG_IGN)\n' + (
      harness.script)
  trial, = stops.chain(harness, [stops.ask(signal.SIGINT, 2, 'save')])
  assert 'exits 130, not 0' in trial.broken()


# The faults themselves.


@pytest.mark.parametrize('kind', disk.KINDS)
def test_every_damage_changes_one_file(tmp_path, kind):
  for seed in range(5):
    folder = tmp_path / str(seed)
    folder.mkdir()
    for name in 'abc':
      (folder / name).write_bytes(bytes(range(100)))
    (folder / 'empty').touch()
    before = harness_lib.contents(folder)
    disk.damage(folder, kind, random.Random(seed))
    after = harness_lib.contents(folder)
    assert len([n for n in before if after.get(n) != before[n]]) == 1


def test_a_small_disk_becomes_full():
  try:
    with disk.small_disk(2**20) as folder:
      ballast = disk.fill(folder, 8192)
      with pytest.raises(OSError, match='No space'):
        (folder / 'x').write_bytes(bytes(2**15))
      ballast.unlink()
      (folder / 'y').write_bytes(bytes(2**15))
      assert disk.size(folder) >= 2**15
  except table.NotPossible:
    pytest.skip('no disk can be mounted here')
  assert not (folder / 'y').exists()


def test_clocks_are_no_difference_but_figures_are(tmp_path):
  def write(seconds, loss):
    (tmp_path / 'metrics.jsonl').write_text(
        json.dumps({'epoch': 1, 'loss': loss, 'seconds': seconds}) + '\n')
    (tmp_path / 'result.json').write_text(json.dumps({'seconds': seconds}))
    return harness_lib.timeless(tmp_path)
  assert write(1.0, 0.5) == write(2.0, 0.5) != write(1.0, 0.6)


def test_skipped_updates_are_counted_over_seeds(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text(
      '{"skipped": [1, 2]}\n{"skipped": [0, 0]}\n')
  assert nonfinite.skipped(tmp_path) == [3, 0]
