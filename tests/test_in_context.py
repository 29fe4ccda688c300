"""The distilled learner: trained and served alike."""

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import distill
from adjax import histories
from adjax import in_context
from adjax import transformer
from adjax import types
from adjax.envs import dark_room
from adjax.learners import references

TASKS = dark_room.tasks(dark_room.Config(
    size=5, episode_length=7, num_train=11, num_validation=7, num_held_out=7))


@pytest.fixture(scope='module')
def model_and_params():
  config = transformer.Config(layers=2, width=16, heads=2, window=12,
                            feed_forward=32)
  model = transformer.Transformer(config, TASKS.env)
  history = histories.streams(histories.generate(
      references.random(TASKS), TASKS.train, jax.random.key(0), 1, 21))
  params = distill.init(
      distill.Config(), model, history, jax.random.key(0)).params
  return model, jax.tree.map(
      lambda x: x + 0.3 * jax.random.normal(jax.random.key(1), x.shape), params)


def test_inputs_are_the_step_before():
  history = histories.streams(histories.generate(
      references.random(TASKS), TASKS.train, jax.random.key(0), 2, 21))
  inputs = jax.tree.map(np.asarray, in_context.inputs_of(history))
  np.testing.assert_array_equal(inputs.obs, history.obs)
  for name, null in (('action', -1), ('reward', 0), ('done', False)):
    now = np.asarray(getattr(history, name))
    before = getattr(inputs, name)
    assert before.dtype == now.dtype
    assert (before[:, 0] == null).all()
    np.testing.assert_array_equal(before[:, 1:], now[:, :-1])
  assert (inputs.action[:, 1:] >= 0).all()  # Null: only where a life begins.


PIECES = jax.jit(jax.vmap(in_context.inputs_of_piece))


@hypothesis.given(st.integers(0, 2**31 - 1))
@hypothesis.settings(deadline=None, max_examples=20)
def test_the_inputs_of_a_piece_are_cut_from_those_of_its_history(seed):
  rng = np.random.default_rng(seed)
  history = types.History(
      rng.integers(0, 5, (9, 2)).astype(np.int8),
      rng.integers(0, 5, 9).astype(np.int8),
      rng.normal(size=9).astype(np.float32), rng.random(9) < 0.5)
  starts = np.arange(6)  # Every piece of four.
  time = starts[:, None] - 1 + np.arange(5)
  # What lies before a history is the end of it here, and must not matter.
  inputs, actions = PIECES(
      jax.tree.map(lambda x: x[time], history), starts == 0)
  whole = in_context.inputs_of(jax.tree.map(jnp.asarray, history))
  for found, wanted in zip(inputs, whole):
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, np.asarray(wanted)[time[:, 1:]])
  np.testing.assert_array_equal(actions, history.action[time[:, 1:]])


def test_the_full_pass_over_a_life_gives_the_logits_that_acted(
    model_and_params):
  """No skew between how the model is trained and how it is used."""
  model, params = model_and_params
  learner = in_context.in_context(TASKS.env, model, params)
  task = jax.tree.map(lambda x: x[0], TASKS.held_out)

  # The learner's own steps, and the logits each of them came from.
  def step(state, chance):
    logits, _ = model.apply(params, state.inputs, state.cache, method='step')
    new, seen = learner.step(task, state, chance)
    return new, (logits, jax.tree.map(lambda x: x[0, 0], seen), state.inputs)

  init_key, step_key = jax.random.split(jax.random.key(5))
  blocks = [learner.draw(jax.random.fold_in(step_key, block), types.BLOCK)
            for block in range(2)]
  chances = jax.tree.map(lambda *x: jnp.concatenate(x)[:60], *blocks)
  _, (acted, seen, inputs) = jax.lax.scan(
      step, learner.init(task, init_key), chances)
  history = types.unroll(learner, task, jax.random.key(5), 60)
  history = jax.tree.map(lambda x: x[0], history)
  np.testing.assert_array_equal(history.action, seen.action)
  jax.tree.map(np.testing.assert_array_equal,
               in_context.inputs_of(history), inputs)
  np.testing.assert_allclose(
      model.apply(params, in_context.inputs_of(history)), acted, atol=1e-5)


def test_actions_follow_the_logits():
  logits = jnp.log(jnp.array([0.1, 0.6, 0.3]))
  noise = jax.random.gumbel(jax.random.key(0), (20_000, 3))
  for temperature, expected in (
      (1.0, [0.1, 0.6, 0.3]), (0.5, np.array([1, 36, 9]) / 46),
      (0.0, [0, 1, 0])):
    actions = jax.vmap(in_context.choose, (None, None, 0))(
        logits, temperature, noise)
    share = np.bincount(np.asarray(actions), minlength=3) / len(noise)
    np.testing.assert_allclose(share, expected, atol=0.015)


def test_weights_are_frozen_and_lives_are_independent(model_and_params):
  model, params = model_and_params
  history = jax.jit(lambda params: distill.evaluate(
      TASKS.env, model, params, TASKS.held_out, jax.random.key(0), 3, 28))(
          params)
  assert history.done.shape == (7, 3, 28)
  learner = in_context.in_context(TASKS.env, model, params)
  tasks, keys = histories.repeat(TASKS.held_out, jax.random.key(0), 3)
  alone = types.unroll(
      learner, jax.tree.map(lambda x: x[4, 2], tasks), keys[4, 2], 28)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[4, 2], b[0]),
               history, alone)
