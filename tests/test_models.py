"""Sequence models: what they see, and that cached steps are their full pass."""

import functools

import chex
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.models import lstm
from adjax.models import sequence_model
from adjax.models import transformer

ENV = dark_room.DarkRoom()


def random_inputs(length, seed=0):
  rng = np.random.default_rng(seed)
  return sequence_model.Inputs(
      obs=rng.integers(0, 9, (length, 2)).astype(np.int8),
      action=rng.integers(-1, 5, length).astype(np.int8),
      reward=rng.integers(0, 2, length).astype(np.float32),
      done=rng.integers(0, 2, length).astype(bool))


def random_params(model, inputs):
  """Random weights: fresh heads are zero, which would hide everything."""
  rng = np.random.default_rng(1)
  return jax.tree.map(
      lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32),
      jax.eval_shape(functools.partial(
          model.init, method='logits_and_values'), jax.random.key(0), inputs))


@functools.cache
def make(kind='transformer', **changes):
  """A small model, random weights, and its full pass (inputs [L]) -> [L, A]."""
  if kind == 'transformer':
    config = transformer.Config(**({
        'layers': 2, 'width': 16, 'heads': 2, 'window': 12, 'feed_forward': 32,
        'dropout': 0.0} | changes))
  else:
    config = lstm.Config(**({
        'layers': 2, 'width': 16, 'dropout': 0.0} | changes))
  model = config.make(ENV)
  params = random_params(model, random_inputs(4))
  return model, params, jax.jit(functools.partial(model.apply, params))


def decoder(model, params):
  """(cache, inputs [L]) -> logits [L, A], step by step."""
  def step(cache, now):
    logits, cache = model.apply(params, now, cache, method='step')
    return cache, logits
  return jax.jit(lambda cache, inputs: jax.lax.scan(step, cache, inputs)[1])


@functools.cache
def decoded(kind):
  """Logits [150, A] of cached steps; those of fewer are the first of these."""
  model, params, _ = make(kind)
  return decoder(model, params)(model.empty_cache(), random_inputs(150))


# Below, at and beyond the window and the chunks that attention goes in.
@pytest.mark.parametrize('kind, length', [
    *(('transformer', length) for length in (1, 13, 150)), ('lstm', 150)])
def test_cached_steps_are_the_full_pass(kind, length):
  full = make(kind)[2](jax.tree.map(
      lambda x: x[:length], random_inputs(150)))
  np.testing.assert_allclose(decoded(kind)[:length], full, atol=1e-5)
  assert np.ptp(np.asarray(full)) > 0.1


def test_cached_steps_are_the_full_pass_over_frames():
  """Poses go in, frames are rendered and viewed, in steps as in the full pass.
  """
  env = watermaze.Watermaze(watermaze.Config(height=18, width=24))
  model = transformer.Config(
      layers=1, width=16, heads=2, window=8, feed_forward=16,
      channels=(4,)).make(env)
  rng = np.random.default_rng(0)
  inputs = sequence_model.Inputs(
      obs=jnp.asarray(rng.uniform(-0.6, 0.6, (20, 6)), jnp.float32),
      action=jnp.asarray(rng.integers(-1, 8, 20), jnp.int8),
      reward=jnp.zeros(20), done=jnp.zeros(20, bool))
  params = random_params(model, inputs)
  apply = jax.jit(functools.partial(model.apply, params))
  np.testing.assert_allclose(
      decoder(model, params)(model.empty_cache(), inputs), apply(inputs),
      atol=1e-4)
  # A hidden platform leaves no trace; a raised one does.
  hidden, raised, elsewhere = (
      apply(inputs._replace(obs=inputs.obs.at[:, 3:].set(jnp.array(platform))))
      for platform in ([0.3, 0.0, 0.0], [0.3, 0.0, 1.0], [-0.3, 0.2, 0.0]))
  np.testing.assert_array_equal(hidden, elsewhere)
  assert np.abs(hidden - raised).max() > 1e-3


# Slots restart at a multiple of the window of 12, positions do not.
@pytest.mark.parametrize('start', [
    12 * start for start in (1000, 10**6 // 12, 2**24 // 12 + 1,
                             (2**31 - 100) // 12)])
def test_cached_steps_are_as_exact_far_from_the_beginning(start):
  """Up to the last step that an int32 counts."""
  model, params, _ = make()
  inputs = jax.tree.map(lambda x: x[:40], random_inputs(150))
  far = decoder(model, params)(
      model.empty_cache()._replace(time=jnp.int32(start)), inputs)
  # The first W steps after the start see empty slots, and through every layer
  # others see these; after that nothing is left of them.
  np.testing.assert_allclose(far[30:], decoded('transformer')[30:40], atol=1e-4)


def test_the_lstm_is_the_textbooks():
  model, params, _ = make('lstm', layers=1)
  bound, inputs = model.bind(params), random_inputs(9)
  x = np.asarray(bound.embedding(inputs, True))
  found = np.asarray(bound.features(inputs, True))
  layer = jax.tree.map(np.asarray, params['params']['layers_0'])
  sigmoid = lambda z: 1 / (1 + np.exp(-z))
  hidden = cell = np.zeros(16)
  for t in range(9):
    z = (x[t] @ layer['Dense_0']['kernel'] + layer['Dense_0']['bias']
         + hidden @ layer['recurrent'])
    into, keep, new, out = z.reshape(4, 16)
    cell = sigmoid(keep + 1) * cell + sigmoid(into) * np.tanh(new)
    hidden = sigmoid(out) * np.tanh(cell)
    np.testing.assert_allclose(found[t], x[t] + hidden, atol=1e-5)


# That nothing depends on what comes later is in test_properties.
def test_a_layer_sees_exactly_its_window():
  inputs = random_inputs(30)
  # Of the logits of each step on the reward before each.
  jacobian = jax.jit(jax.jacobian(lambda reward: make(layers=1)[2](
      inputs._replace(reward=reward))))(inputs.reward)
  found = np.abs(jacobian).sum(1) > 0
  ago = np.arange(30)[:, None] - np.arange(30)
  np.testing.assert_array_equal(found, (ago >= 0) & (ago < 12))


@pytest.mark.parametrize('length, window', [
    (5, 9), (64, 64), (200, 70), (130, 1), (150, 1000)])
def test_attention_in_chunks_is_masked_attention(length, window):
  q, k, v = np.random.default_rng(0).normal(
      size=(3, 2, length, 8)).astype(np.float32)
  ago = np.arange(length)[:, None] - np.arange(length)
  scores = np.einsum('hqd,hkd->hqk', q, k) / np.sqrt(8)
  scores[:, (ago < 0) | (ago >= window)] = -np.inf
  weights = np.exp(scores - scores.max(-1, keepdims=True))
  weights /= weights.sum(-1, keepdims=True)
  np.testing.assert_allclose(
      jax.jit(transformer.attend, static_argnums=3)(q, k, v, window),
      np.einsum('hqk,hkd->hqd', weights, v), atol=1e-5)


def test_rotation_depends_on_distance_alone():
  q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 32))

  def score(i, j):
    # Of an array of jax, as in a cached step, and of NumPy's constants.
    return float(
        (transformer.rotate(q, transformer.rotary_table(32, jnp.array([i])))
         * transformer.rotate(k, transformer.rotary_table(32, np.array([j]))))
        .sum())

  assert score(7, 3) == pytest.approx(score(104, 100), abs=1e-4)
  assert score(7, 3) != pytest.approx(score(7, 4), abs=1e-2)


@pytest.mark.parametrize('field', [
    'dropout', 'attention_dropout', 'input_masking'])
def test_noise_is_in_training_only(field):
  model, params, apply = make(layers=1, **{field: 0.4})
  inputs = random_inputs(30)
  np.testing.assert_array_equal(apply(inputs), make(layers=1)[2](inputs))
  train = jax.jit(lambda key: model.apply(
      params, inputs, deterministic=False, rngs={'dropout': key}))
  noisy = [train(jax.random.key(seed)) for seed in (0, 0, 1)]
  np.testing.assert_array_equal(noisy[0], noisy[1])
  assert np.abs(noisy[0] - noisy[2]).max() > 0.01


def test_masking_hides_single_inputs_of_single_steps():
  """With everything hidden, tokens are equal; with little, few differ."""
  model, params, _ = make(layers=1, window=1, input_masking=0.1)
  bound, inputs = model.bind(
      params, rngs={'dropout': jax.random.key(0)}), random_inputs(400)
  plain, noisy = (bound.embedding(inputs, plain) for plain in (True, False))
  changed = (np.abs(plain - noisy) > 1e-6).any(-1).mean()
  # Four inputs, of which reward and done are often zero: then hiding is moot.
  assert 0.15 < changed < 0.35


def test_the_beginning_of_a_history_is_an_input_of_its_own():
  model, params, _ = make()
  inputs = random_inputs(6)._replace(
      obs=np.zeros((6, 2), np.int8), action=np.arange(-1, 5, dtype=np.int8),
      reward=np.zeros(6, np.float32), done=np.zeros(6, bool))
  tokens = np.asarray(model.bind(params).embedding(inputs, True))
  assert len({tuple(token.round(5)) for token in tokens}) == 6


def test_a_cell_never_seen_is_made_of_its_row_and_its_column():
  model, params, _ = make()
  inputs = random_inputs(4)
  inputs = jax.tree.map(lambda x: np.repeat(x[:1], 4, 0), inputs)._replace(
      obs=np.array([(1, 2), (1, 7), (6, 2), (6, 7)], np.int8))
  token = model.bind(params).embedding(inputs, True)
  np.testing.assert_allclose(
      token[0] - token[1], token[2] - token[3], atol=1e-5)
  assert np.abs(token[0] - token[1]).max() > 0.1


def test_other_observations_enter_as_numbers():
  model = make()[0].clone(env=gymnax.make('Acrobot-v1')[0])
  inputs = random_inputs(4)._replace(
      obs=np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6))
  params = jax.eval_shape(model.init, jax.random.key(0), inputs)
  chex.assert_shape(
      params['params']['embedding']['Dense_0']['kernel'], (6 + 4 + 2, 16))


def test_values_are_read_beside_the_logits():
  model, params, apply = make(layers=1)
  inputs = random_inputs(30)
  logits, values = jax.jit(functools.partial(
      model.apply, method='logits_and_values'))(params, inputs)
  np.testing.assert_allclose(logits, apply(inputs), atol=1e-6)
  chex.assert_shape(values, (30,))
  assert np.ptp(np.asarray(values)) > 0.01


def test_a_config_makes_its_model():
  for config, kind in ((transformer.Config(), transformer.Transformer),
                       (lstm.Config(), lstm.LSTM)):
    model = config.make(ENV)
    assert type(model) is kind
    assert (model.config, model.env) == (config, ENV)
  # A subsequence has to show every distance that attention reaches.
  assert transformer.Config(window=70).min_length == 70
  assert lstm.Config().min_length == 1


@pytest.mark.parametrize('field, value', [
    ('width', 30), ('layers', 0), ('dropout', 1.0), ('input_masking', -0.1),
    ('channels', (4, 0)), ('window', 2.5)])
def test_a_bad_model_is_named(field, value):
  given = str(value).replace('(', r'\(').replace(')', r'\)')
  with pytest.raises(ValueError, match=rf'^{field}={given}: must be'):
    transformer.Config(**({'heads': 4} | {field: value}))
