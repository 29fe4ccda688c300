"""RL2: trials are whole, PPO is the textbook's, and it learns."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import types
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.methods import rl2
from adjax.methods import training
from adjax.models import in_context
from adjax.models import lstm
from adjax.models import sequence_model
from adjax.models import transformer
from tests import tiny

TASKS = dark_room.tasks(dark_room.Config(
    size=3, episode_length=4, num_train=5, num_validation=2, num_held_out=2))
MODEL = transformer.Config(
    layers=1, width=16, heads=1, window=12, feed_forward=16, dropout=0.0
).make(TASKS.env)
CONFIG = rl2.Config(epochs=2, updates_per_epoch=3, trials=6, episodes=3,
                    passes=2, minibatches=3)


@pytest.fixture(scope='module')
def params():
  return random_params(1)


def random_params(seed, scale=0.4):
  """Random weights: fresh heads are zero, which would hide everything."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(
      lambda x: rng.normal(scale=scale, size=x.shape).astype(np.float32),
      jax.eval_shape(lambda key: rl2.init(CONFIG, MODEL, TASKS, key).params,
                     jax.random.key(0)))


@pytest.fixture(scope='module')
def many(params):
  """Three thousand trials, for what can only be counted."""
  config = dataclasses.replace(CONFIG, trials=3000)
  return jax.jit(lambda params, key: rl2.collect_trials(
      config, MODEL, params, TASKS, key))(params, jax.random.key(2))


@pytest.fixture(scope='module')
def history(many):
  return jax.tree.map(lambda x: np.asarray(x)[:6], many)


@pytest.fixture(scope='module')
def batch(params, history):
  return jax.jit(lambda *args: rl2.assess(CONFIG, MODEL, *args))(
      params, history)


FULL_PASS = jax.jit(jax.vmap(functools.partial(
    MODEL.apply, method='logits_and_values'), (None, 0)))


def test_a_trial_is_several_episodes_on_one_training_task(history):
  assert history.done.shape == (6, 12)
  np.testing.assert_array_equal(
      history.done, np.tile(np.arange(12) % 4 == 3, (6, 1)))
  goals = {tuple(g) for g in np.asarray(TASKS.train.goals)[:, 0]}
  obs, reward = map(np.asarray, (history.obs, history.reward))
  for trial in range(6):
    inside = (reward[trial, :-1] > 0) & ~np.asarray(history.done)[trial, :-1]
    paid = {tuple(x) for x in obs[trial, 1:][inside]}
    assert len(paid) <= 1 and paid <= goals


def test_advantages_span_episodes_and_end_with_the_trial(
    params, history, batch):
  """Against NumPy loops over the full pass's values."""
  logits, values = FULL_PASS(params, in_context.inputs_of(history))
  values, reward = np.asarray(values), 0.1 * np.asarray(history.reward)
  advantage = np.zeros((6, 12))
  for i in range(6):
    carried = 0.0
    for t in reversed(range(12)):
      after = values[i, t + 1] if t < 11 else 0.0
      carried = (reward[i, t] + 0.99 * after - values[i, t]
                 + 0.99 * 0.95 * carried)
      advantage[i, t] = carried
  np.testing.assert_allclose(batch.target, advantage + values, atol=1e-4)
  np.testing.assert_allclose(
      batch.advantage, (advantage - advantage.mean()) / advantage.std(),
      atol=1e-3)
  probs = np.exp(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
  taken = np.take_along_axis(
      probs, np.asarray(history.action)[..., None].astype(int), -1)[..., 0]
  np.testing.assert_allclose(np.exp(batch.log_prob), taken, atol=1e-5)


def test_what_is_assessed_is_the_policy_that_acted(params, history, batch):
  """Its own steps, one by one, give each action that same probability."""
  def step(cache, now):
    logits, cache = MODEL.apply(params, now, cache, method='step')
    return cache, jax.nn.log_softmax(logits)

  stepped = jax.jit(jax.vmap(lambda inputs: jax.lax.scan(
      step, MODEL.empty_cache(), inputs)[1]))(batch.inputs)
  action = np.asarray(history.action)[..., None].astype(int)
  taken = np.take_along_axis(np.asarray(stepped), action, -1)[..., 0]
  np.testing.assert_allclose(batch.log_prob, taken, atol=1e-5)


def test_actions_are_taken_as_often_as_they_are_likely(params, history, many):
  """Many first steps: the same input, and the policy's own frequencies."""
  logits, _ = FULL_PASS(params, in_context.inputs_of(history))
  likely = np.asarray(jax.nn.softmax(logits))[:, 0]
  assert (likely == likely[0]).all() and np.ptp(likely[0]) > 0.1
  share = np.bincount(np.asarray(many.action)[:, 0], minlength=5) / 3000
  np.testing.assert_allclose(share, likely[0], atol=0.04)


def test_the_loss_is_ppos(params, batch):
  loss = jax.jit(jax.value_and_grad(lambda params, entropy: rl2.loss(
      params, MODEL, CONFIG, batch, entropy, jax.random.key(0))))
  other = jax.tree.map(np.add, params, random_params(3, 0.2))
  found, _ = loss(other, 0.03)
  logits, values, plain = jax.tree.map(
      np.asarray, (*FULL_PASS(other, batch.inputs), batch))
  terms = []
  for i in range(6):
    for t in range(12):
      p = np.exp(logits[i, t]) / np.exp(logits[i, t]).sum()
      ratio = p[plain.action[i, t]] / np.exp(plain.log_prob[i, t])
      a = plain.advantage[i, t]
      gain = min(ratio * a, np.clip(ratio, 0.8, 1.2) * a)
      error = (values[i, t] - plain.target[i, t])**2 / 2
      terms.append(0.5 * error - gain + 0.03 * (p * np.log(p)).sum())
  assert float(found) == pytest.approx(np.mean(terms), abs=1e-4)

  # Where nothing has changed yet its gradient is the policy gradient of A2C.
  @jax.jit
  @jax.grad
  def a2c(params):
    logits, values = FULL_PASS(params, batch.inputs)
    log_prob = jnp.take_along_axis(
        jax.nn.log_softmax(logits), batch.action[..., None].astype(int), -1)
    return (0.25 * jnp.square(values - batch.target)
            - log_prob[..., 0] * batch.advantage).mean()

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
               loss(params, 0.0)[1], a2c(params))


def test_a_diverged_seed_skips_its_gradient_steps_and_leaves_the_other_alone(
    monkeypatch):
  monkeypatch.setattr(rl2, 'loss', tiny.poison(rl2.loss))
  model = tiny.null_model(TASKS.env)
  update = jax.jit(jax.vmap(lambda state: rl2.update(
      CONFIG, model, TASKS, state)))
  finite = jax.jit(jax.vmap(lambda key: rl2.init(CONFIG, model, TASKS, key)))(
      jax.random.split(jax.random.key(0), 2))
  first = finite._replace(params=tiny.mark(finite.params))
  null = sequence_model.no_statistics(TASKS.env)  # They are no weights.
  trees = lambda states, seed: jax.tree.map(
      lambda x: np.asarray(x[seed]), (sequence_model.with_statistics(
          states.params, null), states.opt_state))
  equal = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)
  undisturbed, expected = update(finite)
  states, measured = update(first)
  equal(trees(states, 1), trees(undisturbed, 1))
  equal(jax.tree.map(lambda x: x[1], measured),
        jax.tree.map(lambda x: x[1], expected))
  equal(trees(states, 0), trees(first, 0))
  np.testing.assert_array_equal(measured['skipped'], [6, 0])  # 2 * 3 each.
  np.testing.assert_array_equal(states.skipped, [6, 0])
  np.testing.assert_array_equal(states.step, [1, 1])
  assert (states.key == undisturbed.key).all()
  # A finite one in time ends the row; after too many none is taken any more.
  states, measured = update(states._replace(params=finite.params))
  np.testing.assert_array_equal(measured['skipped'], [0, 0])
  np.testing.assert_array_equal(states.skipped, [0, 0])
  most = training.MAX_SKIPPED
  late = first._replace(params=finite.params, skipped=jnp.array([most, 0]))
  states, measured = update(late)
  equal(trees(states, 0), trees(late, 0))
  np.testing.assert_array_equal(states.skipped, [most + 6, 0])
  assert np.isfinite(measured['loss']).all()


def test_the_first_trials_say_how_numbers_are_scaled():
  """And no later ones; weights in `extra` are told, too."""
  state = jax.eval_shape(lambda: rl2.init(
      CONFIG, MODEL, TASKS, jax.random.key(0)))
  fresh = jax.jit(lambda: rl2.init(CONFIG, MODEL, TASKS, jax.random.key(0)))()
  fresh = fresh._replace(extra=fresh.params)
  history = jax.tree.map(jnp.asarray, types.History(
      np.zeros((2, 4, 2), np.int8), np.zeros((2, 4), np.int8),
      np.array([[0, 0, 5, 0], [0, 0, 5, 0]], np.float32),
      np.zeros((2, 4), bool)))
  found = sequence_model.statistics(
      TASKS.env, history.obs, history.reward)
  np.testing.assert_allclose(
      (found.mean[-1], found.deviation[-1]),
      (history.reward.mean(), history.reward.std()))
  told = training.scale(fresh, found)
  for tree in told.params, told.extra:
    kept = tree['params']['embedding']['statistics']
    chex.assert_trees_all_equal(kept, found)
  chex.assert_trees_all_equal_shapes(told.params, state.params)
  later = told._replace(step=jnp.int32(1))
  other = jax.tree.map(lambda x: x + 1, found)
  chex.assert_trees_all_equal(training.scale(later, other), later)
  # All other weights are as they were.
  back = sequence_model.with_statistics(
      told.params, sequence_model.no_statistics(TASKS.env))
  chex.assert_trees_all_equal(back, fresh.params)


def test_it_learns_to_try_and_remember():
  """Two arms, one of which always pays: a look, and then it is known."""
  tasks = bandit.tasks(bandit.Config(
      arms=2, high_share=0.5, num_train=64, num_validation=2, num_held_out=2))
  sure = tasks.train.replace(means=jnp.eye(2)[jnp.arange(64) % 2])
  tasks = dataclasses.replace(tasks, train=sure)
  model = lstm.Config(width=32, dropout=0.0).make(tasks.env)
  trainer = rl2.Config(
      epochs=1, updates_per_epoch=60, trials=64, episodes=6,
      learning_rate=5e-3, reward_scale=1.0).make(tasks, None, model, None)

  @jax.jit
  def learn(key):
    return jax.lax.scan(
        lambda state, _: trainer.update(state, None), trainer.init(key), None,
        trainer.updates_per_epoch)

  state, measured = learn(jax.random.key(0))
  returns = np.asarray(measured['trial_return'])
  assert returns[:3].mean() == pytest.approx(0.5, abs=0.1)
  # The first of six pulls finds out, the others all pay.
  assert returns[-10:].mean() == pytest.approx((0.5 + 5) / 6, abs=0.04)
  assert int(state.step) == 60


def test_its_trainer_makes_its_own_data():
  trainer = CONFIG.make(TASKS, None, MODEL, None)
  assert trainer.subsequences is None and trainer.length == 0
  # A gradient step takes a minibatch of whole trials, an update all of them.
  assert trainer.batch_size == 2 and trainer.transitions == 6 * 3 * 4
  with pytest.raises(ValueError, match=r'^data: must be None for rl2'):
    CONFIG.make(TASKS, None, MODEL, object())


@pytest.mark.parametrize('field, value, allowed', [
    ('trials', 0, 'at least 1'), ('minibatches', 4, 'a divisor of trials=6'),
    ('discount', 1.5, 'from 0 to 1'), ('clip_ratio', 0.0, 'above 0')])
def test_a_bad_config_is_named(field, value, allowed):
  with pytest.raises(ValueError, match=rf'^{field}={value}: .*{allowed}'):
    rl2.Config(**({'trials': 6, 'minibatches': 3} | {field: value}))
