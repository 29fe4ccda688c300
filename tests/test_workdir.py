"""A folder is one run's alone, and what is in it is whole or refused."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import hypothesis
from hypothesis import strategies
import jax
import pytest

from adjax import presets
from adjax.experiment import specification
from adjax.experiment import versions
from adjax.experiment import workdir as workdir_lib
from adjax.storage import files

ROOT = pathlib.Path(__file__).parents[1]
QUICK = presets.get('quick')
CURVES = {'optimum': [1.0], 'return_mean': [0.5]}
LINE = {'format': 1, 'epoch': 1, 'seconds': 0.5, 'loss': 0.25,
        'validation': CURVES,
        'train': CURVES, 'skipped_total': [0], 'ended_early': []}


def claim(folder, experiment=QUICK, **more):
  return workdir_lib.claim(str(folder), experiment, **more)


@pytest.fixture
def begun(tmp_path):
  """A run that was stopped in its second epoch."""
  with claim(tmp_path / 'run') as finished:
    assert finished is None
    workdir_lib.append_line(str(tmp_path / 'run' / 'metrics.jsonl'), LINE)
  return tmp_path / 'run'


@pytest.fixture
def ended(begun):
  files.write_json(str(begun / 'result.json'),
                   {'format': 1, 'held_out': {'x': 1}})
  return begun


def content(folder):
  return {path: (path.read_bytes(), path.stat().st_mtime_ns)
          for path in folder.rglob('*') if path.is_file()}


def test_a_run_is_taken_up_where_it_was(begun):
  with claim(begun) as finished:
    assert finished is None
  assert workdir_lib.cut_lines(str(begun / 'metrics.jsonl'), 1) == [LINE]
  saved = json.loads((begun / 'config.json').read_text())
  assert saved['versions'] == versions.versions()
  assert 'version_changes' not in saved


def test_a_finished_run_is_handed_back_and_left_as_it_is(ended):
  before = content(ended)
  for _ in range(2):
    with claim(ended) as finished:
      assert finished == {'format': 1, 'held_out': {'x': 1}}
  assert content(ended) == before


def test_a_run_does_not_depend_on_where_its_store_is(tmp_path):
  def stored(path):
    return specification.override(QUICK, [f'data.store={path}'])
  folder = tmp_path / 'run'
  with claim(folder, stored('~/store')):
    workdir_lib.append_line(str(folder / 'metrics.jsonl'), LINE)
  for path in ('~/store/', os.path.expanduser('~/store'), '/elsewhere/store'):
    with claim(folder, stored(path)) as finished:
      assert finished is None
  with (pytest.raises(ValueError, match=r'another config.*data\.store'),
        claim(folder)):
    pass


def test_another_process_is_refused_until_the_first_one_dies(begun):
  code = ('import sys; from tests import test_workdir as test\n'
          'with test.claim(sys.argv[1]):\n'
          '  print("held", flush=True); sys.stdin.read()')
  with subprocess.Popen(
      [sys.executable, '-c', code, str(begun)], cwd=ROOT, text=True,
      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'}) as holder:
    assert holder.stdout.readline() == 'held\n'
    before = content(begun)
    with pytest.raises(
        ValueError, match=rf'workdir={begun} is in use by process '
        rf'{holder.pid} on host \S+; wait'), claim(begun):
      pytest.fail('claimed twice')
    assert content(begun) == before
    holder.send_signal(signal.SIGKILL)
    holder.wait()
  with claim(begun) as finished:
    assert finished is None


def test_only_the_first_of_several_processes_writes(
    begun, tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  before = content(tmp_path)
  for folder in (begun, tmp_path / 'new'):
    with claim(folder) as finished, claim(folder):
      assert finished is None
  assert content(tmp_path) == before and not (tmp_path / 'new').exists()
  with (pytest.raises(ValueError, match='another config'),
        claim(begun, presets.get('bandit'))):
    pass


def test_it_is_let_go_after_an_error_that_passes_as_it_is(begun):
  for _ in range(2):
    with pytest.raises(PermissionError, match='from inside'), claim(begun):
      raise PermissionError('from inside')


def test_a_lock_says_only_what_we_write_there(begun):
  with claim(begun):
    (begun / 'lock').write_bytes(b'\xff\n' * 500)
    with (pytest.raises(ValueError, match='in use by another process; wait'),
          claim(begun)):
      pass


def test_refusals_leave_no_trace(tmp_path, begun):
  shutil.copytree(begun, tmp_path / 'copy')
  (tmp_path / 'copy' / 'config.json').unlink()
  before = content(tmp_path)
  for folder, experiment, words in (
      (begun, presets.get('bandit'), 'holds a run with another config'),
      (tmp_path / 'copy', QUICK, r'holds metrics\.jsonl but no config'),
      (begun / 'lock' / 'x', QUICK, 'must be a folder that can be written')):
    with (pytest.raises(ValueError, match=f'workdir={folder}.*{words}'),
          claim(folder, experiment)):
      pass
  assert content(tmp_path) == before


def test_other_versions_are_refused_or_recorded(begun, monkeypatch):
  now = versions.versions()
  for adjax in ('0.2', '0.3'):
    other = now | {'adjax': adjax, 'jax': '1.0'}
    monkeypatch.setattr(versions, 'versions', other.copy)
    before = content(begun)
    with (pytest.raises(ValueError, match='set allow_version_change to resume'
                        f" it all the same: adjax: '.*' -> '{adjax}'"),
          claim(begun)):
      pass
    assert content(begun) == before
    said = []
    with claim(begun, allow_version_change=True, say=said.append):
      pass
    assert len(said) == 1 and f"-> '{adjax}'" in said[0]
    with claim(begun, allow_version_change=True, say=pytest.fail):
      pass
  saved = json.loads((begun / 'config.json').read_text())
  assert saved['version_changes'] == [
      {'from': {'adjax': now['adjax'], 'jax': now['jax']},
       'to': {'adjax': '0.2', 'jax': '1.0'}},
      {'from': {'adjax': '0.2'}, 'to': {'adjax': '0.3'}}]
  assert saved['versions']['adjax'] == '0.3'
  with (pytest.raises(ValueError, match='another config'),
        claim(begun, presets.get('bandit'), allow_version_change=True)):
    pass


def test_a_run_that_was_refused_before_it_began_binds_nobody(tmp_path):
  with claim(tmp_path / 'run'):
    workdir_lib.cut_lines(str(tmp_path / 'run' / 'metrics.jsonl'), 0)
  with claim(tmp_path / 'run', presets.get('bandit')) as finished:
    assert finished is None


def test_a_result_of_other_code_of_ones_own_is_refused(ended, monkeypatch):
  monkeypatch.setattr(
      specification, 'digests', lambda *args: {'tasks': 'changed'})
  with (pytest.raises(ValueError, match="tasks: 'absent' -> 'changed'"),
        claim(ended)):
    pass


def test_a_finished_run_is_handed_back_by_any_version(ended, monkeypatch):
  monkeypatch.setattr(versions, 'versions', lambda: {'adjax': '9'})
  with claim(ended) as finished:
    assert finished == {'format': 1, 'held_out': {'x': 1}}


def test_a_version_of_code_is_that_of_its_content_and_names(tmp_path):
  (tmp_path / 'a').mkdir()
  (tmp_path / 'a' / 'one.py').write_text('x = 1\n')
  first = versions.code(tmp_path / 'a')
  assert first == versions.code(tmp_path / 'a')
  (tmp_path / 'a' / 'notes.txt').write_text('')
  assert first == versions.code(tmp_path / 'a')
  (tmp_path / 'a' / 'one.py').write_text('x = 2\n')
  second = versions.code(tmp_path / 'a')
  (tmp_path / 'a' / 'one.py').rename(tmp_path / 'a' / 'two.py')
  assert len({first, second, versions.code(tmp_path / 'a')}) == 3
  assert versions.versions()['adjax'] == versions.code(ROOT / 'adjax')


@pytest.mark.parametrize('name, outside', [
    ('presets/mine.py', True), ('cli/run.py', True),
    ('experiment/report.py', True), ('experiment/plot.py', True),
    ('experiment/run.py', False), ('learners/mine.py', False)])
def test_presets_launchers_and_reports_are_no_version_of_a_run(
    tmp_path, name, outside):
  before = versions.code(tmp_path)
  (tmp_path / name).parent.mkdir()
  (tmp_path / name).write_text('x = 1')
  assert (versions.code(tmp_path) == before) == outside


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats() | strategies.text(),
    lambda x: strategies.lists(x) | strategies.dictionaries(
        strategies.sampled_from((
            'format', 'config', 'versions', 'held_out', 'epoch', 'seconds',
            'model')), x))
FIELDS = b'{"format": 1, "epoch": 1, "validation": {}, "train": {}, '
DAMAGED = [
    b'', b'\xff\xfe', b'[1]', b'null', b'[' * 100_000, b'{"config": {}}',
    b'{"a":' * 900 + b'1' + b'}' * 900, b'{"format": 2}', b'{"format": 1}',
    FIELDS + b'"skipped_total": [], "ended_early": [], "seconds": NaN}',
    FIELDS + b'"skipped_total": 1, "ended_early": [], "seconds": 1}',
    b'{"format": 1, "held_out": 3}',
    b'{"format": 1, "held_out": {"x": Infinity}}',
    b'{"format": 1, "config": [], "versions": {}}']


def refused_or_read(folder, name, data):
  """What a file is read as; None if it is refused by name and left alone."""
  (folder / name).write_bytes(data)
  try:
    if name == 'metrics.jsonl':
      return workdir_lib.cut_lines(str(folder / name), 1)
    with claim(folder) as found:
      return found
  except ValueError as error:
    # A config that reads well is another run's, in that folder.
    assert str(folder / name) in str(error) or (
        f'workdir={folder} holds a run' in str(error))
    assert (folder / name).read_bytes() == data
    return None


@pytest.mark.parametrize('name', ['config.json', 'metrics.jsonl',
                                  'result.json'])
@pytest.mark.parametrize('data', DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_named_and_left_as_it_is(begun, name, data):
  assert refused_or_read(begun, name, data + b'\n') is None


@pytest.mark.parametrize('name', ['config.json', 'metrics.jsonl',
                                  'result.json'])
@hypothesis.given(strategies.binary() | JSON.map(
    lambda value: json.dumps(value).encode() + b'\n'))
@hypothesis.settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_any_file_is_refused_by_name_or_read_as_it_is(begun, name, data):
  found = refused_or_read(begun, name, data)
  if found is not None:
    assert found == (json.loads(data) if name == 'result.json' else [
        json.loads(line) for line in data.splitlines()])


def test_what_a_run_did_not_come_to_write_in_full_is_cut_off(begun):
  path = begun / 'metrics.jsonl'
  for epoch in (2, 3):
    workdir_lib.append_line(str(path), LINE | {'epoch': epoch})
  with path.open('ab') as file:
    file.write(b'{"epoch": 4, "sec\xff')
  lines = workdir_lib.cut_lines(str(path), 2)
  assert [line['epoch'] for line in lines] == [1, 2]
  assert [json.loads(line) for line in path.read_text().splitlines()] == lines
  with pytest.raises(ValueError, match='a line for each of the 3 epochs'):
    workdir_lib.cut_lines(str(path), 3)
  assert workdir_lib.cut_lines(str(path), 0) == []
  assert path.read_bytes() == b''


def test_what_is_not_finite_is_written_as_null(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  workdir_lib.append_line(
      str(path), LINE | {'loss': float('nan'), 'x': [(1.0, float('inf'))]})
  assert workdir_lib.cut_lines(str(path), 1) == [
      LINE | {'loss': None, 'x': [[1.0, None]]}]
