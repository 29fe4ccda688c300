"""Four devices do what one does; one process alone agrees with itself."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import devices
from adjax import histories
from adjax.envs import dark_room
from adjax.experiment import clock as clock_lib
from adjax.experiment import setup as setup_lib
from adjax.learners import tabular_q
from adjax.methods import distill
from adjax.methods import rl2
from adjax.methods import training
from adjax.models import in_context
from adjax.models import transformer
from tests import tiny

pytestmark = pytest.mark.four_devices

TASKS = dark_room.tasks(dark_room.Config(
    size=5, num_train=13, num_validation=3, num_held_out=3))
MODEL = transformer.Transformer(
    transformer.Config(layers=1, width=16, heads=1, window=20, feed_forward=32),
    TASKS.env)
SOURCE = tabular_q.learner(tabular_q.Config(), TASKS)
COLLECTIVES = ('all-reduce', 'all-gather', 'all-to-all', 'collective-permute',
               'reduce-scatter')
LAYOUTS = ('data:1', 'data:4', 'seed:2,data:2')


@functools.cache
def mesh(text):
  made = devices.parse_mesh(text)
  return None if made.size == 1 else made


def collectives(program):
  text = program.as_text()
  return {word for word in COLLECTIVES if word in text}


def generate(tasks, key):
  history, finite = histories.run(
      SOURCE, *histories.repeat(tasks, key, 2), 60, devices.shard_over_all)
  return devices.evenly(histories.streams((history, finite)))


@functools.cache
def generated(layout, number):
  """Histories of 2 learners on so many tasks, and the program."""
  clock = clock_lib.Clock(mesh(layout))
  some = jax.tree.map(lambda x: x[:number], TASKS.train)
  program = clock.compile(generate, some, jax.random.key(0))
  return clock.run('generate', program, some, jax.random.key(0)), program


# 13 * 2 learners do not divide by four; 12 * 2 do.
@pytest.mark.parametrize('number', [13, 12])
@pytest.mark.parametrize('layout', LAYOUTS[1:])
def test_histories_are_the_same_bit_for_bit(layout, number):
  one, four = (devices.fetch(generated(x, number)[0])
               for x in ('data:1', layout))
  jax.tree.map(np.testing.assert_array_equal, one, four)


@pytest.mark.parametrize('layout', LAYOUTS[1:])
def test_learners_are_sharded_and_nothing_is_communicated(layout):
  (history, _), program = generated(layout, 12)
  assert len(history.action.sharding.device_set) == 4
  assert not history.action.is_fully_replicated
  assert collectives(program) == set()
  assert len(generated('data:1', 12)[0][0].action.sharding.device_set) == 1


DISTILL = distill.Config(
    epochs=1, updates_per_epoch=20, batch_size=8, length=30)
ONLINE = rl2.Config(
    epochs=1, updates_per_epoch=2, trials=8, passes=1, minibatches=2,
    episodes=2)


class Data:
  selected_episodes = 3
  starts = 'uniform'


@functools.cache
def epoch(method, layout):
  """Metrics of an epoch of two seeds, and the program."""
  trainer = method.make(TASKS, SOURCE, *(
      (MODEL, Data()) if method is DISTILL
      else (tiny.null_model(TASKS.env), None)))
  clock = clock_lib.Clock(mesh(layout))
  evaluation = training.Evaluation(
      {'validation': TASKS.validation}, jax.random.key(2), 2, 2, 20)
  shardings = devices.by_seed(clock.mesh)
  init = clock.compile(jax.vmap(trainer.init), jax.random.split(
      jax.random.key(1), 2), out_shardings=shardings)
  states = clock.run('train', init, jax.random.split(jax.random.key(1), 2))
  args = [states]
  if method is DISTILL:
    (history, finite), _ = generated('data:1', 13)
    select = clock.compile(
        functools.partial(histories.select, stride=1, last=0, bound=60),
        *devices.fetch((history, finite)),
        out_shardings=devices.replicated(clock.mesh))
    args.append(clock.run(
        'generate', select, *devices.fetch((history, finite))))
  program = clock.compile(
      functools.partial(training.epoch, trainer, evaluation), *args,
      out_shardings=(shardings, None))
  return devices.fetch(clock.run('train', program, *args)[1]), program


@pytest.mark.parametrize('method, layout', [
    (DISTILL, 'data:4'),
    pytest.param(ONLINE, 'data:4', marks=pytest.mark.long),
    pytest.param(DISTILL, 'seed:2,data:2', marks=pytest.mark.long)])
def test_training_and_learning_in_context_agree(method, layout):
  (one, alone), (four, program) = (
      epoch(method, x) for x in ('data:1', layout))
  np.testing.assert_allclose(one['loss'], four['loss'], atol=1e-5)
  np.testing.assert_array_equal(
      one['returns']['validation'], four['returns']['validation'])
  assert collectives(alone) == set() and 'all-reduce' in collectives(program)


def test_an_update_communicates_by_sums_alone():
  trainer = DISTILL.make(TASKS, SOURCE, tiny.null_model(TASKS.env), Data())
  (history, _), _ = generated('data:1', 12)
  batch = devices.fetch(histories.gather(
      history, jnp.zeros(8, int), jnp.arange(8), 30))
  state = jax.eval_shape(trainer.init, jax.random.key(0))
  program = clock_lib.Clock(mesh('data:4')).compile(
      trainer.update, state, batch,
      out_shardings=devices.replicated(mesh('data:4')))
  assert collectives(program) == {'all-reduce'}


def test_two_meshes_in_one_process_are_told_apart():
  run = jax.jit(lambda x: devices.shard(x) + devices.data_size())
  x = np.arange(8)
  for layout, number in (('data:4', 4), ('seed:2,data:2', 2), ('data:4', 4)):
    with devices.use(mesh(layout)):
      found = jax.block_until_ready(run(x))
    np.testing.assert_array_equal(devices.fetch(found), x + number)
    assert {shard.data.shape for shard in found.addressable_shards} == {
        (8 // number,)}
  np.testing.assert_array_equal(run(x), x + 1)


@pytest.mark.parametrize('text, number, each', [
    ('data:1', 1, (2, 3, 8, 5)), ('data:2', 2, (2, 3, 4, 5)),
    ('data:4', 4, (2, 3, 2, 5)), ('seed:2,data:2', 4, (1, 3, 4, 5))])
def test_each_device_has_its_rows_of_a_batch(text, number, each):
  made = devices.parse_mesh(text)
  x = np.arange(2 * 3 * 8 * 5).reshape(2, 3, 8, 5)
  placed = devices.place_batches({'x': x}, 8, made)['x']
  # One process has all devices, so it needs all rows.
  assert devices.batch_part(8, made) == (0, 8)
  assert [shard.data.shape for shard in placed.addressable_shards] == (
      [each] * number)
  np.testing.assert_array_equal(devices.fetch(placed), x)


@pytest.mark.parametrize('text', [
    '', 'data', 'data:', 'data:0', 'data:x', 'data:1,data:1', 'seed:1',
    'data:-1', 'model:1', 'data:99999999'])
def test_a_mesh_that_is_none_is_refused(text):
  with pytest.raises(ValueError, match=r'^mesh=.*: must be|must look like'):
    devices.parse_mesh(text)


def test_a_mesh_over_more_devices_than_there_are_is_refused():
  with pytest.raises(ValueError, match=r'^mesh=seed:2,data:4: .* at most 4 '):
    devices.parse_mesh('seed:2,data:4')
  assert devices.parse_mesh('data:1').size == 1


@pytest.mark.parametrize('mesh_text, assignments, message', [
    ('data:4', ['method.batch_size=6'], r'batches of 6 must .* 4 devices'),
    ('seed:2,data:2', ['seeds=3'], r'^seeds=3: must be a multiple of the 2'),
    ('data:8', [], r'^mesh=data:8: .* at most 4 devices')])
def test_what_does_not_divide_is_refused(mesh_text, assignments, message):
  with pytest.raises(ValueError, match=message):
    setup_lib.make(tiny.quick(*assignments), mesh_text)


def test_as_many_cores_are_used_as_divide_a_batch():
  for size, number in ((4, 4), (6, 2)):
    setup = setup_lib.make(tiny.quick(f'method.batch_size={size}'))
    assert devices.data_size(setup.mesh) == number
  assert setup_lib.make(tiny.quick('method.batch_size=3')).mesh is None


def test_accelerators_are_all_used_or_refused(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  with pytest.raises(ValueError, match=r'batches of 6 must .* 4 devices'):
    setup_lib.make(tiny.quick('method.batch_size=6'))


def test_inputs_made_on_any_device_are_those_of_one():
  (history, _), _ = generated('data:4', 12)
  fetched = devices.fetch(history)
  assert isinstance(fetched.obs, np.ndarray)
  inputs = in_context.inputs_of(jax.tree.map(jnp.asarray, fetched))
  np.testing.assert_array_equal(inputs.action[:, 1:], fetched.action[:, :-1])


def test_one_process_agrees_with_itself():
  assert devices.collectively(lambda: 'done') == 'done'
  assert devices.collectively(lambda: None) is None
  assert devices.largest(3) == 3 and devices.largest(-2) == -2
  assert devices.as_first([4, 5]) == [4, 5] and devices.as_first([]) == []
  with devices.barriers() as barrier:
    assert barrier('here') is None
  with pytest.raises(OSError, match='of its own'), devices.barriers():
    raise OSError('of its own')


def test_what_an_action_raised_is_raised():
  error = OSError('the disk is full')
  with pytest.raises(OSError) as raised:
    devices.collectively(mock.Mock(side_effect=error))
  assert raised.value is error


def test_an_interruption_is_not_held_back():
  with pytest.raises(KeyboardInterrupt):
    devices.collectively(mock.Mock(side_effect=KeyboardInterrupt))
