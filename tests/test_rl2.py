"""RL2: trials are whole lives, PPO is the textbook's, and it learns."""

import dataclasses
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import distill
from adjax import in_context
from adjax import lstm
from adjax import rl2
from adjax import sharding
from adjax import transformer
from adjax.envs import bandit
from adjax.envs import dark_room
from tests import toys

TASKS = dark_room.tasks(dark_room.Config(
    size=3, episode_length=4, num_train=5, num_validation=2, num_held_out=2))
MODEL = transformer.Transformer(
    transformer.Config(layers=1, width=16, heads=1, window=12, feed_forward=16,
                       dropout=0.0), TASKS.env)
CONFIG = rl2.Config(epochs=2, updates_per_epoch=3, trials=6, episodes=3,
                    passes=2, minibatches=3)


@pytest.fixture(scope='module')
def state():
  state = rl2.init(CONFIG, MODEL, TASKS, jax.random.key(0))
  return state._replace(params=jax.tree.map(
      lambda x: x + 0.3 * jax.random.normal(jax.random.key(1), x.shape),
      state.params))


@pytest.fixture(scope='module')
def history(state):
  return jax.jit(lambda params, key: rl2.live(
      CONFIG, MODEL, params, TASKS, key))(state.params, jax.random.key(2))


def test_a_trial_is_a_whole_life_on_one_training_task(history):
  assert history.done.shape == (6, 12)
  np.testing.assert_array_equal(
      history.done, np.tile(np.arange(12) % 4 == 3, (6, 1)))
  goals = {tuple(g) for g in np.asarray(TASKS.train.goals)[:, 0]}
  obs, reward = map(np.asarray, (history.obs, history.reward))
  for life in range(6):
    inside = (reward[life, :-1] > 0) & ~np.asarray(history.done)[life, :-1]
    paid = {tuple(x) for x in obs[life, 1:][inside]}
    assert len(paid) <= 1 and paid <= goals


def test_advantages_span_episodes_and_end_with_the_trial(state, history):
  """Against NumPy loops over the full pass's values."""
  batch = rl2.assess(CONFIG, MODEL, state.params, history)
  logits, values = jax.vmap(lambda x: MODEL.apply(
      state.params, x, method='logits_and_values'))(
          in_context.inputs_of(history))
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


def test_what_is_assessed_is_the_policy_that_acted(state, history):
  """Its own steps, one by one, give each action that same probability."""
  batch = rl2.assess(CONFIG, MODEL, state.params, history)

  def step(cache, now):
    logits, cache = MODEL.apply(state.params, now, cache, method='step')
    return cache, jax.nn.log_softmax(logits)

  stepped = jax.vmap(lambda inputs: jax.lax.scan(
      step, MODEL.empty_cache(), inputs)[1])(batch.inputs)
  action = np.asarray(history.action)[..., None].astype(int)
  taken = np.take_along_axis(np.asarray(stepped), action, -1)[..., 0]
  np.testing.assert_allclose(batch.log_prob, taken, atol=1e-5)


def test_actions_are_taken_as_often_as_they_are_likely(state):
  """Many first steps: the same input, and the policy's own frequencies."""
  many = dataclasses.replace(CONFIG, trials=3000, minibatches=1, episodes=1)
  history = jax.jit(lambda params: rl2.live(
      many, MODEL, params, TASKS, jax.random.key(7)))(state.params)
  batch = rl2.assess(many, MODEL, state.params, jax.tree.map(
      lambda x: x[:, :1], history))
  first = np.asarray(history.action)[:, 0]
  share = np.bincount(first, minlength=5) / 3000
  for action in set(first):
    likely = np.exp(batch.log_prob[first == action, 0])
    np.testing.assert_allclose(share[action], likely, atol=0.04)


def test_the_loss_is_ppos(state, history):
  batch = rl2.assess(CONFIG, MODEL, state.params, history)
  other = jax.tree.map(
      lambda x: x + 0.2 * jax.random.normal(jax.random.key(3), x.shape),
      state.params)
  found = rl2.loss(other, MODEL, CONFIG, batch, 0.03, jax.random.key(0))
  logits, values = jax.vmap(lambda x: MODEL.apply(
      other, x, method='logits_and_values'))(batch.inputs)
  logits, values, batch = jax.tree.map(np.asarray, (logits, values, batch))
  terms = []
  for i in range(6):
    for t in range(12):
      p = np.exp(logits[i, t]) / np.exp(logits[i, t]).sum()
      ratio = p[batch.action[i, t]] / np.exp(batch.log_prob[i, t])
      a = batch.advantage[i, t]
      gain = min(ratio * a, np.clip(ratio, 0.8, 1.2) * a)
      error = (values[i, t] - batch.target[i, t])**2 / 2
      terms.append(0.5 * error - gain + 0.03 * (p * np.log(p)).sum())
  assert float(found) == pytest.approx(np.mean(terms), abs=1e-4)
  # Where nothing has changed yet it is the policy gradient of A2C.
  gradient = jax.grad(rl2.loss)(
      state.params, MODEL, CONFIG, batch, 0.0, jax.random.key(0))

  def plain(params):
    logits, values = jax.vmap(lambda x: MODEL.apply(
        params, x, method='logits_and_values'))(batch.inputs)
    log_prob = jnp.take_along_axis(
        jax.nn.log_softmax(logits), batch.action[..., None].astype(int), -1)
    return (0.25 * jnp.square(values - batch.target)
            - log_prob[..., 0] * batch.advantage).mean()

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
               gradient, jax.grad(plain)(state.params))


def test_a_sick_seed_skips_its_gradient_steps_and_leaves_the_other_alone(
    monkeypatch):
  monkeypatch.setattr(rl2, 'loss', toys.poison(rl2.loss))
  model = toys.tiny(TASKS.env)
  update = jax.jit(jax.vmap(lambda state: rl2.update(
      CONFIG, model, TASKS, state)))
  healthy = jax.jit(jax.vmap(lambda key: rl2.init(CONFIG, model, TASKS, key)))(
      jax.random.split(jax.random.key(0), 2))
  begin = healthy._replace(params=toys.mark(healthy.params))
  trees = lambda states, seed: jax.tree.map(
      lambda x: np.asarray(x[seed]), (states.params, states.opt_state))
  equal = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)
  undisturbed, expected = update(healthy)
  states, measured = update(begin)
  equal(trees(states, 1), trees(undisturbed, 1))
  equal(jax.tree.map(lambda x: x[1], measured),
        jax.tree.map(lambda x: x[1], expected))
  equal(trees(states, 0), trees(begin, 0))
  np.testing.assert_array_equal(measured['skipped'], [6, 0])  # 2 * 3 each.
  np.testing.assert_array_equal(states.skipped, [6, 0])
  np.testing.assert_array_equal(states.step, [1, 1])
  assert (states.key == undisturbed.key).all()
  # A good one in time ends the row; after too many none is taken any more.
  states, measured = update(states._replace(params=healthy.params))
  np.testing.assert_array_equal(measured['skipped'], [0, 0])
  np.testing.assert_array_equal(states.skipped, [0, 0])
  late = begin._replace(
      params=healthy.params, skipped=jnp.array([distill.PATIENCE, 0]))
  states, measured = update(late)
  equal(trees(states, 0), trees(late, 0))
  np.testing.assert_array_equal(states.skipped, [distill.PATIENCE + 6, 0])
  assert np.isfinite(measured['loss']).all()


@pytest.mark.parametrize('kind', ['transformer', 'lstm'])
def test_it_learns_to_try_and_remember(kind):
  """Two arms, one of which always pays: a look, and then it is known."""
  tasks = bandit.tasks(bandit.Config(
      arms=2, law='odd', high_share=0.5, num_train=64, num_validation=16,
      num_held_out=16))
  sure = tasks.train.replace(
      means=jnp.eye(2)[jnp.arange(64) % 2])
  tasks = dataclasses.replace(tasks, train=sure)
  model = (transformer.Transformer(transformer.Config(
      layers=1, width=32, heads=1, window=6, feed_forward=32, dropout=0.0),
      tasks.env) if kind == 'transformer' else
      lstm.LSTM(lstm.Config(width=32, dropout=0.0), tasks.env))
  config = rl2.Config(epochs=1, updates_per_epoch=100, trials=64, episodes=6,
                      learning_rate=5e-3, reward_scale=1.0)
  evaluation = distill.Evaluation(
      tasks.env, {'train': sure}, jax.random.key(5), 4, 6, 1)
  states = jax.vmap(lambda key: rl2.init(config, model, tasks, key))(
      jax.random.split(jax.random.key(0), 1))
  states, measured = rl2.make_epoch(config, model, tasks, evaluation)(states)
  curve = np.asarray(measured['returns']['train']).mean((0, 1, 2))
  assert curve[0] == pytest.approx(0.5, abs=0.15)
  assert (curve[2:] > 0.9).all()
  assert int(states.step[0]) == 100


def test_minibatches_must_divide_over_the_devices():
  with pytest.raises(ValueError, match=r'rl2\.trials / rl2\.minibatches=2'):
    rl2.check_devices(CONFIG, mock.Mock(shape={'data': 4}))
  rl2.check_devices(CONFIG, sharding.mesh())


@pytest.mark.parametrize('field, value, allowed', [
    ('trials', 0, 'at least 1'), ('minibatches', 4, 'a divisor of rl2.trials'),
    ('discount', 1.5, 'from 0 to 1'), ('clip_ratio', 0.0, 'above 0')])
def test_a_bad_config_is_named(field, value, allowed):
  with pytest.raises(ValueError, match=rf'rl2\.{field}={value}: .*{allowed}'):
    rl2.Config(**({'trials': 6, 'minibatches': 3} | {field: value}))
