"""Sequence models: what they see, and that cached steps are their full pass."""

import chex
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import lstm
from adjax import model as model_lib
from adjax import transformer
from adjax.envs import dark_room
from adjax.envs import watermaze

ENV = dark_room.DarkRoom()


def make(length=0, seed=0, kind='transformer', **changes):
  """A small model, its random weights and inputs [L] to go with it."""
  if kind == 'transformer':
    model = transformer.Transformer(transformer.Config(**({
        'layers': 2, 'width': 16, 'heads': 2, 'window': 12, 'feed_forward': 32,
        'dropout': 0.0, 'input_masking': 0.0} | changes)), ENV)
  else:
    model = lstm.LSTM(lstm.Config(**({
        'layers': 2, 'width': 16, 'dropout': 0.0} | changes)), ENV)
  rng = np.random.default_rng(seed)
  inputs = model_lib.Inputs(
      obs=jnp.asarray(rng.integers(0, 9, (length or 4, 2)), jnp.int8),
      action=jnp.asarray(rng.integers(-1, 5, length or 4), jnp.int8),
      reward=jnp.asarray(rng.integers(0, 2, length or 4), jnp.float32),
      done=jnp.asarray(rng.integers(0, 2, length or 4), bool))
  params = model.init(jax.random.key(seed), inputs)
  # The head begins at zero, which would hide everything.
  params = jax.tree.map(
      lambda x: x + 0.3 * jax.random.normal(jax.random.key(1), x.shape), params)
  return model, params, inputs


def decode(model, params, inputs):
  """Logits [L, A], step by step."""
  def step(cache, now):
    logits, cache = model.apply(params, now, cache, method='step')
    return cache, logits
  cache = model.empty_cache()
  return jax.lax.scan(step, cache, inputs)


def test_cached_steps_are_the_full_pass_over_frames():
  """Poses go in, frames are drawn and seen, in steps as in the full pass."""
  env = watermaze.Watermaze(watermaze.Config(height=18, width=24))
  model = transformer.Transformer(transformer.Config(
      layers=1, width=16, heads=2, window=8, feed_forward=16, channels=(4,)),
      env)
  rng = np.random.default_rng(0)
  inputs = model_lib.Inputs(
      obs=jnp.asarray(rng.uniform(-0.6, 0.6, (20, 6)), jnp.float32),
      action=jnp.asarray(rng.integers(-1, 8, 20), jnp.int8),
      reward=jnp.zeros(20), done=jnp.zeros(20, bool))
  params = jax.tree.map(
      lambda x: x + 0.3 * jax.random.normal(jax.random.key(1), x.shape),
      model.init(jax.random.key(0), inputs))
  full = model.apply(params, inputs)
  np.testing.assert_allclose(decode(model, params, inputs)[1], full, atol=1e-4)
  # A hidden platform leaves no trace; a raised one does.
  hidden, raised = (
      model.apply(params, inputs._replace(
          obs=inputs.obs.at[:, 3:].set(jnp.array([0.3, 0.0, up]))))
      for up in (0.0, 1.0))
  elsewhere = model.apply(params, inputs._replace(
      obs=inputs.obs.at[:, 3:].set(jnp.array([-0.3, 0.2, 0.0]))))
  np.testing.assert_array_equal(hidden, elsewhere)
  assert np.abs(hidden - raised).max() > 1e-3


@pytest.mark.parametrize('kind', ['transformer', 'lstm'])
@pytest.mark.parametrize('length', [1, 7, 12, 13, 41, 150])
def test_cached_steps_are_the_full_pass(length, kind):
  model, params, inputs = make(length, kind=kind)
  _, stepped = decode(model, params, inputs)
  full = model.apply(params, inputs)
  np.testing.assert_allclose(stepped, full, atol=1e-5)
  assert np.ptp(np.asarray(full)) > 0.1


def test_cached_steps_are_the_full_pass_far_from_home():
  """Late positions are as exact as early ones, up to float32's angles."""
  model, params, inputs = make(40)
  _, near = decode(model, params, inputs)

  def step(cache, now):
    logits, cache = model.apply(params, now, cache, method='step')
    return cache, logits
  cache = model.empty_cache()
  # Slots restart at a multiple of the window, positions do not.
  start = 12 * 1000
  keys = cache._replace(time=jnp.int32(start))
  # What lies before the start must not be seen: make it a full pass over a
  # prefix that is forgotten after W steps through every layer.
  _, far = jax.lax.scan(step, keys, inputs)
  np.testing.assert_allclose(far[30:], near[30:], atol=2e-2)


def test_the_lstm_is_the_textbooks():
  model, params, inputs = make(9, kind='lstm', layers=1)
  bound = model.bind(params)
  x = np.asarray(bound.embedding(inputs, True))
  layer = jax.tree.map(np.asarray, params['params']['layers_0'])
  sigmoid = lambda z: 1 / (1 + np.exp(-z))
  hidden = cell = np.zeros(16)
  for t in range(9):
    z = (x[t] @ layer['Dense_0']['kernel'] + layer['Dense_0']['bias']
         + hidden @ layer['recurrent'])
    into, keep, new, out = z.reshape(4, 16)
    cell = sigmoid(keep + 1) * cell + sigmoid(into) * np.tanh(new)
    hidden = sigmoid(out) * np.tanh(cell)
    np.testing.assert_allclose(
        bound.features(inputs, True)[t], x[t] + hidden, atol=1e-5)


@pytest.mark.parametrize('kind', ['transformer', 'lstm'])
def test_a_step_depends_on_nothing_later(kind):
  model, params, inputs = make(30, kind=kind)

  def logits(reward):
    return model.apply(params, inputs._replace(reward=reward))

  jacobian = np.abs(jax.jacobian(logits)(inputs.reward)).sum(1)  # [L, L].
  assert not np.triu(jacobian, 1).any()
  assert np.diag(jacobian).all()


def test_a_layer_sees_exactly_its_window():
  model, params, inputs = make(30, layers=1)

  def logits(reward):
    return model.apply(params, inputs._replace(reward=reward))

  seen = np.abs(jax.jacobian(logits)(inputs.reward)).sum(1) > 0
  ago = np.arange(30)[:, None] - np.arange(30)
  np.testing.assert_array_equal(seen, (ago >= 0) & (ago < 12))


@pytest.mark.parametrize('length, window', [(5, 9), (64, 64), (200, 70),
                                            (130, 1), (150, 1000)])
def test_attention_in_chunks_is_masked_attention(length, window):
  q, k, v = jax.random.normal(jax.random.key(0), (3, 2, length, 8))
  ago = np.arange(length)[:, None] - np.arange(length)
  scores = np.einsum('hqd,hkd->hqk', q, k) / np.sqrt(8)
  scores[:, (ago < 0) | (ago >= window)] = -np.inf
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  np.testing.assert_allclose(
      transformer.attend(q, k, v, window),
      np.einsum('hqk,hkd->hqd', weights, v), atol=1e-5)


def test_rotation_depends_on_distance_alone():
  q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 32))
  def score(i, j):
    return float((transformer.rotate(q, transformer.turn(32, jnp.array([i])))
                  * transformer.rotate(k, transformer.turn(32, np.array([j]))))
                 .sum())
  assert score(7, 3) == pytest.approx(score(104, 100), abs=1e-4)
  assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-2)


@pytest.mark.parametrize('field', [
    'dropout', 'attention_dropout', 'input_masking'])
def test_noise_is_in_training_only(field):
  model, params, inputs = make(30, **{field: 0.4})
  plain, _, _ = make(30)
  np.testing.assert_array_equal(
      model.apply(params, inputs), plain.apply(params, inputs))
  noisy = [model.apply(params, inputs, deterministic=False,
                       rngs={'dropout': jax.random.key(k)}) for k in (0, 0, 1)]
  np.testing.assert_array_equal(noisy[0], noisy[1])
  assert np.abs(noisy[0] - noisy[2]).max() > 0.01


def test_masking_hides_single_inputs_of_single_steps():
  """With everything hidden, tokens are equal; with little, few differ."""
  model, params, inputs = make(400, layers=1, window=1, input_masking=0.1)
  plain = model.apply(params, inputs)
  noisy = model.apply(params, inputs, deterministic=False,
                      rngs={'dropout': jax.random.key(0)})
  changed = (np.abs(plain - noisy) > 1e-6).any(-1).mean()
  # Four inputs, of which reward and done are often zero: then hiding is moot.
  assert 0.15 < changed < 0.35


def test_the_beginning_of_a_life_is_an_input_of_its_own():
  model, params, inputs = make(1)
  logits = [model.apply(params, inputs._replace(
      action=jnp.array([a], jnp.int8))) for a in range(-1, 5)]
  assert len({tuple(np.asarray(x).ravel().round(5)) for x in logits}) == 6


def test_an_unseen_cell_is_made_of_its_row_and_its_column():
  model, params, inputs = make(4)
  def token(cell):
    bound = model.bind(params)
    return bound.embedding(
        inputs._replace(obs=jnp.tile(jnp.array(cell, jnp.int8), (4, 1))), True)
  np.testing.assert_allclose(
      token((1, 2)) - token((1, 7)), token((6, 2)) - token((6, 7)), atol=1e-5)


def test_other_observations_enter_as_numbers():
  model, params, inputs = make(4)
  model = model.clone(env=gymnax.make('Acrobot-v1')[0])
  inputs = inputs._replace(obs=jnp.linspace(-1, 1, 24).reshape(4, 6))
  params = model.init(jax.random.key(0), inputs)
  chex.assert_shape(
      params['params']['embedding']['Dense_0']['kernel'], (6 + 4 + 2, 16))


def test_values_are_read_beside_the_logits():
  model, _, inputs = make(9)
  params = model.init(jax.random.key(0), inputs, method='logits_and_values')
  params = jax.tree.map(
      lambda x: x + 0.3 * jax.random.normal(jax.random.key(1), x.shape), params)
  logits, values = model.apply(params, inputs, method='logits_and_values')
  np.testing.assert_array_equal(logits, model.apply(params, inputs))
  chex.assert_shape(values, (9,))
  assert np.ptp(np.asarray(values)) > 0.01


@pytest.mark.parametrize('field, value', [
    ('width', 30), ('layers', 0), ('dropout', 1.0), ('input_masking', -0.1)])
def test_a_bad_model_is_named(field, value):
  with pytest.raises(ValueError, match=rf'model\.{field}={value}: must be'):
    transformer.Config(**({'heads': 4} | {field: value}))
