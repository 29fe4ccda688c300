"""DQN: its targets, its ring, its target network, and what it learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax import metrics
from adjax import types
from adjax.envs import dark_room
from adjax.learners import dqn
from adjax.learners import q_lambda
from adjax.learners import replay
from tests import probes

GRID = dark_room.Config(
    size=5, episode_length=10, num_train=15, num_validation=5, num_held_out=5)
SMALL = dqn.Config(
    actors=3, rollout=4, length=8, replay=24, batch_size=4, updates=1,
    target_period=3, hidden=(16,), epsilon_episodes=3, count_rewards=2)
PROBE = dqn.Config(
    actors=2, discount=0.8, final_epsilon=1.0, rollout=5, length=5, replay=500,
    hidden=(16,), channels=(4,), target_period=10, learning_rate=5e-3,
    cut_traces=True)


def first(tasks):
  return jax.tree.map(lambda x: x[0], tasks.train)


@pytest.fixture(scope='module')
def rollout():
  """31 states between 30 calls of SMALL, and their Transition [T, K]."""
  tasks = dark_room.tasks(GRID)
  learner, task = dqn.learner(SMALL, tasks), first(tasks)

  def step(state, key):
    after, transition = learner.step(task, state, key)
    return after, (after, transition)

  def run(key):
    init_key, step_key = jax.random.split(key)
    begin = learner.init(task, init_key)
    _, (states, transition) = jax.lax.scan(
        step, begin, jax.random.split(step_key, 30))
    return jax.tree.map(
        lambda x, xs: jnp.concatenate([x[None], xs]), begin, states), transition

  states, transition = jax.tree.map(np.asarray, jax.jit(run)(jax.random.key(0)))
  return states, jax.tree.map(
      lambda x: x.reshape(120, *x.shape[2:]), transition)


def slow_q_lambda(transition, q_t, discount, lambda_, cut):
  """Every target from its own way forward, in NumPy."""
  steps = len(transition.reward)
  targets = []
  for start in range(steps):
    total, weight = 0.0, 1.0
    for t in range(start, steps):
      total += weight * transition.reward[t]
      if transition.terminated[t]:
        break
      weight *= discount
      best = q_t[t].max()
      if (t == steps - 1 or transition.done[t]
          or (cut and q_t[t][transition.action[t + 1]] < best)):
        total += weight * best
        break
      total += weight * (1 - lambda_) * best
      weight *= lambda_
    targets.append(total)
  return np.array(targets)


def a_sequence(rng, steps, ends, greedy=0.5):
  """Transition [T] and values [T, 3] of a made-up sequence."""
  done = rng.random(steps) < ends
  q_t = rng.normal(size=(steps, 3)).astype(np.float32)
  action = rng.integers(0, 3, steps)
  action[1:] = np.where(
      rng.random(steps - 1) < greedy, q_t.argmax(-1)[:-1], action[1:])
  return types.Transition(
      obs=None, action=jnp.asarray(action),
      reward=jnp.asarray(rng.normal(size=steps), jnp.float32),
      done=jnp.asarray(done),
      terminated=jnp.asarray(done & (rng.random(steps) < 0.5)),
      next_obs=None), jnp.asarray(q_t)


def targets_of(transition, q_t, discount, lambda_, cut):
  return q_lambda.targets(
      transition.reward, discount * ~transition.terminated,
      q_lambda.traces(lambda_, cut, transition, q_t), q_t)


@pytest.mark.parametrize('cut', [False, True])
@pytest.mark.parametrize('lambda_', [0.0, 0.75, 1.0])
def test_targets_are_those_of_a_way_forward(lambda_, cut):
  rng = np.random.default_rng(0)
  for steps in (1, 30, 30, 30):
    transition, q_t = a_sequence(rng, steps, ends=0.15)
    np.testing.assert_allclose(
        targets_of(transition, q_t, 0.9, lambda_, cut),
        slow_q_lambda(jax.tree.map(np.asarray, transition), np.asarray(q_t),
                      0.9, lambda_, cut), atol=1e-5)


def test_targets_at_the_ends_of_lambda_are_the_textbooks():
  transition, q_t = a_sequence(np.random.default_rng(1), 20, ends=0.2)
  np.testing.assert_allclose(
      targets_of(transition, q_t, 0.9, 0.0, False),
      transition.reward + 0.9 * ~transition.terminated * q_t.max(-1),
      rtol=1e-6)
  # Nothing ends and every action is the best: the return, and what is left.
  transition, q_t = a_sequence(
      np.random.default_rng(2), 20, ends=0.0, greedy=1.0)
  reward = np.asarray(transition.reward)
  for cut in (False, True):
    np.testing.assert_allclose(
        targets_of(transition, q_t, 0.9, 1.0, cut),
        [(reward[t:] * 0.9**np.arange(20 - t)).sum()
         + 0.9**(20 - t) * float(q_t[-1].max()) for t in range(20)], atol=1e-5)


def test_the_ring_holds_the_last_steps(rollout):
  states, transition = rollout
  rewards = np.zeros((121, 3), int)
  for t in range(120):
    rewards[t + 1] = np.where(
        transition.done[t], 0, np.minimum(rewards[t] + transition.reward[t], 2))
  assert set(rewards.ravel()) == {0, 1, 2}
  for chunk in (1, 5, 6, 7, 30):
    ring = jax.tree.map(lambda x, n=chunk: x[n], states.replay)
    for t in range(max(0, 4 * chunk - 24), 4 * chunk):
      np.testing.assert_array_equal(ring.rewards[t % 24], rewards[t])
      for kept, done in zip(ring.transition, transition):
        np.testing.assert_array_equal(kept[t % 24], done[t])
  # Each actor's steps follow on each other within an episode, and are its own.
  go_on = ~transition.done[:-1]
  np.testing.assert_array_equal(
      transition.next_obs[:-1][go_on], transition.obs[1:][go_on])
  assert len({transition.action[:, k].tobytes() for k in range(3)}) == 3


@pytest.mark.parametrize('time', [6, 12, 21, 24, 27, 300])
def test_sampled_subsequences_are_consecutive_steps_of_one_actor(time):
  rows, actors, length = 24, 3, 5
  ring = jnp.full((rows, actors, 2), -1)
  for t in range(0, time, 3):
    new = jnp.stack(jnp.broadcast_arrays(
        t + jnp.arange(3)[:, None], jnp.arange(actors)), -1)
    ring = replay.write(ring, new, jnp.int32(t))
  sample = jax.jit(replay.sample, static_argnums=(3, 4, 5))
  found = np.asarray(sample(
      jax.random.key(0), ring, jnp.int32(time), 4000, length, 50))
  assert found.shape == (4000, length, 2)
  start, actor = found[:, 0].T
  np.testing.assert_array_equal(
      found[..., 0], start[:, None] + np.arange(length))
  assert (found[..., 1] == actor[:, None]).all()
  np.testing.assert_array_equal(start[:50], time - length)
  # All that is kept is drawn, evenly, and nothing else.
  low, high = max(0, time - rows), time - length + 1
  counts = np.bincount(start[50:], minlength=high)[low:]
  assert start.min() == low and start.max() == high - 1
  np.testing.assert_allclose(counts / 3950, 1 / (high - low), atol=0.03)
  np.testing.assert_allclose(np.bincount(actor) / 4000, 1 / 3, atol=0.03)


def test_the_target_network_lags(rollout):
  states, _ = rollout
  flat = lambda tree: np.concatenate(
      [x.reshape(31, -1) for x in jax.tree.leaves(tree)], 1)
  params, target = flat(states.weights.params), flat(states.weights.target)
  # The first sequence of 8 is there after two rollouts of 4.
  updates = np.maximum(np.arange(31) - 1, 0)
  np.testing.assert_array_equal(states.weights.updates, updates)
  for n in range(2, 31):
    np.testing.assert_array_equal(target[n], params[n - updates[n] % 3])
  assert all((params[n] != params[n - 1]).any() for n in range(20, 31))


@functools.cache
def solutions(images):
  """{probe: values [2, A]} after learning."""
  some = probes.IMAGES if images else probes.PROBES
  tasks = probes.tasks(some)
  learner = dqn.learner(PROBE, tasks)

  @jax.jit
  @jax.vmap
  def run(task):
    key = jax.random.key(0)
    state = jax.lax.fori_loop(
        0, 1000 if images else 1500, lambda t, state: learner.step(
            task, state, jax.random.fold_in(key, t))[0],
        learner.init(task, key))
    return dqn.Network(PROBE, tasks.env).apply(
        state.weights.params, task.observations, jnp.zeros(2, jnp.int8))

  return dict(zip(some, map(np.asarray, run(tasks.train))))


@pytest.mark.parametrize('images, name', [
    *((False, name) for name in probes.PROBES), (True, 'cued choice')])
def test_probes_are_learned(images, name):
  probe = (probes.IMAGES if images else probes.PROBES)[name]
  found = solutions(images)[name][:probe.shown]
  np.testing.assert_allclose(
      found.max(-1), probe.values(PROBE.discount), rtol=0.05, atol=0.05)
  for row, action in zip(found, probe.best):
    if action >= 0:
      assert row.argmax() == action and row[1 - action] < 0.1
    else:
      assert np.ptp(row) < 0.05 * max(1, row.max())


def test_a_small_room_is_learned_and_company_changes_nothing():
  tasks = dark_room.tasks(GRID)
  learner = dqn.learner(dqn.DQN, tasks)
  run = jax.jit(lambda tasks, keys: histories.run(
      learner, tasks, keys, 400)[0])
  some = jax.tree.map(lambda x: x[:4], tasks.train)
  repeated, keys = histories.repeat(some, jax.random.key(0), 1)
  history = run(repeated, keys)
  curve = metrics.learning_curves(history.reward, history.done, 40)
  share = curve / jax.vmap(tasks.optimal_return)(some)[:, None, None]
  assert curve.shape == (4, 4, 40)
  assert share[..., :3].mean() < 0.5 and share[..., -10:].mean() > 0.9
  # The third in other company.
  others = jax.tree.map(
      lambda x, y: x[4:8, None].at[2].set(y[2]), tasks.train, repeated)
  again = run(others, jax.random.split(jax.random.key(1), (4, 1)).at[2].set(
      keys[2]))
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[2], y[2]),
               again, history)
  assert (again.action[1] != history.action[1]).any()


@pytest.mark.parametrize('field, value, allowed', [
    ('lambda_', 1.5, 'from 0 to 1'), ('b1', 1.0, 'below 1'),
    ('learning_rate', 0.0, 'above 0'), ('actors', 0, 'at least 1'),
    ('replay', 2001, r'multiple of rollout=5'),
    ('replay', 5, r'at least length=10'),
    ('hidden', (0,), 'widths of at least 1'), ('count_rewards', -1, 'at least'),
])
def test_a_bad_config_is_named(field, value, allowed):
  with pytest.raises(ValueError, match=rf'^{field}=.*{allowed}'):
    dataclasses.replace(dqn.DQN, **{field: value})
