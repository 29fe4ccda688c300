"""Trackers: what they are told is what metrics.jsonl says, once."""

import json
import struct
import sys
import time
import types

import jax
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from adjax.experiment import progress
from adjax.experiment import tracking

RESULT = {
    'random': 1.5, 'seeds': 2, 'optimum_known': False,
    'held_out': {'return_mean': [1.0, *range(2, 13)]},
    'source': {'return_mean': [3.0] * 12}}


def line(epoch):
  """As metrics.jsonl says of an epoch; of epoch 2 not everything is known."""
  return {
      'epoch': epoch, 'loss_per_seed': [1.0, None],
      'loss': None if epoch == 2 else 1.0 / epoch, 'skipped': [0, 3],
      'skipped_total': [0, 3], 'ended_early': [],
      'validation': {'optimum': None, 'return_mean': [0.5, epoch],
                     'last_10_per_task': [1.0, None if epoch == 2 else 2.0,
                                          6.0]},
      'train': {'optimum': [4.0, 5.0], 'return_mean': [1.0, 1.0],
                'last_10_per_task': [None] if epoch == 2 else [1.0]},
      'seconds': 2.5, 'transitions_per_s': 1000.0}


def expected(epoch):
  found = {
      'validation/return_mean': 0.25 + epoch / 2,
      'validation/last_10_per_task': 3.0, 'train/optimum': 4.5,
      'train/return_mean': 1.0, 'train/last_10_per_task': 1.0,
      'seconds': 2.5, 'transitions_per_s': 1000.0}
  if epoch == 2:
    del found['train/last_10_per_task']
    return found | {'validation/last_10_per_task': 3.5}
  return found | {'loss': 1.0 / epoch}


HEADLINE = {
    'result/random': 1.5, 'result/held_out_episode_1': 1.0,
    'result/held_out_last_10': 7.5, 'result/source_episode_1': 3.0,
    'result/source_last_10': 3.0}


class Recorder(progress.Progress):
  """Keeps what it is told."""

  def __init__(self):
    self.said, self.told = [], []

  def say(self, text):
    self.said.append(text)

  def epoch(self, line, epochs, seconds_left):
    self.told.append((line['epoch'], epochs, seconds_left))


def train(workdir, log, done, last, result=None, killed=False):
  """A run's calls from a checkpoint on, until it is stopped or has ended."""
  (workdir / 'config.json').write_text(json.dumps({'config': {'name': 'some'}}))
  metrics = workdir / 'metrics.jsonl'
  metrics.write_text(''.join(
      json.dumps({'format': 1} | line(n)) + '\n' for n in range(1, done + 1)))
  recorder = Recorder()
  tracked = tracking.Tracked(log, workdir, recorder)
  with tracked.epochs(done, 4):
    for n in range(done + 1, last + 1):
      with metrics.open('a') as file:
        file.write(json.dumps(line(n)) + '\n')
      tracked.epoch(line(n), 4, 1.0)
  if result is not None:
    tracked.result(result)
  if not killed:
    tracked.close()
  assert recorder.told == [(n, 4, 1.0) for n in range(done + 1, last + 1)]
  return recorder.said


def events(path):
  """Of a file of records: length, its checksum, the record, its checksum."""
  data, found = path.read_bytes(), []
  while data:
    [size] = struct.unpack('<Q', data[:8])
    found.append(event_pb2.Event.FromString(data[12:12 + size]))
    data = data[16 + size:]
  return found


def shown_by_tensorboard(workdir):
  """[(step, {tag: value})], as it is read: each file may take back the last."""
  shown = []
  for path in sorted((workdir / 'tensorboard').iterdir(),
                     key=lambda path: path.stat().st_mtime_ns):
    first, *rest = events(path)
    assert first.file_version == 'brain.Event:2'
    for event in rest:
      if event.session_log.status == event_pb2.SessionLog.START:
        shown = [each for each in shown if each[0] < event.step]
      else:
        shown.append((event.step, {
            value.tag: value.simple_value for value in event.summary.value}))
  return shown


def check(shown, epochs):
  """That each is there once, and the headline at the last."""
  assert [step for step, _ in shown] == [*epochs, epochs[-1]]
  for (_, found), wanted in zip(shown, [*map(expected, epochs), HEADLINE]):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
      assert found[name] == np.float32(value), name


class Wandb(types.ModuleType):
  """As wandb to its callers: a run has the steps that come after its last."""

  def __init__(self):
    super().__init__('wandb')
    self.runs, self.summary, self.given, self.finished = {}, {}, [], 0
    self.Settings = dict

  def init(self, **given):
    self.given.append(given)
    self._id = given['id']
    rows = self.runs.setdefault(self._id, [])
    self.starting_step = rows[-1][0] + 1 if rows else 0
    return self

  def log(self, figures, step, commit):
    assert commit
    rows = self.runs[self._id]
    assert not rows or rows[-1][0] < step  # Else it complains.
    rows.append((step, dict(figures)))

  def finish(self):
    self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
  fake = Wandb()
  monkeypatch.setitem(sys.modules, 'wandb', fake)
  monkeypatch.delenv('WANDB_MODE', raising=False)
  return fake


def test_event_files_say_what_metrics_jsonl_does(tmp_path):
  assert not train(tmp_path, 'tensorboard', 0, 4, RESULT)
  check(shown_by_tensorboard(tmp_path), [1, 2, 3, 4])


def test_an_epoch_is_on_the_disk_when_it_has_been_told(tmp_path):
  train(tmp_path, 'tensorboard', 0, 2, killed=True)
  assert len(shown_by_tensorboard(tmp_path)) == 2


@pytest.mark.parametrize('done', [0, 1, 2, 3])
def test_a_resumed_run_has_no_epoch_twice(tmp_path, done):
  """Three were told; the checkpoint may be of an earlier one."""
  train(tmp_path, 'tensorboard', 0, 3, killed=done < 3)
  train(tmp_path, 'tensorboard', done, 4, RESULT)
  check(shown_by_tensorboard(tmp_path), [1, 2, 3, 4])


@pytest.mark.parametrize('first', [0, 1])
def test_epochs_that_a_tracker_missed_are_told_when_it_is_back(
    tmp_path, wandb, first):
  """Those of a run that was begun, or resumed, without it."""
  train(tmp_path, 'tensorboard,wandb' if first else '', 0, first, killed=True)
  assert (tmp_path / 'tensorboard').exists() == bool(first)
  train(tmp_path, '', first, 3)
  train(tmp_path, 'tensorboard,wandb', 3, 4, RESULT)
  check(shown_by_tensorboard(tmp_path), [1, 2, 3, 4])
  [rows] = wandb.runs.values()
  assert rows == [(n, expected(n)) for n in (1, 2, 3, 4)]


def test_a_tracker_that_could_not_be_reached_is_told_all_later(
    tmp_path, wandb, monkeypatch):
  with monkeypatch.context() as context:
    context.setattr(wandb, 'init', lambda **given: 1 / 0)
    said = train(tmp_path, 'wandb', 0, 2)
  assert len(said) == 1 and 'ZeroDivisionError' in said[0]
  assert not train(tmp_path, 'wandb', 2, 4, RESULT)
  [rows] = wandb.runs.values()
  assert rows == [(n, expected(n)) for n in (1, 2, 3, 4)]


def test_wandb_has_one_run_of_a_run_that_is_resumed(tmp_path, wandb):
  train(tmp_path, 'wandb', 0, 3)
  train(tmp_path, 'wandb', 2, 4, RESULT)
  [rows] = wandb.runs.values()
  assert rows == [(n, expected(n)) for n in (1, 2, 3, 4)]
  assert wandb.summary == HEADLINE
  assert wandb.finished == 2
  for given in wandb.given:
    assert given['mode'] == 'offline' and given['dir'] == str(tmp_path)
    assert given['config'] == {'name': 'some'}
    assert given['name'] == tmp_path.name
    assert given['settings'] == {'console': 'off'}
    assert given['reinit'] == 'create_new'  # Beside one of the user's own.
  other = tmp_path / 'other'
  other.mkdir()
  train(other, 'wandb', 0, 1)
  assert len(wandb.runs) == 2


def test_wandb_is_online_if_it_is_told_so(tmp_path, wandb, monkeypatch):
  monkeypatch.setenv('WANDB_MODE', 'online')
  train(tmp_path, 'wandb', 0, 1)
  assert wandb.given[0]['mode'] == 'online'


@pytest.mark.parametrize('where', ['init', 'log', 'finish'])
def test_a_tracker_that_fails_ends_nothing_and_is_told_of_once(
    tmp_path, wandb, monkeypatch, where):
  def fail(*args, **kwargs):
    raise OSError('no such\nhost')
  monkeypatch.setattr(wandb, where, fail, raising=False)
  said = train(tmp_path, 'wandb,tensorboard', 0, 4, RESULT)
  assert said == [
      "log=wandb: nothing more is written there: OSError('no such\\nhost')"]
  check(shown_by_tensorboard(tmp_path), [1, 2, 3, 4])


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  train(tmp_path, 'tensorboard', 0, 4, RESULT)
  assert not (tmp_path / 'tensorboard').exists()


def test_what_cannot_be_had_is_refused_at_once(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  for log, message in {
      'tensorbord': 'log=tensorbord: must be of tensorboard, wandb, with '
                    'commas between them',
      'tensorboard,': 'log=tensorboard,: must be of tensorboard, wandb',
      'tensorboard,wandb':
          'log=tensorboard,wandb: must have its package installed, pip install '
          r'wandb \(.*wandb.*\)$'}.items():
    with pytest.raises(ValueError, match=f'^{message}'):
      tracking.Tracked(log, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def records_of_wandb(path):
  """The records of an offline run: a log of blocks of 32 KiB, as LevelDB's."""
  data, at, record = path.read_bytes(), 7, b''
  while at < len(data):
    room = -at % 2**15
    if 0 < room < 7:
      at += room
      continue
    _, size, kind = struct.unpack_from('<IHB', data, at)
    record += data[at + 7:at + 7 + size]
    at += 7 + size
    if kind in (1, 4):  # Whole, or the last of its parts.
      yield record
      record = b''


@pytest.mark.long
def test_wandb_itself_has_an_offline_run(tmp_path, monkeypatch):
  pytest.importorskip('wandb')
  from wandb.proto import wandb_internal_pb2
  monkeypatch.delenv('WANDB_MODE', raising=False)
  said = train(tmp_path, 'wandb', 0, 2)
  time.sleep(1.1)  # Its folders are named by the second.
  said += train(tmp_path, 'wandb', 2, 4, RESULT)
  assert said == []
  rows, ids, summary = {}, set(), {}
  for path in sorted(tmp_path.glob('wandb/offline-run-*/*.wandb')):
    for data in records_of_wandb(path):
      record = wandb_internal_pb2.Record.FromString(data)
      if record.HasField('run'):
        ids.add(record.run.run_id)
      for item in record.summary.update:
        key = item.key or '/'.join(item.nested_key)
        summary[key] = json.loads(item.value_json)
      for item in record.history.item:
        key = item.key or '/'.join(item.nested_key)
        rows.setdefault(record.history.step.num, {})[key] = json.loads(
            item.value_json)
  assert ids == {(tmp_path / 'wandb' / 'id').read_text()}
  assert rows.keys() == {1, 2, 3, 4}
  for epoch, found in rows.items():
    assert expected(epoch).items() <= found.items()
  assert HEADLINE.items() <= summary.items()
