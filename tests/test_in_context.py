"""The distilled learner: trained and served alike."""

import functools

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax import types
from adjax.envs import dark_room
from adjax.methods import training
from adjax.models import in_context
from adjax.models import transformer
from tests import tiny

TASKS = dark_room.tasks(dark_room.Config(
    size=5, episode_length=7, num_train=11, num_validation=7, num_held_out=7))
MODEL = transformer.Config(
    layers=1, width=16, heads=2, window=12, feed_forward=32).make(TASKS.env)


@pytest.fixture(scope='module')
def params():
  # A fresh head is zero, which would hide everything.
  rng = np.random.default_rng(1)
  return jax.tree.map(
      lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32),
      jax.eval_shape(MODEL.init, jax.random.key(0),
                     training.example_inputs(MODEL, TASKS)))


@functools.cache
def unroll():
  """(params, task, key) -> History [T] of sixty steps, compiled once."""
  def run(params, task, key):
    history, _ = types.unroll(
        in_context.in_context(TASKS.env, MODEL, params), task, key, 60)
    return jax.tree.map(lambda x: x[0], history)
  return jax.jit(run)


def random_history(rng, *shape):
  """A history [*shape] of noise: hardly a step is like another."""
  return types.History(
      rng.integers(0, 5, (*shape, 2)).astype(np.int8),
      rng.integers(0, 5, shape).astype(np.int8),
      rng.normal(size=shape).astype(np.float32), rng.random(shape) < 0.5)


def test_inputs_are_the_step_before():
  history = random_history(np.random.default_rng(0), 4, 21)
  inputs = jax.tree.map(np.asarray, in_context.inputs_of(history))
  np.testing.assert_array_equal(inputs.obs, history.obs)
  for name, null in (('action', -1), ('reward', 0), ('done', False)):
    now, before = getattr(history, name), getattr(inputs, name)
    assert before.dtype == now.dtype
    assert (before[:, 0] == null).all()
    np.testing.assert_array_equal(before[:, 1:], now[:, :-1])
  # No action means that a history begins, and nothing else does.
  assert (inputs.action[:, 1:] >= 0).all()


@jax.jit
def gathered_inputs(history, streams, starts):
  return in_context.inputs_and_actions(
      histories.gather(history, streams, starts, 4))


@hypothesis.given(st.integers(0, 2**31 - 1))
@hypothesis.settings(deadline=None, max_examples=20)
def test_the_inputs_of_subsequences_are_cut_from_those_of_histories(seed):
  history = random_history(np.random.default_rng(seed), 2, 9)
  # All there are of four steps, those that begin a history among them.
  streams, starts = np.indices((2, 6)).reshape(2, -1)
  inputs, actions = gathered_inputs(history, streams, starts)
  rows = streams[:, None], starts[:, None] + np.arange(4)
  whole = in_context.inputs_of(jax.tree.map(jnp.asarray, history))
  for found, wanted in zip(inputs, whole):
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, np.asarray(wanted)[rows])
  np.testing.assert_array_equal(actions, history.action[rows])


def test_the_full_pass_over_a_history_gives_the_logits_that_acted(params):
  """No skew between how the model is trained and how it is used."""
  learner = in_context.in_context(TASKS.env, MODEL, params)
  task = jax.tree.map(lambda x: x[0], TASKS.held_out)

  # The learner's own steps, and the logits each of them came from.
  def step(state, noise):
    logits, _ = MODEL.apply(params, state.inputs, state.cache, method='step')
    new, transition = learner.step(task, state, noise)
    return new, (logits, jax.tree.map(lambda x: x[0, 0], transition),
                 state.inputs)

  @jax.jit
  def by_hand(key):
    init_key, step_key = jax.random.split(key)
    blocks = [
        learner.sample_noise(jax.random.fold_in(step_key, block), types.BLOCK)
        for block in range(2)]
    noises = jax.tree.map(lambda *x: jnp.concatenate(x)[:60], *blocks)
    return jax.lax.scan(step, learner.init(task, init_key), noises)[1]

  acted, transition, inputs = by_hand(jax.random.key(5))
  history = unroll()(params, task, jax.random.key(5))
  np.testing.assert_array_equal(history.action, transition.action)
  found = in_context.inputs_of(history)
  jax.tree.map(np.testing.assert_array_equal, found, inputs)
  np.testing.assert_allclose(
      jax.jit(MODEL.apply)(params, found), acted, atol=1e-5)


def test_actions_follow_the_logits():
  logits = jnp.log(jnp.array([0.1, 0.6, 0.3]))
  gumbel = jax.random.gumbel(jax.random.key(0), (20_000, 3))
  for temperature, expected in (
      (1.0, [0.1, 0.6, 0.3]), (0.5, np.array([1, 36, 9]) / 46),
      (0.0, [0, 1, 0])):
    actions = jax.vmap(in_context.choose, (None, None, 0))(
        logits, temperature, gumbel)
    share = np.bincount(np.asarray(actions), minlength=3) / len(gumbel)
    np.testing.assert_allclose(share, expected, atol=0.015)


def test_weights_are_frozen_and_runs_are_independent(params):
  """Each is what it would be alone, with the same weights to the end."""
  tasks, keys = histories.repeat(TASKS.held_out, jax.random.key(0), 3)
  history, finite = jax.jit(lambda params: histories.run(
      in_context.in_context(TASKS.env, MODEL, params), tasks, keys, 60))(params)
  assert history.done.shape == (7, 3, 60) and finite.all()
  alone = unroll()(
      params, jax.tree.map(lambda x: x[4, 2], tasks), keys[4, 2])
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[4, 2], b),
               history, alone)


def test_every_action_is_drawn_anew():
  """A fresh model prefers nothing: any action follows any other."""
  model = tiny.null_model(TASKS.env)
  task = jax.tree.map(lambda x: x[0], TASKS.held_out)
  fresh = jax.jit(model.init)(
      jax.random.key(0), training.example_inputs(model, TASKS))
  history, _ = jax.jit(lambda params: types.unroll(
      in_context.in_context(TASKS.env, model, params), task,
      jax.random.key(0), 1001))(fresh)
  action = np.asarray(history.action)[0]
  pairs = np.zeros((5, 5))
  np.add.at(pairs, (action[:-1], action[1:]), 1)
  assert pairs.min() > 15 and pairs.max() < 70  # 40 each, give or take 6.


@pytest.mark.parametrize('option, value', [
    ('jax_enable_x64', True), ('jax_numpy_dtype_promotion', 'strict'),
    ('jax_numpy_rank_promotion', 'raise')])
def test_what_is_set_of_jax_changes_no_history(params, option, value):
  """Neither what a user's own programs count in, nor what these refuse."""
  task = jax.tree.map(lambda x: x[0], TASKS.held_out)
  shapes = lambda: jax.eval_shape(
      lambda params: types.unroll(
          in_context.in_context(TASKS.env, MODEL, params), task,
          jax.random.key(0), 60), params)
  expected, before = shapes(), getattr(jax.config, option)
  try:
    jax.config.update(option, value)
    assert shapes() == expected
  finally:
    jax.config.update(option, before)
