"""Algorithm Distillation: the loss is the textbook's, and it teaches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adjax import histories
from adjax import types
from adjax.envs import dark_room
from adjax.learners import references
from adjax.methods import distill
from adjax.methods import training
from adjax.models import in_context
from adjax.models import lstm
from adjax.models import transformer
from tests import tiny

TASKS = dark_room.tasks(dark_room.Config(
    size=5, episode_length=8, num_train=11, num_validation=3, num_held_out=3))
SOURCE = references.oracle(TASKS)
MODEL = tiny.NullModel(lstm.Config(width=8, dropout=0.0), TASKS.env)


class Data:
  selected_episodes = 5
  starts = 'uniform'


DATA = Data()


@pytest.fixture(scope='module')
def selected():
  """All steps of two histories on every training task."""
  return jax.jit(lambda key: histories.select(
      *histories.streams(histories.generate(SOURCE, TASKS.train, key, 2, 40)),
      1, 0, 40))(jax.random.key(0))


@pytest.fixture(scope='module')
def state():
  return jax.jit(functools.partial(
      distill.init, distill.Config(), MODEL, TASKS))(jax.random.key(1))


@functools.partial(jax.jit, static_argnames='smoothing')
def loss(params, history, smoothing):
  return distill.loss(params, MODEL, in_context.inputs_of(history),
                      history.action, jax.random.key(0), smoothing)


@pytest.mark.parametrize('smoothing', [0.0, 0.2])
def test_loss_is_the_mean_cross_entropy_at_every_position(
    selected, state, smoothing):
  history = selected.history
  rng = np.random.default_rng(2)
  params = jax.tree.map(
      lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32),
      state.params)
  found = loss(params, history, smoothing)
  logits = np.asarray(jax.jit(jax.vmap(lambda x: MODEL.apply(params, x)))(
      in_context.inputs_of(history)), np.float64)
  logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  target = np.eye(5)[np.asarray(history.action)] * (1 - smoothing)
  target += smoothing / 5
  assert float(found) == pytest.approx(-(target * logp).sum(-1).mean(), 1e-5)
  assert np.ptp(logits, -1).mean() > 0.1  # Else any logits would do.


def test_a_fresh_model_knows_nothing(selected, state):
  assert float(loss(state.params, selected.history, 0.0)) == pytest.approx(
      np.log(5), abs=1e-5)


def test_the_schedule_rises_to_its_peak_and_falls_to_nothing():
  """Adam's first steps are the learning rate long, whatever the gradient."""
  config = distill.Config(
      epochs=1, updates_per_epoch=100, warmup=10, learning_rate=0.1,
      optimizer='adamw', weight_decay=0.0, max_grad_norm=1e9)
  transform = distill.optimizer(config)
  params = {'w': jnp.zeros((2, 2))}

  def step(state, _):
    change, state = transform.update({'w': jnp.ones((2, 2))}, state, params)
    return state, -change['w'][0, 0]

  steps = np.asarray(jax.jit(lambda: jax.lax.scan(
      step, transform.init(params), None, 101)[1])())
  assert steps[0] == 0 and steps[5] == pytest.approx(0.05, rel=1e-3)
  assert max(steps) == pytest.approx(0.1, rel=1e-3) and np.argmax(steps) == 10
  assert steps[100] == pytest.approx(0, abs=1e-6)


def test_no_key_is_used_twice(state, monkeypatch):
  """Not of subsequences, of dropout or of the next update, for three updates.
  """
  keys = []

  def loss(params, model, inputs, actions, key, smoothing):
    keys.append(key)
    return optax.global_norm(params)

  monkeypatch.setattr(distill, 'loss', loss)
  monkeypatch.setattr(
      histories, 'sample_subsequences', lambda key, *sizes: keys.append(key))
  config = distill.Config()
  zeros = functools.partial(jnp.zeros, (2, 4))
  batch = histories.Batch(types.History(
      jnp.zeros((2, 4, 2), jnp.int8), zeros(jnp.int8), zeros(), zeros(bool)),
                          jnp.zeros(2, bool))

  @jax.jit
  def take_three(state):
    for _ in range(3):
      keys.append(state.key)
      distill.subsequences(config, state.key, jnp.int32(9), jnp.int32(400))
      state, _ = distill.update(config, MODEL, state, batch)
    return jax.random.key_data(jnp.stack(keys))

  assert len(np.unique(take_three(state), axis=0)) == 9


def test_it_teaches_the_demonstrator(selected, monkeypatch):
  """The oracle goes to the goal; told by one reward, so can the model."""
  monkeypatch.setattr(training, 'learning_curves', lambda *args: {})
  model = transformer.Config(
      layers=1, width=16, heads=2, window=16, feed_forward=32).make(TASKS.env)
  trainer = distill.Config(
      epochs=1, updates_per_epoch=200, batch_size=16, length=40, warmup=20,
      learning_rate=5e-3).make(TASKS, SOURCE, model, DATA)

  @jax.jit
  def train(keys, selected):
    return training.epoch(
        trainer, None, jax.vmap(trainer.init)(keys), selected)

  states, measured = train(
      jax.random.split(jax.random.key(1), 1), selected)
  losses = measured['loss'][0]
  assert losses[:5].mean() > 1.0 and losses[-20:].mean() < 0.6
  assert optax.global_norm(states.params) < 100
  np.testing.assert_array_equal(states.step, [200])


def test_its_trainer_says_what_is_taken_of_histories():
  config = distill.Config(batch_size=4, length=24, epochs=2)
  trainer = config.make(TASKS, SOURCE, MODEL, DATA)
  assert (trainer.length, trainer.batch_size, trainer.epochs) == (24, 4, 2)
  assert trainer.transitions == 4 * 24
  assert trainer.updates_per_epoch == config.updates_per_epoch


@pytest.mark.parametrize('length, source, data, message', [
    (24, None, DATA, r'^source, data: must be there'),
    (24, SOURCE, None, r'^source, data: must be there'),
    (41, SOURCE, DATA, r'^length=41: must be at most 40, .*\(5 episodes of '),
    (15, SOURCE, DATA, r'^length=15: must be at least model\.window=16')])
def test_what_does_not_fit_together_is_refused(length, source, data, message):
  model = transformer.Config(width=16, window=16).make(TASKS.env)
  with pytest.raises(ValueError, match=message):
    distill.Config(length=length).make(TASKS, source, model, data)


@pytest.mark.parametrize('field, value', [
    ('epochs', 0), ('learning_rate', 0.0), ('b2', 1.0), ('warmup', -1)])
def test_a_bad_config_is_named(field, value):
  with pytest.raises(ValueError, match=rf'^{field}={value}: must be'):
    distill.Config(**{field: value})
