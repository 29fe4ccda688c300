"""Manifests are believed only where they say what can be."""

import copy
import json
import shutil

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from adjax import manifest
from adjax import store
from adjax import types

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
  store.write(str(directory), {'a': {'b': [1, 2]}}, LAYOUT, make)
  return directory


@pytest.fixture
def folder(made, tmp_path):
  return shutil.copytree(made, tmp_path / 'folder')


def snapshot(path):
  return sorted((str(p), p.read_bytes() if p.is_file() else b'')
                for p in path.rglob('*'))


def places(value, path=()):
  """The paths of all values in JSON."""
  items = (value.items() if isinstance(value, dict)
           else enumerate(value) if isinstance(value, list) else ())
  for key, child in items:
    yield (*path, key)
    yield from places(child, (*path, key))


def changed(value, path, new):
  value = copy.deepcopy(value)
  node = value
  for key in path[:-1]:
    node = node[key]
  node[path[-1]] = new
  return value


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.data())
def test_a_crafted_manifest_is_named_or_changes_nothing(made, data):
  path = made / 'manifest.json'
  before = path.read_text()
  good = json.loads(before)
  place = data.draw(st.sampled_from(sorted(places(good), key=str)))
  crafted = changed(good, place, data.draw(JUNK))
  try:
    path.write_text(json.dumps(crafted))
    files = snapshot(made.parent)
    try:
      opened = store.Store(str(made))
    except ValueError as error:
      assert str(made) in str(error) and '\n' not in str(error)
    else:  # Of what may say anything, or of what was dropped.
      assert crafted == good or place[0] == 'description' or 'dropped' in place
      opened.read(np.array([0]), np.array([0]), 5)
      opened.verify()
    assert snapshot(made.parent) == files
  finally:
    path.write_text(before)


@pytest.mark.parametrize('text', [
    '', '[]', 'null', '{', '{"schema": 1}', '[' * 10**6, '{"a":' * 10**6,
    '{"schema": ' + '9' * 5000 + '}', '{"schema": NaN}', '\0', '"\\ud800"',
    '{"schema": ' + '[' * 900 + ']' * 900 + '}'])
def test_what_is_no_manifest_is_named(folder, text):
  for name in ('manifest.json', 'obs/zarr.json'):
    with_text = shutil.copytree(folder, folder.parent / name.split('/')[0])
    (with_text / name).write_text(text)
    with pytest.raises(ValueError, match=str(with_text / name)):
      store.Store(str(with_text))


def test_nesting_that_is_just_readable_is_compared_without_harm(folder):
  path = folder / 'manifest.json'
  nested = '{"a": ' * 400 + '1' + '}' * 400
  path.write_text(json.dumps(json.loads(path.read_text())).replace(
      '{"b": [1, 2]}', nested))
  with pytest.raises(ValueError, match='holds histories made otherwise'):
    store.write(str(folder), {'a': {'b': [1, 2]}}, LAYOUT, pytest.fail)


@pytest.mark.parametrize('name', [
    'manifest.json', 'obs', 'blocks', 'obs/c.0.0.0', 'reward/zarr.json'])
def test_links_out_of_the_folder_are_not_followed(folder, tmp_path, name):
  outside = tmp_path / 'outside'
  (folder / name).rename(outside)
  (folder / name).symlink_to(outside)
  with pytest.raises(ValueError, match=str(folder / name)):
    store.Store(str(folder))


@pytest.mark.parametrize('name', ['obs', 'blocks', 'blocks/000001.json'])
def test_links_are_not_written_through(folder, tmp_path, name):
  begun(folder)
  outside = tmp_path / 'outside'
  (folder / name).rename(outside)
  (folder / name).symlink_to(outside)
  before = snapshot(tmp_path)
  with pytest.raises(ValueError, match=str(folder / name)):
    store.write(str(folder), {'a': {'b': [1, 2]}}, LAYOUT, pytest.fail)
  assert snapshot(tmp_path) == before


def test_a_link_in_the_place_of_a_new_file_is_replaced(folder, tmp_path):
  begun(folder)
  (tmp_path / 'outside').write_text('precious')
  for name in ('obs/c.1.0.0', 'obs/c.1.0.0.new', 'manifest.json.new'):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / 'outside')
  (folder / 'blocks' / '000001.json').unlink()
  store.write(str(folder), {'a': {'b': [1, 2]}}, LAYOUT, make)
  assert (tmp_path / 'outside').read_text() == 'precious'
  store.Store(str(folder)).verify()


@pytest.mark.parametrize('record', [
    {}, [], {'steps': 6}, {'steps': 5, 'dropped': [7]},
    {'steps': 5, 'dropped': [], 'arrays': {'../../x': {}}}])
def test_a_crafted_record_is_named(folder, record):
  begun(folder)
  path = folder / 'blocks' / '000000.json'
  path.write_text(json.dumps(record))
  with pytest.raises(ValueError, match=str(path)):
    store.write(str(folder), {'a': {'b': [1, 2]}}, LAYOUT, pytest.fail)


def begun(folder):
  """Takes the done mark from a store."""
  path = folder / 'manifest.json'
  found = json.loads(path.read_text())
  path.write_text(json.dumps(found | {'done': False}))


def test_a_folder_of_something_else_is_left_alone(tmp_path):
  (tmp_path / 'thesis.tex').write_text('precious')
  with pytest.raises(ValueError, match=r'no manifest\.json'):
    store.write(str(tmp_path), {}, LAYOUT, pytest.fail)
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']
  with pytest.raises(ValueError, match=r'manifest\.json: cannot be read'):
    store.Store(str(tmp_path))


def test_another_schema_is_named(folder):
  path = folder / 'manifest.json'
  path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
  for use in (store.Store, lambda directory: store.write(
      directory, {'a': {'b': [1, 2]}}, LAYOUT, pytest.fail)):
    with pytest.raises(ValueError, match='schema=2: must be 1'):
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
  with pytest.raises(ValueError, match=rf'layout\.{field}='):
    manifest.Layout(**{'num_streams': 3, 'steps': 5, 'block': 2, field: value})


@pytest.mark.parametrize('process, num', [(-1, 1), (1, 1), (0, 0)])
def test_a_process_beyond_their_number_is_refused(tmp_path, process, num):
  with pytest.raises(ValueError, match=f'process={process}'):
    store.write(str(tmp_path / 'a'), {}, LAYOUT, pytest.fail,
                process=process, num_processes=num)
  assert not (tmp_path / 'a').exists()
