"""Paths as users write them, archives, and locks."""

import json
import os
import pathlib
import subprocess
import sys

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

import adjax
from adjax import presets
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.storage import files

ROOT = pathlib.Path(__file__).parents[1]


@hypothesis.given(st.lists(st.sampled_from(
    ['a', 'run 1', '..', '~', 'läufe', '.x', 'C']), min_size=1, max_size=4))
def test_a_path_is_what_the_user_wrote_from_their_home_on(parts):
  below = os.path.join(*parts)
  home = os.path.expanduser('~')
  hypothesis.assume('/' not in (os.path.abspath(below),
                                os.path.abspath(f'{home}/{below}')))
  assert files.folder('workdir', f'~/{below}') == f'{home}/{below}'
  assert files.folder('workdir', pathlib.Path('~') / below) == str(
      pathlib.Path(home) / below)
  if parts[0] != '~':
    assert files.folder('workdir', below) == below


@pytest.mark.parametrize('given', [
    '', '/', '//', '/..', '~nobody_of_that_name/x', 'gs://bucket/run',
    's3://bucket', 'file:///tmp/x', 'HTTP://x/y',
    pathlib.PurePosixPath('gs://bucket/run'), 'a\0b', None, 3, b'runs/x'])
def test_what_is_no_folder_is_refused_before_anything_is_computed(
    given, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(setup_lib, 'make', None)  # It gets as far as to nothing.
  quick = presets.get('quick')
  with pytest.raises(ValueError, match=r'^workdir=.*: must be [^\n]*$'):
    adjax.run(quick, given)
  if given and isinstance(given, str):
    with pytest.raises(ValueError, match=r'^data\.store=.*: must be [^\n]*$'):
      specification.override(quick, [f'data.store={given}'])
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('environment, ok', [
    ({'LC_ALL': 'C'}, True), ({'LC_ALL': 'C.UTF-8'}, True),
    ({'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}, False)])
def test_paths_that_tensorstore_would_read_otherwise_are_refused(
    environment, ok):
  code = ('import sys\nfrom adjax.storage import files\ntry:\n'
          '  files.folder("workdir", sys.argv[1])\n'
          'except ValueError as error:\n  sys.exit(str(error))')
  found = [subprocess.run(
      [sys.executable, '-c', code, name], cwd=ROOT, text=True,
      capture_output=True, env=os.environ | environment)
           for name in ('runs/x', 'läufe/x')]
  assert found[0].returncode == 0 and (found[1].returncode == 0) == ok
  if not ok:
    assert 'workdir=' in found[1].stderr and 'PYTHONUTF8=1' in found[1].stderr
    assert len(found[1].stderr.splitlines()) == 1


def test_an_archive_is_what_was_written_or_one_line(tmp_path):
  path = str(tmp_path / 'some.npz')
  header = {'format': 1, 'of': 'x'}
  np.savez(path, header=json.dumps(header), a=np.arange(3), b=np.float16(2))
  found, arrays = files.read_npz(path, 'a file of x')
  assert found == header and arrays.keys() == {'a', 'b'}
  np.testing.assert_array_equal(arrays['a'], [0, 1, 2])
  assert arrays['b'].dtype == np.float16
  damaged = 'must be a file of x as a run writes it; it was damaged'
  for text, message in {
      '[1]': damaged, '{': damaged, '[' * 100_000: damaged,
      '{"format": 7}': 'is of format 7, and must be of 1'}.items():
    np.savez(path, header=text)
    with pytest.raises(ValueError, match=f'^{path}: {message}'):
      files.read_npz(path, 'a file of x')
  np.savez(path, a=np.arange(3))
  with pytest.raises(ValueError, match=damaged):
    files.read_npz(path, 'a file of x')
  with pytest.raises(ValueError, match='none: must be a file of x; there is n'):
    files.read_npz(str(tmp_path / 'none'), 'a file of x')


def test_without_locks_files_are_not_held(tmp_path, monkeypatch):
  """As on Windows."""
  descriptors = [os.open(tmp_path / 'lock', os.O_RDWR | os.O_CREAT)
                 for _ in range(2)]
  files.lock(descriptors[0], wait=False)
  with pytest.raises(BlockingIOError):
    files.lock(descriptors[1], wait=False)
  monkeypatch.setattr(files, 'fcntl', None)
  files.lock(descriptors[1], wait=False)
  for descriptor in descriptors:
    os.close(descriptor)
