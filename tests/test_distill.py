"""The training loop: its loss, its updates, and what one epoch promises."""

import dataclasses
import functools
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adjax import distill
from adjax import histories
from adjax import in_context
from adjax import metrics
from adjax import transformer
from adjax.envs import dark_room
from adjax.learners import references
from tests import toys

TASKS = dark_room.tasks(dark_room.Config(
    size=5, episode_length=8, num_train=11, num_validation=3, num_held_out=3))
MODEL = transformer.Transformer(
    transformer.Config(layers=1, width=16, heads=2, window=16, feed_forward=32),
    TASKS.env)
CONFIG = distill.Config(
    epochs=2, updates_per_epoch=6, batch_size=4, length=24, warmup=2)


@pytest.fixture(scope='module')
def history():
  return histories.streams(histories.generate(
      references.oracle(TASKS), TASKS.train, jax.random.key(0), 2, 40))


def evaluation():
  return distill.Evaluation(
      TASKS.env, {'validation': TASKS.validation, 'train': TASKS.train},
      jax.random.key(9), 2, 3, 8)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def init(history, seeds=2, config=CONFIG, model=MODEL):
  return jax.vmap(lambda key: distill.init(config, model, history, key))(
      jax.random.split(jax.random.key(1), seeds))


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_loss_is_the_mean_cross_entropy_at_every_position(history, smoothing):
  model = MODEL.clone(config=dataclasses.replace(
      MODEL.config, dropout=0.0, input_masking=0.0))
  params = jax.tree.map(
      lambda x: x[0] + 0.3 * jax.random.normal(jax.random.key(2), x[0].shape),
      init(history).params)
  inputs = in_context.inputs_of(history)
  found = distill.loss(params, model, inputs, history.action,
                       jax.random.key(0), smoothing)
  logits = np.asarray(jax.vmap(
      lambda x: model.apply(params, x))(inputs), np.float64)
  logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  target = np.eye(5)[np.asarray(history.action)] * (1 - smoothing)
  target += smoothing / 5
  assert float(found) == pytest.approx(-(target * logp).sum(-1).mean(), 1e-5)
  assert np.ptp(logits, -1).mean() > 0.1  # Else any logits would do.


def test_a_fresh_model_knows_nothing(history):
  state = jax.tree.map(lambda x: x[0], init(history))
  loss = distill.loss(state.params, MODEL, in_context.inputs_of(history),
                      history.action, jax.random.key(0))
  assert float(loss) == pytest.approx(np.log(5), abs=1e-5)


def test_the_schedule_rises_to_its_peak_and_falls_to_nothing(history):
  """Adam's first steps are the learning rate long, whatever the gradient."""
  config = distill.Config(epochs=1, updates_per_epoch=100, warmup=10,
                          learning_rate=0.1, weight_decay=0.0, clip=1e9)
  transform = distill.optimizer(config)
  params = {'w': jnp.zeros((2, 2))}
  state, steps = transform.init(params), []
  for _ in range(101):
    change, state = transform.update({'w': jnp.ones((2, 2))}, state, params)
    steps.append(-float(change['w'][0, 0]))
  assert steps[0] == 0 and steps[5] == pytest.approx(0.05, rel=1e-3)
  assert max(steps) == pytest.approx(0.1, rel=1e-3) and np.argmax(steps) == 10
  assert steps[100] == pytest.approx(0, abs=1e-6)


def test_weight_decay_leaves_vectors_alone():
  config = distill.Config(weight_decay=0.5, warmup=0)
  params = {'matrix': jnp.ones((2, 2)), 'vector': jnp.ones(2)}
  transform = distill.optimizer(config)
  change, _ = transform.update(
      jax.tree.map(jnp.zeros_like, params), transform.init(params), params)
  assert (change['matrix'] < 0).all() and not change['vector'].any()


def test_one_trace_serves_every_epoch(history):
  chex.clear_trace_counter()
  made = distill.make_epoch(CONFIG, MODEL, evaluation())
  traced = jax.jit(chex.assert_max_traces(n=1)(made.__wrapped__))
  states = init(history)
  for _ in range(3):
    states, _ = traced(states, history)


def test_an_epoch_returns_curves_of_its_last_weights(history):
  epoch = distill.make_epoch(CONFIG, MODEL, evaluation())
  states, measured = epoch(init(history), history)
  chex.assert_shape(measured['loss'], (2, 6))
  chex.assert_shape(measured['returns']['validation'], (2, 3, 2, 3))
  chex.assert_shape(measured['returns']['train'], (2, 11, 2, 3))
  life = distill.evaluate(
      TASKS.env, MODEL, jax.tree.map(lambda x: x[1], states.params),
      TASKS.validation, jax.random.key(9), 2, 24)
  np.testing.assert_array_equal(
      metrics.learning_curves(life.reward, life.done, 3),
      measured['returns']['validation'][1])
  np.testing.assert_array_equal(states.step, [6, 6])


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_seeds_together_are_seeds_alone(history, monkeypatch, backend):
  """In a row, as on a CPU, and vmapped, as on accelerators."""
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  epoch = distill.make_epoch(CONFIG, MODEL, evaluation())
  _, both = epoch(init(history), history)
  second = jax.tree.map(lambda x: x[1:], init(history))
  _, alone = epoch(second, history)
  np.testing.assert_allclose(both['loss'][1], alone['loss'][0], atol=1e-5)
  np.testing.assert_array_equal(
      both['returns']['train'][1], alone['returns']['train'][0])
  assert np.abs(both['loss'][0] - both['loss'][1]).max() > 1e-3


def test_states_are_donated(history):
  states = init(history)
  distill.make_epoch(CONFIG, MODEL, evaluation())(states, history)
  assert all(x.is_deleted() for x in jax.tree.leaves(states.params))


def test_training_teaches_the_demonstrator(history):
  """The oracle goes to the goal; told by one reward, so can the model."""
  config = distill.Config(
      epochs=1, updates_per_epoch=300, batch_size=16, length=40, warmup=20,
      learning_rate=5e-3)
  states, measured = distill.make_epoch(config, MODEL, evaluation())(
      init(history, 1, config), history)
  losses = measured['loss'][0]
  assert losses[:5].mean() > 1.0 and losses[-20:].mean() < 0.6
  assert optax.global_norm(states.params) < 100


def assert_equal(a, b):
  plain = lambda x: jax.random.key_data(x) if jnp.issubdtype(
      x.dtype, jax.dtypes.prng_key) else x
  jax.tree.map(
      lambda x, y: np.testing.assert_array_equal(plain(x), plain(y)), a, b)


WEIGHTS = {'matrix': jnp.full((2, 2), 3.0), 'vector': jnp.array([-1.0, 0.5])}
GRADIENT = jax.tree.map(lambda x: 0.1 * x, WEIGHTS)
ADAM = distill.adamw(distill.Config(), lambda step: 0.1)


def spoil(number):
  """The gradient with one number in it."""
  return GRADIENT | {'vector': jnp.array([0.1, number])}


def begin(transform):
  """A state that has taken one good step."""
  return distill.descend(
      transform, distill.TrainState(
          WEIGHTS, transform.init(WEIGHTS), jnp.int32(7), jnp.int32(0),
          jax.random.key(3)), jnp.float32(1), GRADIENT)[0]


@pytest.mark.parametrize('transform, value, gradient', [
    *((ADAM, bad, GRADIENT) for bad in (np.nan, np.inf, -np.inf)),
    *((ADAM, 1.0, spoil(bad)) for bad in (np.nan, np.inf, -np.inf)),
    (ADAM, np.nan, spoil(np.nan)),
    # These are finite, but what they lead to is not.
    (optax.sgd(1e30, momentum=0.9), 1.0, spoil(1e15)),
    (distill.adamw(distill.Config(), lambda step: 3e38), 1.0, GRADIENT)])
def test_a_step_out_of_finite_numbers_changes_nothing(
    transform, value, gradient):
  before = begin(ADAM)._replace(opt_state=transform.init(WEIGHTS))
  after, skip = jax.jit(lambda *args: distill.descend(transform, *args))(
      before, jnp.float32(value), gradient)
  assert bool(skip) and int(after.skipped) == 1
  assert_equal(after._replace(skipped=before.skipped), before)


def test_a_good_step_is_the_optimizers_own():
  before = begin(ADAM)._replace(skipped=jnp.int32(distill.PATIENCE - 1))
  after, skip = distill.descend(ADAM, before, jnp.float32(1), GRADIENT)
  changes, opt_state = ADAM.update(GRADIENT, before.opt_state, before.params)
  assert not skip
  assert_equal(after, before._replace(
      params=optax.apply_updates(before.params, changes), opt_state=opt_state,
      skipped=jnp.int32(0)))


def test_skipped_steps_are_counted_in_a_row_and_end_a_seed():
  descend = jax.jit(lambda state, value: distill.descend(
      ADAM, state, value, GRADIENT))
  state, patience = begin(ADAM), distill.PATIENCE
  pattern = [1, 1, 0, 1, 0, 0, *[1] * (patience - 1), 0, *[1] * patience, 0, 0]
  in_a_row = [1, 2, 0, 1, 0, 0, *range(1, patience), 0,
              *range(1, patience + 3)]  # The last two were fine, but too late.
  for bad, count in zip(pattern, in_a_row, strict=True):
    before = state
    state, skip = descend(state, jnp.float32(np.nan if bad else 1))
    assert int(state.skipped) == count and bool(skip) == (count > 0)
    if skip:
      assert_equal(state._replace(skipped=before.skipped), before)
    else:
      assert (state.params['matrix'] != before.params['matrix']).all()


@pytest.fixture
def no_curves(monkeypatch):
  """Leaves out of an epoch what would be compiled and not looked at."""
  monkeypatch.setattr(distill, 'curves', lambda *args: {})


TINY = toys.tiny(TASKS.env)


def begin_tiny(history):
  return init(history, 2, CONFIG, TINY)


def one_of(tree, seed):
  return jax.tree.map(lambda x: x[seed], tree)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_a_sick_seed_stays_as_it_was_and_does_not_touch_the_other(
    history, monkeypatch, no_curves, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  monkeypatch.setattr(distill, 'loss', toys.poison(distill.loss))
  monkeypatch.setattr(distill, 'PATIENCE', 5)
  epoch = distill.make_epoch(CONFIG, TINY, None)
  healthy = begin_tiny(history)
  before = one_of(healthy._replace(params=toys.mark(healthy.params)), 0)
  undisturbed, expected = epoch(healthy, history)
  sick = begin_tiny(history)
  states, measured = epoch(
      sick._replace(params=toys.mark(sick.params)), history)
  assert_equal(one_of(states, 1), one_of(undisturbed, 1))
  assert_equal(one_of(measured, 1), one_of(expected, 1))
  sick = one_of(states, 0)
  assert_equal(sick.params, before.params)
  assert_equal(sick.opt_state, before.opt_state)
  assert_equal(sick.key, undisturbed.key[0])
  np.testing.assert_array_equal(states.step, [6, 6])
  np.testing.assert_array_equal(states.skipped, [6, 0])
  np.testing.assert_array_equal(measured['skipped'], [[True] * 6, [False] * 6])
  np.testing.assert_array_equal(
      np.isfinite(measured['loss']), [[False] * 6, [True] * 6])
  # These were too many in a row, also for weights of which the loss is fine.
  states, measured = epoch(
      states._replace(params=begin_tiny(history).params), history)
  assert np.isfinite(measured['loss']).all()
  assert measured['skipped'][0].all() and not measured['skipped'][1].any()
  assert_equal(one_of(states.params, 0), one_of(begin_tiny(history).params, 0))
  np.testing.assert_array_equal(states.skipped, [12, 0])


def assert_trained_alike(some, others):
  """States and metrics of two programs, which may round the last bit apart."""
  exact = lambda states, _: (states.key, states.step, states.skipped)
  close = lambda states, measured: (
      states.params, measured['loss'], measured['gradient_norm'])
  assert_equal(exact(*some), exact(*others))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-5, atol=1e-6), close(*some), close(*others))


@functools.cache
def epoch_of(config):
  return distill.make_epoch(config, TINY, None)


@pytest.mark.parametrize('length', [24, 40])
def test_pieces_cut_elsewhere_are_trained_on_alike(history, no_curves, length):
  """Down to pieces that are a whole history, and those at its beginning."""
  config = dataclasses.replace(CONFIG, length=length)
  begin = begin_tiny(history)
  streams, starts = map(np.asarray, distill.make_places(
      config, *history.done.shape)(begin.key))
  assert streams.shape == starts.shape == (2, 6, 4)
  assert (starts == 0).any() and starts.max() <= 40 - length
  assert (starts > 0).any() == (length < 40)
  # Before a beginning is the end of its stream, which must not matter.
  time = starts[..., None] - 1 + np.arange(length + 1)
  rows = jax.tree.map(
      lambda x: np.asarray(x)[streams[..., None], time], history)
  wanted, expected = epoch_of(config)(begin_tiny(history), history)
  states, measured = distill.make_updates(config, TINY)(
      begin, rows, starts.astype(np.int32))
  assert_trained_alike((states, measured), (wanted, expected))


def sick_oracle():
  """The oracle; of the training task 3 it is paid NaN."""
  oracle = references.oracle(TASKS)

  def step(task, state, chance):
    state, seen = oracle.step(task, state, chance)
    ill = (task.goals == TASKS.train.goals[3]).all()
    return state, seen._replace(reward=jnp.where(ill, jnp.nan, seen.reward))

  return oracle._replace(step=step)


def test_histories_are_made_anew_when_asked_and_carried_over_otherwise(
    history, no_curves):
  make = histories.endless(sick_oracle(), TASKS, 2, 5, 1, 0)
  endless = distill.make_endless_epoch(CONFIG, TINY, None, make)
  make = jax.jit(make)
  one, other = (make(jax.random.key(seed)) for seed in (4, 5))
  assert (one.history.action != other.history.action).any()
  np.testing.assert_array_equal(np.flatnonzero(one.sick), [6, 7])
  states, wanted = begin_tiny(history), begin_tiny(history)
  fresh = jax.tree.map(jnp.zeros_like, one)
  for key, renew, made in ((4, True, one), (6, False, one), (5, True, other)):
    states, fresh, measured = endless(
        states, fresh, jax.random.key(key), renew)
    assert_equal(fresh, made)
    wanted, expected = epoch_of(CONFIG)(wanted, made.history)
    assert_trained_alike((states, measured), (wanted, expected))
    assert np.isfinite(measured['loss']).all()


def test_what_comes_after_the_steps_of_histories_is_not_trained_on(
    history, no_curves):
  endless = distill.make_endless_epoch(
      CONFIG, TINY, None, lambda key: histories.Fresh(
          history, jnp.int32(40), jnp.zeros(22, bool)))

  def train(reward, steps):
    some = jax.tree.map(jnp.copy, history)._replace(reward=jnp.array(reward))
    return endless(
        begin_tiny(history),
        histories.Fresh(some, jnp.int32(steps), jnp.zeros(22, bool)),
        jax.random.key(0), False)[2]['loss']

  reward = np.array(history.reward)
  wanted = train(reward, 30)
  reward[:, 30:] = np.nan
  np.testing.assert_array_equal(train(reward, 30), wanted)
  assert np.isfinite(wanted).all() and np.isnan(train(reward, 40)).any()


def test_a_batch_that_does_not_divide_is_named():
  four = mock.Mock(shape={'data': 4})
  with pytest.raises(ValueError, match=r'batch_size=6: .* 4 devices'):
    distill.check_devices(distill.Config(batch_size=6), four)


@pytest.mark.parametrize('field, value', [
    ('epochs', 0), ('learning_rate', 0.0), ('b2', 1.0), ('warmup', -1)])
def test_a_bad_config_is_named(field, value):
  with pytest.raises(ValueError, match=rf'distill\.{field}={value}: must be'):
    distill.Config(**{field: value})
