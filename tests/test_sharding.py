"""Four fake devices do what one does."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from adjax import sharding

ROOT = pathlib.Path(__file__).parents[1]

PROGRAM = '''
import json, sys
import jax, jax.numpy as jnp, numpy as np
from adjax import distill, histories, in_context, rl2, sharding, transformer
from adjax.envs import dark_room
from adjax.learners import tabular_q

devices = int(sys.argv[1])
assert jax.device_count() == 4
mesh = sharding.mesh(devices)
tasks = dark_room.tasks(dark_room.Config(size=5, num_train=13, num_validation=3,
                                         num_held_out=3))
source = tabular_q.learner(tabular_q.Config(), tasks)
# 13 * 2 learners do not divide by four; 12 * 2 do.
odd = histories.streams(histories.generate(
    source, tasks.train, jax.random.key(0), 2, 60, mesh))
some = jax.tree.map(lambda x: x[:12], tasks.train)
even = histories.generate(source, some, jax.random.key(0), 2, 60, mesh)
program = histories.generate.lower(
    source, some, jax.random.key(0), 2, 60, mesh).compile().as_text()
net = transformer.Transformer(
    transformer.Config(layers=1, width=16, heads=1, window=20, feed_forward=32),
    tasks.env)
config = distill.Config(epochs=1, updates_per_epoch=50, batch_size=8, length=30)
evaluation = distill.Evaluation(
    tasks.env, {'validation': tasks.validation}, jax.random.key(2), 2, 2, 20)
states = sharding.replicate(jax.vmap(
    lambda key: distill.init(config, net, odd, key))(
        jax.random.split(jax.random.key(1), 1)), mesh)
odd = sharding.replicate(odd, mesh)
_, measured = distill.make_epoch(config, net, evaluation, mesh)(states, odd)
online = rl2.Config(epochs=1, updates_per_epoch=3, trials=16, minibatches=2,
                    episodes=2)
states = sharding.replicate(jax.vmap(
    lambda key: rl2.init(online, net, tasks, key))(
        jax.random.split(jax.random.key(3), 1)), mesh)
_, lived = rl2.make_epoch(online, net, tasks, evaluation, mesh)(states)
# Two seeds on all devices, laid over them in one way and another.
by_layout = {}
init = jax.jit(jax.vmap(lambda key: distill.init(config, net, odd, key)))
keys = jax.random.split(jax.random.key(1), 2)
sequences = jax.jit(in_context.inputs_of)(odd), odd.action
for seeds in (1, 2) if devices == 4 else ():
  layout = sharding.mesh(4, seeds)
  losses = jax.jit(lambda states, sequences: sharding.over_seeds(
      lambda state: jax.lax.scan(lambda state, _: distill.update(
          config, net, state, sequences, layout), state, None, 20)[1]['loss'],
      layout)(states))
  by_layout[seeds] = losses(
      sharding.put(init(keys), sharding.by_seed(layout)),
      sharding.replicate(sequences, layout)).tolist()
updating = jax.jit(lambda state, sequences: distill.update(
    config, net, state, sequences, mesh)).lower(*sharding.replicate(
        (jax.tree.map(lambda x: x[0], init(keys)), sequences), mesh)
    ).compile().as_text()
words = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute',
         'reduce-scatter')

def laid(text):
  """Where rows of a batch of eight are."""
  over = sharding.parse(text)
  x = np.arange(2 * 3 * 8 * 5).reshape(2, 3, 8, 5)
  put = sharding.put_batches({'x': x}, 8, over)['x']
  return {'part': sharding.batch_part(8, over),
          'each': [shard.data.shape for shard in put.addressable_shards],
          'same': bool((sharding.fetch(put) == x).all())}

json.dump({
    'laid': {text: laid(text) for text in
             ('data:1', 'data:2', 'data:4', 'seed:2,data:2')},
    'layouts': by_layout,
    'update': [word for word in words if word in updating],
    'odd': [np.asarray(x).tolist() for x in odd],
    'even': [np.asarray(x).tolist() for x in even],
    'devices': len(even.action.sharding.device_set),
    'split': not even.action.is_fully_replicated,
    'collectives': [word for word in words if word in program],
    'online': lived['loss'][0].tolist(),
    'losses': measured['loss'][0].tolist(),
    'returns': np.asarray(measured['returns']['validation']).tolist(),
}, sys.stdout)
'''


@pytest.fixture(scope='module')
def found():
  flags = os.environ.get('XLA_FLAGS', '')
  env = os.environ | {
      'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count=4',
      'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)}
  return {n: json.loads(subprocess.run(
      [sys.executable, '-c', PROGRAM, str(n)], env=env, check=True,
      capture_output=True, text=True).stdout) for n in (1, 4)}


@pytest.mark.parametrize('name', ['odd', 'even'])
def test_histories_are_the_same_bit_for_bit(found, name):
  assert found[1][name] == found[4][name]


def test_trials_lived_on_four_devices_teach_the_same(found):
  assert found[4]['online'] == pytest.approx(found[1]['online'], abs=1e-5)


def test_learners_are_spread_without_a_word_between_devices(found):
  assert found[4]['devices'] == 4 and found[4]['split']
  assert found[1]['devices'] == 1
  assert found[4]['collectives'] == []


def test_an_update_communicates_by_sums_alone(found):
  assert found[4]['update'] == ['all-reduce'] and found[1]['update'] == []


def test_seeds_may_be_laid_over_devices_too(found):
  data, both = (np.array(found[4]['layouts'][seeds]) for seeds in '12')
  assert data.shape == both.shape == (2, 20)
  np.testing.assert_allclose(both, data, atol=1e-5)


def test_each_device_has_its_rows_of_a_batch(found):
  for text, number, each in (
      ('data:1', 1, [2, 3, 8, 5]), ('data:2', 2, [2, 3, 4, 5]),
      ('data:4', 4, [2, 3, 2, 5]), ('seed:2,data:2', 4, [1, 3, 4, 5])):
    # One process has all devices, so it needs all rows.
    assert found[4]['laid'][text] == {
        'part': [0, 8], 'each': [each] * number, 'same': True}


@pytest.mark.parametrize('text', [
    '', 'data', 'data:', 'data:0', 'data:x', 'data:1,data:1', 'seed:1',
    'data:-1', 'model:1', 'data:99999999'])
def test_a_mesh_that_is_none_is_refused(text):
  with pytest.raises(ValueError, match=r'--mesh=.*: must look like data:8'):
    sharding.parse(text)


def test_a_mesh_over_more_devices_than_there_are_is_refused():
  with pytest.raises(ValueError, match=r'--mesh=seed:2,data:4: .* at most 1 '):
    sharding.parse('seed:2,data:4')
  assert sharding.parse('data:1').size == 1


def test_losses_agree(found):
  assert len(found[1]['losses']) == 50
  assert found[4]['losses'] == pytest.approx(found[1]['losses'], abs=1e-5)


def test_learning_in_context_agrees(found):
  assert found[4]['returns'] == found[1]['returns']
