"""Manifests are believed only where they say what can be."""

import copy
import errno
import json
import os
import shutil

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from adjax import types
from adjax.storage import files as files_lib
from adjax.storage import manifest
from adjax.storage import store

DESCRIPTION = {'a': {'b': [1, 2]}}
LAYOUT = manifest.Layout(num_streams=3, steps=5, block=2)
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from(['../../x', '/etc/passwd', -1, 0, 2**31, 2**63, 10**300,
                     [], {}, [[]], [-1], [2**40] * 9, 'object', '|O', '<i2']))


def make(first, last):
  num = last - first
  return types.History(
      np.ones((num, 5, 2), np.int8), np.ones((num, 5), np.int8),
      np.ones((num, 5), np.float32), np.ones((num, 5), bool)), np.arange(
          first, last) != 1


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  directory = tmp_path_factory.mktemp('made') / 'store'
  store.write(str(directory), DESCRIPTION, LAYOUT, make)
  return directory


@pytest.fixture
def folder(made, tmp_path):
  return shutil.copytree(made, tmp_path / 'folder')


def snapshot(path):
  return sorted((str(p), p.read_bytes() if p.is_file() else b'')
                for p in path.rglob('*'))


def paths(value, path=()):
  """The paths of all values in JSON."""
  items = (value.items() if isinstance(value, dict)
           else enumerate(value) if isinstance(value, list) else ())
  for key, child in items:
    yield (*path, key)
    yield from paths(child, (*path, key))


def changed(value, path, new):
  value = copy.deepcopy(value)
  node = value
  for key in path[:-1]:
    node = node[key]
  node[path[-1]] = new
  return value


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(st.data())
def test_a_crafted_manifest_is_named_or_changes_nothing(made, data):
  """With a checksum that agrees, too: then it may say other things."""
  path = made / 'manifest.json'
  before = path.read_bytes()
  good = json.loads(before)
  place = data.draw(st.sampled_from(sorted(paths(good), key=str)))
  crafted = changed(good, place, data.draw(JUNK))
  sealed = data.draw(st.booleans())
  try:
    if sealed:
      crafted.pop('sha256')
      files_lib.write_sealed(str(path), crafted)
    else:
      path.write_text(json.dumps(crafted))
    files = snapshot(made.parent)
    try:
      opened = store.Store(str(made))
      assert sealed
      opened.read(np.array([0]), np.array([0]), 5)
      opened.verify()
    except ValueError as error:
      assert str(made) in str(error) and '\n' not in str(error)
    else:  # Of what may say anything, or of what was dropped.
      assert (crafted == files_lib.read_sealed(str(path))
              or place[0] == 'description' or 'dropped' in place)
    assert snapshot(made.parent) == files
  finally:
    path.write_bytes(before)


@pytest.mark.parametrize('text', [
    '', '[]', 'null', '{', '{"format": 1}', '[' * 10**6, '{"a":' * 10**6,
    '{"format": ' + '9' * 5000 + '}', '{"format": NaN}', '\0', '"\\ud800"',
    '{"format": ' + '[' * 900 + ']' * 900 + '}'])
def test_what_is_no_manifest_is_named(folder, text):
  for name in ('manifest.json', 'obs/zarr.json'):
    with_text = shutil.copytree(folder, folder.parent / name.split('/')[0])
    (with_text / name).write_text(text)
    with pytest.raises(ValueError, match=str(with_text / name)):
      store.Store(str(with_text))


def test_nesting_that_is_just_readable_is_compared_without_harm(folder):
  path = str(folder / 'manifest.json')
  nested = json.loads('{"a": ' * 200 + '1' + '}' * 200)
  files_lib.write_sealed(
      path, files_lib.read_sealed(path) | {'description': nested})
  with pytest.raises(ValueError, match='holds histories made otherwise'):
    store.write(str(folder), DESCRIPTION, LAYOUT, pytest.fail)


@pytest.mark.parametrize('record', [
    {}, [], {'steps': 6}, {'steps': 5, 'dropped': [7]},
    {'steps': 5, 'dropped': [], 'arrays': {'../../x': {}}}])
def test_a_crafted_record_is_named(folder, record):
  begun(folder)
  path = folder / 'blocks' / '000000.json'
  path.write_text(json.dumps(record))
  with pytest.raises(ValueError, match=str(path)):
    store.write(str(folder), DESCRIPTION, LAYOUT, pytest.fail)


def begun(folder):
  """Makes a store an unfinished one."""
  path = str(folder / 'manifest.json')
  found = files_lib.read_sealed(path)
  del found['blocks']
  files_lib.write_sealed(path, found)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
  (tmp_path / 'thesis.tex').write_text('precious')
  with pytest.raises(ValueError, match=r'no manifest\.json'):
    store.write(str(tmp_path), {}, LAYOUT, pytest.fail)
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']
  with pytest.raises(ValueError, match=r'manifest\.json: cannot be read'):
    store.Store(str(tmp_path))


def test_a_store_of_an_older_adjax_is_refused(folder):
  path = folder / 'manifest.json'
  path.write_text(path.read_text().replace('"format": 1', '"schema": 1'))
  for use in (store.Store, lambda directory: store.write(
      directory, DESCRIPTION, LAYOUT, pytest.fail)):
    with pytest.raises(
        ValueError, match=f'^{path}: was written by an older adjax; [^\n]*$'):
      use(str(folder))


@pytest.mark.parametrize('description', [
    [], None, {'a': float('nan')}, {'a': np.ones(2)}, {'a': object()}])
def test_a_description_that_is_no_json_is_refused(tmp_path, description):
  with pytest.raises(ValueError, match='description'):
    store.write(str(tmp_path / 'a'), description, LAYOUT, pytest.fail)
  assert not (tmp_path / 'a').exists()


@pytest.mark.parametrize('field', ['num_streams', 'steps', 'block'])
@pytest.mark.parametrize('value', [0, -1, 2**31, 1.0, True, '3', None])
def test_a_layout_names_what_it_refuses(field, value):
  with pytest.raises(ValueError, match=f'^{field}='):
    manifest.Layout(**{'num_streams': 3, 'steps': 5, 'block': 2, field: value})


@pytest.mark.parametrize('process, num', [(-1, 1), (1, 1), (0, 0)])
def test_a_process_beyond_their_number_is_refused(tmp_path, process, num):
  with pytest.raises(ValueError, match=f'process={process}'):
    store.write(str(tmp_path / 'a'), {}, LAYOUT, pytest.fail,
                process=process, num_processes=num)
  assert not (tmp_path / 'a').exists()


def test_what_is_not_finite_is_null_in_json(tmp_path):
  path = str(tmp_path / 'a.json')
  files_lib.write_json(path, {'a': [1.5, float('nan')], 'b': (float('inf'),)})
  assert files_lib.read_json(path) == {'a': [1.5, None], 'b': [None]}


def test_a_write_that_fails_names_the_file_and_leaves_it(tmp_path, monkeypatch):
  path = tmp_path / 'a'
  files_lib.write(str(path), 'before')
  def fail(descriptor):
    raise OSError(errno.ENOSPC, 'No space left on device')
  monkeypatch.setattr(os, 'fsync', fail)
  for use in (files_lib.write, files_lib.append_line):
    with pytest.raises(OSError, match='No space left') as failed:
      use(str(path), 'after')
    assert failed.value.filename == str(path)
    assert failed.value.errno == errno.ENOSPC
    if use is files_lib.write:
      assert path.read_text() == 'before' and os.listdir(tmp_path) == ['a']
