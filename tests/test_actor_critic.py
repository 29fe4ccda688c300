"""The actor-critic: its estimates, its gradient, its memory, what it learns."""

import dataclasses
import functools

import hypothesis
from hypothesis import strategies
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import metrics
from adjax import types
from adjax.envs import dark_room
from adjax.learners import actor_critic
from adjax.learners import policy_gradient
from tests import probes

GRID = dark_room.Config(
    size=5, episode_length=10, num_train=15, num_validation=5, num_held_out=5)
SMALL = actor_critic.Config(actors=3, rollout=4, hidden=(8,))
# Programs that run once and for a moment, and take long to compile.
quick = functools.partial(
    jax.jit, compiler_options={'xla_backend_optimization_level': 0})
PROBE = actor_critic.Config(
    actors=16, rollout=5, discount=0.8, hidden=(16,), channels=(4,),
    learning_rate=0.02)
CLIPPED = dataclasses.replace(
    PROBE, rollout=10, epochs=2, minibatches=2, normalise_advantages=True)
CLIPPED_PROBES = ('time limit', 'nothing')


def first(tasks):
  return jax.tree.map(lambda x: x[0], tasks.train)


def train(learner, task, key, updates):
  """The state after so many updates."""
  init_key, step_key = jax.random.split(key)
  state, _ = jax.lax.scan(
      lambda state, key: (learner.step(task, state, key)[0], None),
      learner.init(task, init_key), jax.random.split(step_key, updates))
  return state


@functools.cache
def solutions(config, images=False, names=tuple(probes.PROBES)):
  """{probe: (logits [2, A], values [2])} after learning."""
  some = probes.IMAGES if images else {n: probes.PROBES[n] for n in names}
  tasks = probes.tasks(some)
  learner = actor_critic.learner(config, tasks)
  network = actor_critic.Network(config, tasks.env)

  @quick
  @jax.vmap
  def run(task):
    params = train(learner, task, jax.random.key(0), 800).params
    return network.apply(params, task.observations, jnp.zeros(2, jnp.int32))

  logits, values = map(np.asarray, run(tasks.train))
  return dict(zip(some, zip(logits, values)))


def unroll(learner, steps):
  """(tasks [N], keys [N]) -> History [N, K, steps], in one quick program."""
  return quick(jax.vmap(lambda task, key: types.unroll(
      learner, task, key, steps)[0]))


def final(learner, tasks, some, episodes, last=10):
  """Mean return [N, K] of the last episodes on some tasks."""
  keys = jax.random.split(jax.random.key(0), types.num_tasks(some))
  history = unroll(learner, episodes * tasks.episode_length)(some, keys)
  curves = metrics.learning_curves(history.reward, history.done, episodes)
  return np.asarray(curves)[..., -last:].mean(-1)


def textbook_gae(
    reward, value, next_value, terminated, done, discount, lambda_):
  """The sum itself, with no recursion: rewards, then what is thought of it."""
  advantage = np.zeros(len(reward))
  for t in range(len(reward)):
    weight = 1.0
    for s in range(t, len(reward)):
      going_on = 0.0 if terminated[s] else discount
      advantage[t] += weight * (
          reward[s] + going_on * next_value[s] - value[s])
      if done[s]:
        break
      weight *= discount * lambda_
  return advantage


gae = jax.jit(policy_gradient.gae)


@hypothesis.settings(deadline=None, max_examples=50)
@hypothesis.given(
    seed=strategies.integers(0, 2**32 - 1), ends=strategies.floats(0, 1),
    discount=strategies.floats(0, 1), lambda_=strategies.floats(0, 1))
def test_gae_is_its_own_definition(seed, ends, discount, lambda_):
  rng = np.random.default_rng(seed)
  reward, value, next_value = rng.normal(size=(3, 12)).astype(np.float32)
  done = rng.uniform(size=12) < ends
  terminated = done & (rng.uniform(size=12) < 0.5)
  sequence = reward, value, next_value, terminated, done
  found = gae(*sequence, discount, lambda_)
  expected = textbook_gae(*sequence, discount, lambda_)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_gae_at_a_time_limit_and_at_an_end():
  reward, value = jnp.zeros(3), jnp.array([1.0, 2.0, 3.0])
  after, done = jnp.array([4.0, 5.0, 6.0]), jnp.array([False, True, False])
  limit, end = (
      gae(reward, value, after, done & ended, done, 0.5, 1.0)
      for ended in (False, True))
  np.testing.assert_allclose(limit, [2 - 1 + 0.5 * 0.5, 2.5 - 2, 3 - 3])
  np.testing.assert_allclose(end, [2 - 1 - 0.5 * 2, -2, 3 - 3])


def test_actions_are_drawn_by_their_probabilities():
  logits = jnp.log(jnp.array([0.1, 0.0, 0.6, 0.3]))
  action, log_prob = actor_critic.choose(
      jnp.tile(logits, (40_000, 1)), jax.random.key(0))
  share = np.bincount(np.asarray(action), minlength=4) / len(action)
  np.testing.assert_allclose(share, [0.1, 0, 0.6, 0.3], atol=0.01)
  np.testing.assert_allclose(log_prob, logits[action], atol=1e-6)


@pytest.mark.parametrize('config, name', [
    *((PROBE, name) for name in probes.PROBES),
    (CLIPPED, 'time limit'), (PROBE, 'image')])
def test_a_probe_is_solved(config, name):
  if name == 'image':
    probe = probes.IMAGES['cued choice']
    logits, value = solutions(config, images=True)['cued choice']
  else:
    probe = probes.PROBES[name]
    names = CLIPPED_PROBES if config is CLIPPED else tuple(probes.PROBES)
    logits, value = solutions(config, names=names)[name]
  expected = probe.values(config.discount)
  np.testing.assert_allclose(
      value[:probe.shown], expected, rtol=0.04, atol=0.04)
  best = np.array(probe.best)
  if (best >= 0).all():
    assert (logits[:probe.shown].argmax(-1) == best).all()
    assert (jax.nn.softmax(logits)[:probe.shown].max(-1) > 0.95).all()


def test_one_epoch_of_one_minibatch_is_the_gradient_of_a2c():
  """Where some episodes end at their goal and some at the time limit."""
  tasks = dark_room.tasks(dataclasses.replace(GRID, terminate=True))
  # Adam then holds the gradient itself, and nothing was clipped.
  config = dataclasses.replace(
      SMALL, rollout=12, b1=0.0, max_grad_norm=1e9, clip_ratio=1e-6)
  learner, task = actor_critic.learner(config, tasks), first(tasks)
  network = actor_critic.Network(config, tasks.env)
  none = jnp.zeros((12, 3), jnp.int32)

  @quick
  def run(key):
    train_key, step_key = jax.random.split(key)
    state = train(learner, task, train_key, 30)
    after, transition = learner.step(task, state, step_key)
    value, next_value = (network.apply(state.params, obs, none)[1]
                         for obs in (transition.obs, transition.next_obs))
    return state.params, after.opt_state[1][0].mu, transition, value, next_value

  @quick
  @jax.grad
  def gradient(params, transition, advantage, target):
    logits, value = network.apply(params, transition.obs, none)
    probs = jax.nn.softmax(logits)
    chosen = jnp.take_along_axis(
        probs, transition.action[..., None], -1).squeeze(-1)
    entropy = -(probs * jnp.log(probs)).sum(-1)
    return jnp.mean(-advantage * jnp.log(chosen) - config.entropy * entropy
                    + config.value_cost * (value - target) ** 2 / 2)

  params, found, transition, value, next_value = run(jax.random.key(0))
  assert abs(value).max() > 0.01
  assert transition.terminated.any()
  assert (transition.done & ~transition.terminated).any()
  columns = [np.asarray(x).T for x in (
      transition.reward, value, next_value, transition.terminated,
      transition.done)]
  advantage = np.stack([
      textbook_gae(*actor, config.discount, config.lambda_)
      for actor in zip(*columns)], 1)
  expected = gradient(params, transition, advantage, advantage + value)
  assert max(abs(x).max() for x in jax.tree.leaves(expected)) > 1e-3
  jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5),
      found, expected)


def test_the_ratio_is_clipped_where_it_would_pay():
  """In PPO's figure 1: no gradient beyond the clip, on the paying side only."""
  config = dataclasses.replace(SMALL, entropy=0.0, value_cost=0.0)
  transition = types.Transition(None, jnp.array([0]), None, None, None, None)

  @jax.jit
  def slope(ratio, advantage):
    step = actor_critic.Step(
        transition, None, None, jnp.log(0.5 / ratio)[None])
    return jax.grad(lambda logits: actor_critic.objective(
        config, logits, jnp.zeros(1), step, advantage[None],
        jnp.zeros(1)))(jnp.zeros((1, 2)))[0, 0]

  for ratio, advantage, pays in (
      (1.1, 1.0, True), (1.3, 1.0, False), (0.7, 1.0, True),
      (0.9, -1.0, True), (0.7, -1.0, False), (1.3, -1.0, True)):
    expected = -0.5 * ratio * advantage if pays else 0.0
    found = slope(jnp.float32(ratio), jnp.float32(advantage))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope='module')
def company():
  """(learner, tasks, keys, History [15, 3, 200]) of many learners at once."""
  tasks = dark_room.tasks(GRID)
  learner = actor_critic.learner(
      dataclasses.replace(SMALL, epochs=2, minibatches=3), tasks)
  keys = jax.random.split(jax.random.key(0), 15)
  return learner, tasks, keys, unroll(learner, 200)(tasks.train, keys)


def test_a_learner_among_others_is_a_learner_alone(company):
  learner, tasks, keys, many = company
  alone = quick(lambda task, key: types.unroll(learner, task, key, 60)[0])
  for n in (0, 7):
    some = alone(jax.tree.map(lambda x, n=n: x[n], tasks.train), keys[n])
    jax.tree.map(
        np.testing.assert_array_equal, some,
        jax.tree.map(lambda x, n=n: x[n, :, :60], many))


def test_actors_differ_and_share_their_task(company):
  _, tasks, _, history = company
  assert history.action.shape == (15, 3, 200)
  assert history.obs.shape == (15, 3, 200, 2)
  obs, action, reward, done = map(np.asarray, history)
  assert len(np.unique(action.reshape(45, 200), axis=0)) == 45
  on_goal = (obs == np.asarray(tasks.train.goals)[:, :1, None]).all(-1)
  within = ~done[..., :-1]
  np.testing.assert_array_equal(
      (reward[..., :-1] > 0)[within], on_goal[..., 1:][within])
  assert (reward.sum(-1) > 0).mean() > 0.9


def test_the_first_actions_are_random_until_something_is_found():
  """Zero heads: without a reward nothing moves, whatever Adam makes of it."""
  logits, value = solutions(CLIPPED, names=CLIPPED_PROBES)['nothing']
  np.testing.assert_allclose(logits[0], 0, atol=1e-3)
  np.testing.assert_array_equal(value[0], 0)


@pytest.mark.parametrize('config', [
    actor_critic.A2C,
    dataclasses.replace(actor_critic.PPO, rollout=10, hidden=(32,))],
                         ids=['a2c', 'ppo'])
@pytest.mark.long
def test_every_goal_of_a_small_room_is_learned(config):
  tasks = dark_room.tasks(GRID)
  learner = actor_critic.learner(config, tasks)
  found = final(learner, tasks, tasks.hypotheses, 40).mean(1)
  optimum = np.asarray(jax.vmap(tasks.optimal_return)(tasks.hypotheses))
  assert (found > 0.97 * optimum).all()


@pytest.mark.long
def test_a_hidden_key_needs_the_rewards_so_far():
  tasks = dark_room.tasks(dark_room.Config(
      size=5, num_goals=2, episode_length=30, pays_once=True,
      random_start=True, num_train=20, num_validation=5, num_held_out=5))
  goals = np.asarray(tasks.hypotheses.goals, np.int32)
  # Key and door in opposite corners: no tour serves both often.
  far = abs(goals[:, 0] - goals[:, 1]).sum(-1) == 8
  some = jax.tree.map(lambda x: x[far], tasks.hypotheses)
  config = dataclasses.replace(actor_critic.A2C, hidden=(32,))
  blind, told = (
      final(actor_critic.learner(
          dataclasses.replace(config, count_rewards=n), tasks),
            tasks, some, 60).mean() for n in (0, 2))
  assert blind < 1.2 < 1.9 < told


@pytest.mark.parametrize('field, value, allowed', [
    ('actors', 0, 'at least 1'),
    ('rollout', 0, 'at least 1'),
    ('discount', 1.5, 'from 0 to 1'),
    ('lambda_', -0.1, 'from 0 to 1'),
    ('entropy', -1.0, 'at least 0'),
    ('value_cost', -1.0, 'at least 0'),
    ('learning_rate', 0.0, 'above 0'),
    ('b1', 1.0, 'from 0 to below 1'),
    ('b2', 1.0, 'from 0 to below 1'),
    ('adam_epsilon', 0.0, 'above 0'),
    ('max_grad_norm', 0.0, 'above 0'),
    ('clip_ratio', 0.0, 'above 0'),
    ('epochs', 0, 'at least 1'),
    ('minibatches', 0, 'at least 1'),
    ('minibatches', 3, r'divisor of rollout \* actors=160'),
    ('hidden', (0,), 'tuple of widths'),
    ('channels', 16, 'tuple of widths'),
    ('count_rewards', -1, 'at least 0'),
])
def test_a_bad_config_names_its_field(field, value, allowed):
  with pytest.raises(ValueError, match=rf'^{field}=.*{allowed}'):
    actor_critic.Config(**{field: value})


def test_the_papers_source():
  paper = actor_critic.A2C_PAPER
  assert (paper.actors, paper.lambda_, paper.discount, paper.entropy) == (
      100, 0.95, 0.99, 0.01)
  assert (paper.learning_rate, paper.b1, paper.b2, paper.adam_epsilon,
          paper.hidden) == (1e-4, 0.9, 0.999, 1e-6, (128, 128, 128))
