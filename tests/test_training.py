"""The loop around every method: epochs, evaluations, numbers out of range."""

import contextlib
import functools
import types as python_types
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adjax import histories
from adjax import metrics
from adjax import types
from adjax.envs import dark_room
from adjax.experiment import clock as clock_lib
from adjax.experiment import data as data_lib
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import references
from adjax.methods import distill
from adjax.methods import training
from adjax.models import in_context
from adjax.models import lstm
from adjax.models import transformer
from tests import tiny

TASKS = dark_room.tasks(dark_room.Config(
    size=5, episode_length=8, num_train=11, num_validation=3, num_held_out=3))
MODEL = tiny.null_model(TASKS.env)
SOURCE = references.random(TASKS)


class Data:
  selected_episodes = 5
  starts = 'uniform'


TRAINER = distill.Config(
    epochs=2, updates_per_epoch=6, batch_size=4, length=24, warmup=2
).make(TASKS, SOURCE, MODEL, Data())
EVALUATION = training.Evaluation(
    {'validation': TASKS.validation, 'train': TASKS.train}, jax.random.key(9),
    num_runs=2, num_episodes=3, episode_length=8)


def assert_equal(a, b):
  plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(
      x.dtype, jax.dtypes.prng_key) else x
  jax.tree.map(
      lambda x, y: np.testing.assert_array_equal(plain(x), plain(y)), a, b)


def take(tree, index):
  return jax.tree.map(lambda x: x[index], tree)


@pytest.fixture(scope='module')
def selected():
  """All steps of two histories on every training task."""
  return jax.jit(lambda key: histories.select(
      *histories.streams(histories.generate(SOURCE, TASKS.train, key, 2, 40)),
      1, 0, 40))(jax.random.key(0))


@pytest.fixture(scope='module')
def states():
  """Of two seeds, before the first epoch."""
  return jax.jit(jax.vmap(TRAINER.init))(
      jax.random.split(jax.random.key(1), 2))


@functools.cache
def epoch_on(backend):
  """An epoch with its evaluation, traced as on that backend.

  Where seeds are vmapped, the loss of marked weights is NaN, and five updates
  skipped in a row are too many.
  """
  def epoch(states, selected):
    with contextlib.ExitStack() as patches:
      patch = lambda *args: patches.enter_context(mock.patch.object(*args))
      patch(jax, 'default_backend', lambda: backend)
      if backend == 'gpu':
        patch(distill, 'loss', tiny.poison(distill.loss))
        patch(training, 'MAX_SKIPPED', 5)
      return training.epoch(TRAINER, EVALUATION, states, selected)
  return jax.jit(epoch)


EPOCH = epoch_on('cpu')


def test_an_epoch_returns_curves_of_its_last_weights(selected, states):
  after, measured = EPOCH(states, selected)
  chex.assert_shape(measured['loss'], (2, 6))
  chex.assert_shape(measured['returns']['validation'], (2, 3, 2, 3))
  chex.assert_shape(measured['returns']['train'], (2, 11, 2, 3))
  np.testing.assert_array_equal(after.step, [6, 6])
  # Sets of tasks go in one loop, in which each is what it would be alone.
  alone = jax.jit(lambda params: histories.run(
      in_context.in_context(TASKS.env, MODEL, params),
      *histories.repeat(TASKS.validation, jax.random.key(9), 2), 24)[0])(
          take(after.params, 1))
  np.testing.assert_array_equal(
      metrics.learning_curves(alone.reward, alone.done, 3),
      measured['returns']['validation'][1])


def test_sets_of_tasks_are_told_apart():
  sets = EVALUATION.tasks | {'held_out': TASKS.held_out}
  tasks, split = training.merge_task_sets(sets)
  assert types.num_tasks(tasks) == 17
  assert_equal(split(tasks), sets)
  # Of whatever there is one for each task.
  assert {name: list(index) for name, index in split(np.arange(17)).items()
          } == {'validation': [0, 1, 2], 'train': list(range(3, 14)),
                'held_out': [14, 15, 16]}


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_a_seed_is_what_it_is_whatever_the_others_are(
    selected, states, backend):
  """In a row, as on a CPU, and vmapped, as on accelerators."""
  _, both = epoch_on(backend)(states, selected)
  _, twice = epoch_on(backend)(take(states, np.array([1, 1])), selected)
  _, in_a_row = EPOCH(states, selected)
  np.testing.assert_array_equal(both['loss'][1], twice['loss'][0])
  np.testing.assert_allclose(both['loss'], in_a_row['loss'], atol=1e-5)
  for name, curves in both['returns'].items():
    np.testing.assert_array_equal(curves[1], twice['returns'][name][0])
    np.testing.assert_array_equal(curves, in_a_row['returns'][name])
  assert np.abs(both['loss'][0] - both['loss'][1]).max() > 1e-3


UPDATES = jax.jit(functools.partial(training.updates, TRAINER))


@jax.jit
def all_subsequences(keys, num_streams, steps):
  return training.all_subsequences(TRAINER, keys, num_streams, steps)


def assert_trained_alike(some, others):
  """States and metrics of two programs, which may round the last bit apart."""
  exact = lambda states, _: (states.key, states.step, states.skipped)
  close = lambda states, measured: (
      states.params, measured['loss'], measured['gradient_norm'])
  assert_equal(exact(*some), exact(*others))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-5, atol=1e-6), close(*some), close(*others))


# Of a whole history, too.
@pytest.mark.parametrize('steps', [24, 40])
def test_batches_gathered_elsewhere_are_trained_on_alike(
    selected, states, steps):
  streams, starts = map(np.asarray, all_subsequences(states.key, 22, steps))
  assert streams.shape == starts.shape == (2, 6, 4)
  assert (starts == 0).any() and starts.max() <= steps - 24
  assert (starts > 0).any() == (steps > 24)
  # What stands before a beginning is the end of its stream, which must not
  # matter.
  time = starts[..., None] - 1 + np.arange(25)
  rows = jax.tree.map(
      lambda x: np.asarray(x)[streams[..., None], time], selected.history)
  assert_trained_alike(
      UPDATES(states, histories.Batch(rows, starts == 0)),
      EPOCH(states, selected._replace(steps=jnp.int32(steps))))


def test_what_comes_after_steps_and_streams_is_not_trained_on(
    selected, states):
  def losses(reward, steps, num_streams):
    some = histories.Selected(
        selected.history._replace(reward=reward), jnp.int32(steps),
        jnp.int32(num_streams))
    return EPOCH(states, some)[1]['loss']

  reward = np.array(selected.history.reward)
  wanted = losses(reward, 30, 20)
  reward[:, 30:] = reward[20:] = np.nan
  np.testing.assert_array_equal(losses(reward, 30, 20), wanted)
  assert np.isfinite(wanted).all()
  # Both are all that keeps it out.
  assert np.isnan(losses(reward, 40, 20)).any()
  assert np.isnan(losses(reward, 30, 22)).any()


WEIGHTS = {'matrix': np.full((2, 2), 3, np.float32),
           'vector': np.array([-1, 0.5], np.float32)}
GRADIENT = jax.tree.map(lambda x: np.float32(0.1) * x, WEIGHTS)


def optimizer_of(name, learning_rate, weight_decay=0.5):
  return training.optimizer(name, lambda step: learning_rate, 1.0, 0.9, 0.98,
                            weight_decay)


ADAMW, MUON = optimizer_of('adamw', 0.1), optimizer_of('muon', 0.1)


def with_number(number):
  """The gradient with one number in it."""
  return GRADIENT | {'vector': np.array([0.1, number], np.float32)}


@functools.cache
def step_of(optimizer):
  return jax.jit(functools.partial(training.apply_gradient, optimizer))


@functools.cache
def first_state():
  """A state that has taken one finite step."""
  return step_of(ADAMW)(
      training.TrainState(
          WEIGHTS, ADAMW.init(WEIGHTS), jnp.int32(7), jnp.int32(0),
          jax.random.key(3)), jnp.float32(1), GRADIENT)[0]


@pytest.mark.parametrize('config, hidden', [
    (transformer.Config(layers=2, width=8), {
        f'blocks_{i}/{name}/kernel' for i in range(2)
        for name in ('qkv', 'out', 'up', 'down')}),
    (lstm.Config(width=8), {
        'layers_0/Dense_0/kernel', 'layers_0/recurrent'})])
def test_muon_is_given_what_lies_between_embedding_and_heads(config, hidden):
  tasks = dark_room.tasks(dark_room.DARK_ROOM)
  model = config.make(tasks.env)
  params = jax.eval_shape(
      lambda key: model.init(key, training.example_inputs(model, tasks)),
      jax.random.key(0))
  state = jax.eval_shape(MUON.init, params)
  given = {'/'.join(str(key.key) for key in path if hasattr(key, 'key'))
           for path, x in jax.tree_util.tree_leaves_with_path(
               state[1].inner_states['muon']) if x.ndim == 2}
  assert given == {f'muon/params/{name}' for name in hidden}


@pytest.mark.parametrize('optimizer', [ADAMW, MUON])
def test_weight_decay_spares_vectors(optimizer):
  change, _ = jax.jit(optimizer.update)(
      jax.tree.map(np.zeros_like, WEIGHTS), optimizer.init(WEIGHTS), WEIGHTS)
  np.testing.assert_allclose(change['matrix'], -0.1 * 0.5 * WEIGHTS['matrix'])
  assert not change['vector'].any()


def test_muon_is_for_matrices_between_embedding_and_head():
  """There it turns all singular values to about one, times the learning rate.
  """
  rng = np.random.default_rng(0)
  outer = {name: {'kernel': rng.normal(size=(6, 4))}
           for name in ('embedding', 'head', 'value_head')}
  params = {'params': outer | {'blocks_0': {'up': {
      'kernel': rng.normal(size=(4, 9)), 'bias': rng.normal(size=9)}}}}
  gradient = jax.tree.map(lambda x: rng.normal(size=x.shape), params)
  changes = [jax.jit(x.update)(gradient, x.init(params), params)[0]['params']
             for x in (optimizer_of(name, 0.1, 0.0)
                       for name in ('adamw', 'muon'))]
  hidden = [np.array(x.pop('blocks_0')['up'].pop('kernel')) for x in changes]
  jax.tree.map(np.testing.assert_array_equal, *changes)
  values = np.linalg.svd(hidden[1], compute_uv=False) / (0.1 * np.sqrt(9))
  assert (values > 0.6).all() and (values < 1.3).all()
  assert np.sqrt((hidden[1]**2).mean()) == pytest.approx(0.1, rel=0.3)
  given = gradient['params']['blocks_0']['up']['kernel']
  left, _, right = np.linalg.svd(given, full_matrices=False)
  # Down the gradient, in its own directions.
  turned = left.T @ hidden[1] @ right.T
  np.testing.assert_allclose(turned, np.diag(np.diag(turned)), atol=1e-4)
  assert (np.diag(turned) < 0).all()


SGD, TOO_FAST = optax.sgd(1e30, momentum=0.9), optimizer_of('adamw', 3e38)


@pytest.mark.parametrize('optimizer, value, gradient', [
    *((ADAMW, number, GRADIENT) for number in (np.nan, np.inf, -np.inf)),
    *((ADAMW, 1.0, with_number(x)) for x in (np.nan, np.inf, -np.inf)),
    *((MUON, 1.0, with_number(x)) for x in (np.nan, np.inf)),
    (ADAMW, np.nan, with_number(np.nan)),
    # These are finite, but what they lead to is not.
    (SGD, 1.0, with_number(1e15)), (TOO_FAST, 1.0, GRADIENT)])
def test_a_step_out_of_finite_numbers_changes_nothing(
    optimizer, value, gradient):
  before = first_state()._replace(opt_state=optimizer.init(WEIGHTS))
  after, skip = step_of(optimizer)(before, jnp.float32(value), gradient)
  assert bool(skip) and int(after.skipped) == 1
  assert_equal(after._replace(skipped=before.skipped), before)


def test_a_finite_step_is_the_optimizers_own():
  before = first_state()._replace(
      skipped=jnp.int32(training.MAX_SKIPPED - 1))
  after, skip = step_of(ADAMW)(before, jnp.float32(1), GRADIENT)
  changes, opt_state = jax.jit(ADAMW.update)(
      GRADIENT, before.opt_state, before.params)
  assert not skip
  assert_equal(after._replace(params=None), before._replace(
      params=None, opt_state=opt_state, skipped=jnp.int32(0)))
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6),
               after.params, jax.tree.map(np.add, before.params, changes))


def test_skipped_steps_are_counted_in_a_row_and_end_a_seed():
  state, most = first_state(), training.MAX_SKIPPED
  pattern = [1, 1, 0, 1, 0, 0, *[1] * (most - 1), 0, *[1] * most, 0, 0]
  in_a_row = [1, 2, 0, 1, 0, 0, *range(1, most), 0,
              *range(1, most + 3)]  # The last two were finite, but too late.
  for is_nan, count in zip(pattern, in_a_row, strict=True):
    before = state
    state, skip = step_of(ADAMW)(
        state, jnp.float32(np.nan if is_nan else 1), GRADIENT)
    assert int(state.skipped) == count and bool(skip) == (count > 0)
    if skip:
      assert_equal(state._replace(skipped=before.skipped), before)
    else:
      assert (state.params['matrix'] != before.params['matrix']).all()


def test_a_diverged_seed_stays_as_it_was_and_does_not_touch_the_other(
    selected, states):
  """Where seeds are vmapped; in a row they have less to do with each other."""
  epoch = epoch_on('gpu')
  marked = states._replace(params=tiny.mark(states.params))
  undisturbed, expected = epoch(states, selected)
  after, measured = epoch(marked, selected)
  assert_equal(take(after, 1), take(undisturbed, 1))
  assert_equal(take(measured, 1), take(expected, 1))
  for name in ('params', 'opt_state'):
    assert_equal(take(getattr(after, name), 0), take(getattr(marked, name), 0))
  assert_equal(after.key, undisturbed.key)
  np.testing.assert_array_equal(after.step, [6, 6])
  np.testing.assert_array_equal(after.skipped, [6, 0])
  np.testing.assert_array_equal(measured['skipped'], [[True] * 6, [False] * 6])
  np.testing.assert_array_equal(
      np.isfinite(measured['loss']), [[False] * 6, [True] * 6])
  # These were too many in a row, also for weights of which the loss is finite.
  after, measured = epoch(after._replace(params=states.params), selected)
  assert np.isfinite(measured['loss']).all()
  assert measured['skipped'][0].all() and not measured['skipped'][1].any()
  assert_equal(take(after.params, 0), take(states.params, 0))
  np.testing.assert_array_equal(after.skipped, [12, 0])


def diverging_source():
  """A random walk; on training task 3 it is paid NaN."""
  def step(task, state, noise):
    state, transition = SOURCE.step(task, state, noise)
    diverges = (task.goals == TASKS.train.goals[3]).all()
    return state, transition._replace(
        reward=jnp.where(diverges, jnp.nan, transition.reward))
  return SOURCE._replace(step=step)


def test_histories_are_regenerated_when_asked_and_carried_over_otherwise(
    states, monkeypatch):
  monkeypatch.setattr(  # Which tells what it is given.
      training, 'epoch', lambda trainer, evaluation, states, selected:
      (states, selected))
  options = specification.Data(histories=2, episodes=5, regenerate_every=2)
  keys = setup_lib.Keys(*jax.random.split(jax.random.key(7), 5))
  setup = setup_lib.Setup(
      python_types.SimpleNamespace(
          data=options, evaluate=specification.Evaluate()),
      TASKS, diverging_source(), MODEL, TRAINER, keys, None)
  recorder = tiny.Recorder()
  data = data_lib.Regenerated(setup, clock_lib.Clock(), recorder)
  data.compile(states)
  data.begin()
  states = jax.tree.map(jnp.copy, states)  # They are donated.
  given = []
  for number in (1, 2, 3):
    states, selected = data.epoch(number, states)
    given.append(jax.tree.map(np.array, selected))
  first, second, third = given
  assert_equal(first, second)
  assert (second.history.action != third.history.action).any()
  # Those of learners that diverged come last and do not count.
  assert [selected.num_streams for selected in given] == [20, 20, 20]
  for selected in given:
    np.testing.assert_array_equal(
        np.isfinite(selected.history.reward).all(1), np.arange(22) < 20)
  assert [text for text in recorder.said if 'left out 2 source' in text]


def test_gradients_are_clipped_by_their_norm_over_all_weights():
  """After a small one, so that Adam can tell how large the next one is."""
  transform = training.optimizer(
      'adamw', lambda step: 0.1, 2.0, 0.9, 0.98, 0.0)
  params = {'matrix': jnp.ones((2, 2)), 'vector': jnp.ones(2)}
  unit = {'matrix': jnp.full((2, 2), 0.4), 'vector': jnp.array([0.6, 0.0])}

  def change(length):
    _, state = transform.update(
        jax.tree.map(lambda x: 0.1 * x, unit), transform.init(params), params)
    return transform.update(
        jax.tree.map(lambda x: length * x, unit), state, params)[0]

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
               change(2.0), change(50.0))
  assert abs(change(1.0)['matrix'] - change(2.0)['matrix']).min() > 1e-3
