"""A folder is one run's alone, and what is in it is whole or refused."""

import errno
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

from experiments import presets
from experiments import versions
from experiments import workdir as workdir_lib

ROOT = pathlib.Path(__file__).parents[1]
QUICK = presets.get('quick')
CURVES = {'optimum': [1.0], 'return_mean': [0.5]}
LINE = {'epoch': 1, 'seconds': 0.5, 'loss': 0.25, 'validation': CURVES,
        'train': CURVES, 'skipped_in_all': [0], 'ended_early': []}


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
  workdir_lib.write_json(str(begun / 'result.json'), {'heldout': {'x': 1}})
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
      assert finished == {'heldout': {'x': 1}}
  assert content(ended) == before


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
        ValueError, match=rf'--workdir={begun} is in use by process '
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
    with (pytest.raises(ValueError, match=f'--workdir={folder}.*{words}'),
          claim(folder, experiment)):
      pass
  assert content(tmp_path) == before


def test_other_versions_are_refused_or_recorded(begun, monkeypatch):
  now = versions.versions()
  for adjax in ('0.2', '0.3'):
    other = now | {'adjax': adjax, 'jax': '1.0'}
    monkeypatch.setattr(versions, 'versions', other.copy)
    before = content(begun)
    with (pytest.raises(ValueError, match='set --allow_version_change to go on'
                        f" all the same: adjax: '.*' -> '{adjax}'"),
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


def test_a_finished_run_is_handed_back_by_any_version(ended, monkeypatch):
  monkeypatch.setattr(versions, 'versions', lambda: {'adjax': '9'})
  with claim(ended) as finished:
    assert finished == {'heldout': {'x': 1}}


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
  assert versions.versions()['adjax'] == versions.code(
      ROOT / 'adjax', ROOT / 'experiments')


@pytest.mark.parametrize('name', [
    'config.json', 'metrics.jsonl', 'result.json', 'lock', 'config.json.new',
    'metrics.jsonl.new', 'result.json.new', 'checkpoints', 'curve.png',
    'visits.png'])
def test_links_out_of_the_folder_are_refused(begun, tmp_path, name):
  outside = tmp_path / 'outside'
  if name == 'checkpoints':
    outside.mkdir()
  elif (begun / name).exists():
    (begun / name).rename(outside)
  for _ in range(2):  # The second time it may lead to nothing.
    (begun / name).symlink_to(outside)
    before = content(tmp_path)
    with (pytest.raises(ValueError, match=f'{begun / name}: must be a f.*link'),
          claim(begun)):
      pass
    assert content(tmp_path) == before
    (begun / name).unlink()
    outside = tmp_path / 'nothing'


def test_a_pipe_is_not_waited_for(begun):
  (begun / 'config.json').unlink()
  os.mkfifo(begun / 'config.json')
  with (pytest.raises(ValueError, match=r'config\.json: must be a file'),
        claim(begun)):
    pass


def test_a_folder_that_is_itself_a_link_is_allowed(begun, tmp_path):
  (tmp_path / 'link').symlink_to(begun)
  with claim(tmp_path / 'link') as finished:
    assert finished is None


JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers()
    | strategies.floats() | strategies.text(),
    lambda x: strategies.lists(x) | strategies.dictionaries(
        strategies.sampled_from((
            'config', 'versions', 'version_changes', 'heldout', 'epoch',
            'seconds', 'seed', 'model')), x))
DAMAGED = [
    b'', b'\xff\xfe', b'[1]', b'null', b'[' * 100_000, b'{"config": {}}',
    b'{"a":' * 900 + b'1' + b'}' * 900, b'{"epoch": 1, "seconds": NaN}',
    b'{"epoch": 1, "seconds": 1e999}', b'{"epoch": true, "seconds": 1}',
    b'{"epoch": ' + b'9' * 5000 + b', "seconds": 1}',
    b'{"epoch": 1, "seconds": 1' + b'0' * 400 + b'}',
    b'{"epoch": 1, "seconds": -1}', b'{"heldout": 3}',
    b'{"heldout": {"x": Infinity}}', b'{"config": [], "versions": {}}',
    b'{"config": {}, "versions": {"jax": {}}}',
    b'{"config": {}, "versions": {}, "version_changes": 3}']


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
        f'--workdir={folder} holds a run with another' in str(error))
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


def test_writing_follows_no_link_and_leaves_nothing_else(tmp_path):
  path = tmp_path / 'file'
  (tmp_path / 'outside').write_text('as it was')
  (tmp_path / 'file.new').symlink_to(tmp_path / 'outside')
  path.symlink_to(tmp_path / 'outside')
  workdir_lib.write(str(path), 'text')
  assert path.read_text() == 'text' and not path.is_symlink()
  assert (tmp_path / 'outside').read_text() == 'as it was'
  assert not os.path.lexists(tmp_path / 'file.new')


def test_a_full_disk_is_an_error_with_the_path_and_changes_nothing(
    tmp_path, monkeypatch):
  path = tmp_path / 'file'
  workdir_lib.write(str(path), 'as it was')
  def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match=f'No space left on device: .*{path}'):
    workdir_lib.write(str(path), 'text')
  assert path.read_text() == 'as it was'
  assert not (tmp_path / 'file.new').exists()
  with pytest.raises(OSError, match=f'No space left on device: .*{path}'):
    workdir_lib.append_line(str(path), LINE)
