"""Files of weights: what is written is what is read, or one line says why not.
"""

import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import types

from gymnax.environments import spaces as gymnax_spaces
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adjax
from adjax import pretrained
from adjax import spaces
from adjax.envs import watermaze
from adjax.experiment import keep
from adjax.experiment import setup as setup_lib
from adjax.learners import coverage_search
from adjax.methods import rl2
from adjax.models import lstm
from adjax.models import sequence_model
from adjax.models import transformer
from adjax.storage import components
from adjax.storage import files
from adjax.storage import weights
from tests import tiny

HERE = pathlib.Path(__file__).parent
TINY = transformer.Config(
    layers=1, width=8, heads=1, window=5, feed_forward=8, channels=(2,))
POOL = watermaze.Config(height=8, width=8, num_train=2, num_validation=1,
                        num_held_out=1)
RESULT = {
    'versions': {'adjax': '0'}, 'held_out': {
        'return_mean': [1.0, float('nan')], 'ci95': [[0.0, 0.0], [2.0, 2.0]],
        'optimum': [16.0, 18.0]}}


def setup_of(model=TINY, **fields):
  """The objects of a run that is never begun."""
  return setup_lib.make(dataclasses.replace(
      tiny.fast(), model=model, **fields), 'data:1')


def states_of(setup):
  """Fresh weights [2]."""
  return jax.jit(jax.vmap(lambda key: setup.trainer.init(key).params))(
      jax.random.split(jax.random.key(0)))


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
  """A file of weights, the run's objects, and the weights in it."""
  path = str(tmp_path_factory.mktemp('kept') / 'weights.npz')
  setup = setup_of()
  params = states_of(setup)
  keep.weights(setup, params, RESULT, path)
  return path, setup, params


def test_the_weights_of_each_seed_come_back(kept):
  path, _, params = kept
  header, nested = weights.load(path)
  for seed in range(2):
    mine = weights.params(header, nested, seed)
    theirs = jax.tree.map(lambda x, seed=seed: x[seed], params)
    assert jax.tree.structure(mine) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)
  # The scale of observations is one of them, in a class of its own.
  assert isinstance(mine['params']['embedding']['statistics'],
                    sequence_model.Statistics)
  assert weights.model(header).config == TINY
  assert weights.model(header) is weights.model(json.loads(json.dumps(header)))


def test_the_header_says_what_was_trained_and_what_it_earns(kept):
  header, _ = weights.load(kept[0])
  assert header['experiment'] == 'quick' and header['seeds'] == 2
  assert header['model']['kind'] == 'adjax.models.transformer:Config'
  assert header['tasks']['kind'] == 'adjax.envs.dark_room:Config'
  assert header['observation'] == {
      'kind': 'Box', 'low': 0, 'high': 8, 'shape': [2], 'dtype': 'int8'}
  assert header['actions'] == 5
  assert header['held_out'] == {
      'return_mean': [1.0, None], 'ci95': [[0.0, 0.0], [2.0, 2.0]],
      'optimum': 17.0, 'episodes': 5, 'episode_length': 20,
      'temperature': 1.0}


def test_any_program_can_read_it(kept):
  """As docs/files.md says it: without adjax, and without pickle."""
  with np.load(kept[0]) as archive:
    assert json.loads(str(archive['header']))['format'] == 1
    head = archive['params/head/kernel']
  np.testing.assert_array_equal(head, kept[2]['params']['head']['kernel'])


@pytest.mark.parametrize('fields', [
    {'model': lstm.Config(width=8, channels=(2,)), 'tasks': POOL,
     'source': coverage_search.Config()},
    {'method': rl2.Config(epochs=1, updates_per_epoch=1), 'data': None,
     'source': None},
], ids=['an LSTM of frames', 'with a value head'])
def test_other_models_come_back(tmp_path, fields):
  setup = setup_of(**fields)
  params = states_of(setup)
  path = str(tmp_path / 'weights.npz')
  keep.weights(setup, params, RESULT, path)
  header, nested = weights.load(path)
  mine = weights.params(header, nested, 1)
  theirs = jax.tree.map(lambda x: x[1], params)
  # What no step needs is left out.
  assert set(theirs['params']) - set(mine['params']) == (
      {'value_head'} if 'method' in fields else set())
  theirs['params'].pop('value_head', None)
  jax.tree.map(np.testing.assert_array_equal, mine, theirs)
  if 'tasks' in fields:  # What it is shown, not what histories hold.
    assert header['observation'] == {
        'kind': 'Box', 'low': 0, 'high': 255, 'shape': [8, 8, 3],
        'dtype': 'uint8'}


@pytest.mark.parametrize('dtype', [jnp.float16, jnp.bfloat16])
def test_rounded_weights_come_back_as_they_are_used(kept, tmp_path, dtype):
  path = str(tmp_path / 'weights.npz')
  rounded = jax.tree.map(lambda x: x.astype(dtype), kept[2])
  weights.save(path, weights.load(kept[0])[0], rounded)
  jax.tree.map(
      lambda x, like: np.testing.assert_array_equal(
          x, np.asarray(like[0], np.float32), strict=True),
      weights.params(*weights.load(path)), rounded)


def rewritten(kept, tmp_path, change):
  """The file after its header and its leaves, by path, were changed."""
  with np.load(kept[0]) as archive:
    leaves = dict(archive)
  header = json.loads(str(leaves.pop('header')))
  header = change(header, leaves) or header
  path = str(tmp_path / 'weights.npz')
  np.savez(path, header=np.array(json.dumps(header)), **leaves)
  return path


def without(name):
  def change(header, leaves):
    del leaves[name]
  return change


def told(**fields):
  return lambda header, leaves: header | fields


def told_model(**fields):
  return lambda header, leaves: header | {'model': header['model'] | fields}


KERNEL = 'params/head/kernel'


@pytest.mark.parametrize('change, message', [
    (told(format=2), 'is of format 2, and must be of 1'),
    (told(seeds='two'), 'must be a file of weights as a run writes it'),
    (lambda header, leaves: [1], 'must be a file of weights as a run writes'),
    (lambda header, leaves: leaves.update({f'{KERNEL}/x': leaves[KERNEL]}),
     'must be a file of weights as a run writes it'),
    (without(KERNEL), f'weights {KERNEL}: must be of shape [2, 8, 5], as the '
     'model is configured, and are not there'),
    (lambda header, leaves: leaves.update({KERNEL: leaves[KERNEL][:, 1:]}),
     f'weights {KERNEL}: must be of shape [2, 8, 5], as the model is '
     'configured, and are of shape [2, 7, 5]'),
    (told_model(width=16), 'must be of shape [2, '),
    (told_model(depth=2), 'model=adjax.models.transformer:Config: has other '
     'fields than when it was written'),
    (told_model(width=7), 'width=7: must be a multiple of twice heads=1'),
    (told_model(kind='nowhere:Config'), 'model=nowhere:Config: must be a class '
     'that can be imported'),
    (told_model(kind='adjax.models.lstm:Conf'), 'model=adjax.models.lstm:Conf: '
     'must be a class that can be imported'),
    (told_model(kind='os:getcwd'), 'model=os:getcwd: must be a frozen dataclas'
     's'),
    (told(observation={'kind': 'Graph'}), "space={'kind': 'Graph'}: must be a "
     'Discrete, Box, Dict or Tuple'),
])
def test_what_does_not_fit_is_refused_in_one_line(
    kept, tmp_path, change, message):
  with pytest.raises(ValueError) as error:
    header, nested = weights.load(rewritten(kept, tmp_path, change))
    weights.params(header, nested)
  assert message in str(error.value) and '\n' not in str(error.value)


def test_a_damaged_file_is_refused(kept, tmp_path):
  data = pathlib.Path(kept[0]).read_bytes()
  path = tmp_path / 'weights.npz'
  at = data.index(np.asarray(jax.tree.leaves(kept[2])[1]).tobytes()) + 3
  for bad in (b'', b'{}', data[:-40], data[:at],
              data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]):
    path.write_bytes(bad)
    with pytest.raises(ValueError, match='must be a file of weights as a run'):
      weights.load(str(path))
  np.save(str(path.with_suffix('.npy')), np.zeros(3))
  for other in path.with_suffix('.npy'), tmp_path:
    with pytest.raises(ValueError, match='must be a file of weights as a run'):
      weights.load(str(other))
  with pytest.raises(ValueError, match=r'nothing\.npz: must be a file of weigh'
                     'ts; there is none'):
    weights.load(str(tmp_path / 'nothing.npz'))


def test_nothing_is_unpickled(tmp_path):
  class Bomb:
    def __reduce__(self):
      return pytest.fail, ('unpickled',)
  path = str(tmp_path / 'weights.npz')
  np.savez(path, header=np.array(Bomb(), object))
  with pytest.raises(ValueError, match='must be a file of weights as a run'):
    weights.load(path)


@pytest.mark.parametrize('seed', [2, -1, True, np.int8(2), 'first', 0.0])
def test_a_seed_that_was_not_trained_is_refused(kept, seed):
  with pytest.raises(ValueError, match=r'seed=.*: must be an integer from 0 to '
                     '1, one of the training seeds'):
    weights.params(*weights.load(kept[0]), seed)


def test_a_failed_write_leaves_the_file_as_it_was(kept, tmp_path, monkeypatch):
  path = tmp_path / 'weights.npz'
  path.write_bytes(b'before')
  monkeypatch.setattr(files.os, 'fsync', lambda descriptor: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    weights.save(str(path), {}, {'params': np.zeros(3)})
  assert path.read_bytes() == b'before'


@dataclasses.dataclass(frozen=True)
class Greedy(tiny.NullConfig):
  """A model of one's own, which wants to know too much."""

  def make(self, env):
    return tiny.NullModel(self, env.config and env)


def test_a_model_of_ones_own_is_found_where_it_can_be_imported(tmp_path):
  setup = setup_of(tiny.NullConfig())
  path = str(tmp_path / 'weights.npz')
  keep.weights(setup, states_of(setup), RESULT, path)
  header, _ = weights.load(path)
  assert header['model']['kind'] == 'tests.tiny:NullConfig'
  assert isinstance(weights.model(header), tiny.NullModel)
  header['model']['kind'] = 'tests.test_weights:Greedy'
  with pytest.raises(ValueError, match='its make must need no more of an '
                     'environment than its spaces'):
    weights.model(header)


@pytest.mark.parametrize('spec, file, name', [
    (types.SimpleNamespace(name='pkg.program'), '/pkg/program.py',
     'pkg.program'),
    (None, '/some/program.py', 'program'), (None, None, 'notebook')])
def test_a_class_of_the_program_is_found_without_running_it_again(
    spec, file, name, monkeypatch):
  main = types.ModuleType('__main__')
  main.__spec__, main.Own = spec, dataclasses.make_dataclass(
      'Own', [('parts', tuple, ())], frozen=True, namespace={
          '__module__': '__main__'})
  if file:
    main.__file__ = file
  monkeypatch.setitem(sys.modules, '__main__', main)
  own = main.Own((1, main.Own()))
  data = components.to_data(own)
  assert data['kind'] == f'{name}:Own'
  assert components.from_data(
      json.loads(json.dumps(data)), 'model') == own


SPACES = [
    gymnax_spaces.Discrete(7),
    gymnax_spaces.Box(0, 1, (), jnp.float32),
    gymnax_spaces.Box(False, True, (3,), jnp.bool_),
    gymnax_spaces.Box(-jnp.inf, jnp.inf, (2, 2), jnp.float32),
    gymnax_spaces.Box(np.array([-1.5, -np.inf]), jnp.array([0.1, np.inf]), (2,),
                      jnp.float32),
    gymnax_spaces.Box(0, 255, (4, 4, 3), jnp.uint8),
    gymnax_spaces.Box(-(2**31), 2**31 - 1, (1,), jnp.int32),
    gymnax_spaces.Dict({
        'b': gymnax_spaces.Discrete(3),
        'a': gymnax_spaces.Tuple((gymnax_spaces.Box(-3, 9, (2,), jnp.int8),
                                  gymnax_spaces.Discrete(2)))}),
    gymnax_spaces.Dict(collections.OrderedDict(
        b=gymnax_spaces.Discrete(3), a=gymnax_spaces.Discrete(2))),
]


@pytest.mark.parametrize('space', SPACES, ids=str)
def test_a_space_as_data_is_that_space(space):
  data = json.loads(files.to_json(spaces.to_data(space)))
  again = spaces.from_data(data)
  assert spaces.to_data(again) == data
  one, other = (spaces.observation(spaces.Described(x, 2))
                for x in (space, again))
  assert (one.shape, one.dtype) == (other.shape, other.dtype)
  for mine, theirs in zip(one.parts, other.parts, strict=True):
    for a, b in zip(mine, theirs, strict=True):
      np.testing.assert_array_equal(a, b)


def test_a_file_of_format_1_still_loads():
  """One that an adjax 0.3 wrote, and what its second seed said then."""
  agent = adjax.Agent.load(HERE / 'formats' / 'weights_1.npz', 1)
  for step, (action, said) in enumerate([
      (2, [-2.730633, -0.781689, -0.739842]),
      (0, [-3.030853, -0.712971, -0.773187]),
      (2, [-2.408434, -1.157500, -0.517895]),
      (2, [-2.859757, -0.826093, -0.683274]),
      (1, [-2.892534, -0.925009, -0.601413]),
      (2, [-2.669329, -0.953468, -0.606420])]):
    agent.act({'seen': (step / 2, -3.0), 'room': step % 4})
    np.testing.assert_allclose(agent.log_probs, said, atol=1e-5)
    agent._acted = np.int8(action)  # As if that had been drawn.
    agent.observe(step - 2, step == 3)


@pytest.mark.parametrize('name', pretrained.names())
def test_the_files_in_the_box_load(name):
  path = pretrained.path(name)
  assert pathlib.Path(path).stat().st_size <= 2**20
  header, nested = weights.load(path)
  assert header['experiment'] == name
  assert {x.dtype for x in jax.tree.leaves(nested)} == {np.dtype(np.float16)}
  params = weights.params(header, nested)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(params))
  held_out = header['held_out']
  assert np.mean(held_out['return_mean'][-5:]) > 0.85 * held_out['optimum']


def test_there_are_two_in_the_box():
  assert pretrained.names() == ['dark_room', 'key_to_door']
  with pytest.raises(ValueError, match="pretrained='maze': must be one of dark"
                     '_room, key_to_door'):
    pretrained.path('maze')


@pytest.mark.long
def test_one_command_makes_the_box_anew(tmp_path):
  fields = [x for x in tiny.QUICK if not x.startswith('seeds')]
  subprocess.run(
      [sys.executable, '-m', 'experiments.pretrained', '--names=dark_room',
       f'--workdir={tmp_path}', f'--out={tmp_path}/box',
       *(f'--set={field}' for field in fields)],
      cwd=HERE.parent, check=True, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  header, nested = weights.load(str(tmp_path / 'box' / 'dark_room.npz'))
  run, exact = weights.load(str(tmp_path / 'dark_room' / 'weights.npz'))
  jax.tree.map(
      lambda x, like: np.testing.assert_array_equal(
          x, like.astype(np.float16), strict=True), nested, exact)
  # Evaluated once more, on the same tasks and with the same random numbers.
  np.testing.assert_allclose(header['held_out']['return_mean'],
                             run['held_out']['return_mean'], atol=0.2)
  assert header['held_out']['optimum'] == run['held_out']['optimum']
  assert header['tasks'] == run['tasks'] and header['seeds'] == 1
