"""The training loop: its loss, its updates, and what one epoch promises."""

import dataclasses
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


def init(history, seeds=2, config=CONFIG):
  return jax.vmap(lambda key: distill.init(config, MODEL, history, key))(
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


def test_a_batch_that_does_not_divide_is_named():
  four = mock.Mock(shape={'data': 4})
  with pytest.raises(ValueError, match=r'batch_size=6: .* 4 devices'):
    distill.check_devices(distill.Config(batch_size=6), four)


@pytest.mark.parametrize('field, value', [
    ('epochs', 0), ('learning_rate', 0.0), ('b2', 1.0), ('warmup', -1)])
def test_a_bad_config_is_named(field, value):
  with pytest.raises(ValueError, match=rf'distill\.{field}={value}: must be'):
    distill.Config(**{field: value})
