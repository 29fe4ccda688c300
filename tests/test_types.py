"""The driver: what unroll promises of any learner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import types
from adjax.envs import dark_room
from adjax.learners import references
from adjax.learners import tabular_q


def counting_learner(stride, copies):
  """A learner whose observations tell step and copy, and that counts steps."""

  def init(task, key):
    del key
    return jnp.int32(task)

  def step(task, state, key):
    del task, key
    time = state + jnp.arange(stride)[:, None] + jnp.zeros(copies, jnp.int32)
    nothing = jnp.zeros_like(time)
    obs = time * 10 + jnp.arange(copies)
    return state + stride, types.Transition(
        obs, nothing, nothing, nothing, nothing, obs)

  return types.Learner(init, step, stride)


def test_unroll_lays_out_copies_and_steps():
  history = types.unroll(
      counting_learner(3, 2), jnp.int32(100), jax.random.key(0), 6)
  expected = (100 + np.arange(6))[None] * 10 + np.arange(2)[:, None]
  np.testing.assert_array_equal(history.obs, expected)


def test_what_a_chunk_does_beyond_the_last_step_is_dropped():
  cut, whole = (types.unroll(counting_learner(3, 2), jnp.int32(0),
                             jax.random.key(0), n) for n in (7, 9))
  assert cut.done.shape == (2, 7)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:, :7]),
               cut, whole)


def test_a_longer_history_begins_like_a_shorter_one():
  tasks = dark_room.tasks()
  task = jax.tree.map(lambda x: x[0], tasks.train)
  learner = tabular_q.learner(tabular_q.Config(), tasks)
  short, long = (types.unroll(learner, task, jax.random.key(0), n)
                 for n in (30, 130))  # Less and more than unroll draws at once.
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:, :30]),
               short, long)


def test_sample_draws_every_training_task_and_no_other():
  tasks = dark_room.tasks(dark_room.Config(num_train=5))
  drawn = jax.vmap(tasks.sample)(jax.random.split(jax.random.key(0), 200))
  as_set = lambda goals: {tuple(g) for g in np.asarray(goals).reshape(-1, 2)}
  assert as_set(drawn.goals) == as_set(tasks.train.goals)


def test_histories_are_small():
  tasks = dark_room.tasks()
  task = jax.tree.map(lambda x: x[0], tasks.train)
  history = types.unroll(
      references.random(tasks), task, jax.random.key(0), 20)
  assert history.obs.dtype == history.action.dtype == jnp.int8
  assert history.done.dtype == jnp.bool_


def ailing_learner(begin, ill_state=0.0, ill_reward=0.0, ill_obs=0.0):
  """A learner that is given those numbers from step 2 on if its task is ill.

  It tells the steps, adds up the rewards and begins with some floats [2].
  """

  def init(task, key):
    del task
    return (jnp.int32(0), jnp.asarray(begin, jnp.float32), key)

  def step(task, state, key):
    time, total, _ = state
    hit = task & (time >= 2)
    ill = lambda number: jnp.where(hit, number, 0.0).reshape(1, 1)
    seen = types.Transition(
        obs=time + ill(ill_obs), action=jnp.zeros((1, 1), jnp.int8),
        reward=1.0 + ill(ill_reward), done=jnp.zeros((1, 1), bool),
        terminated=jnp.zeros((1, 1), bool), next_obs=jnp.zeros((1, 1)))
    return (time + 1, total + 1.0 + ill(ill_state)[0, 0], key), seen

  return types.Learner(init, step)


def checked(learner, ill):
  """(History, sound) of five steps for each task of a vmapped learner."""
  return jax.jit(jax.vmap(
      lambda task, key: types.unroll_checked(learner, task, key, 5)))(
          jnp.array(ill), jax.random.split(jax.random.key(0), len(ill)))


@pytest.mark.parametrize('number', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('place', ['ill_state', 'ill_reward', 'ill_obs'])
def test_each_learner_that_falls_ill_is_told_apart(place, number):
  learner = ailing_learner([0, 0], **{place: number})
  history, sound = checked(learner, [False, True, False, True])
  np.testing.assert_array_equal(sound, [True, False, True, False])
  # Nothing is made better than it was.
  ill = np.array([False, True])[:, None] & (np.arange(5) >= 2)
  for name in ('reward', 'obs'):
    finite = np.isfinite(np.asarray(getattr(history, name))[:2, 0])
    np.testing.assert_array_equal(finite, ~(ill & (place == 'ill_' + name)))


def test_infinity_from_the_beginning_is_no_illness_but_nan_is():
  for begin, sound in (([0, -np.inf], True), ([np.inf, 0], True),
                       ([0, np.nan], False)):
    assert bool(checked(ailing_learner(begin), [False])[1][0]) == sound
  # What began with infinity may still fall ill.
  assert not checked(ailing_learner([0, -np.inf], np.nan), [True])[1][0]


def test_a_learner_without_floats_is_sound():
  _, sound = types.unroll_checked(
      counting_learner(3, 2), jnp.int32(0), jax.random.key(0), 7)
  assert sound.shape == () and bool(sound)


def test_unroll_is_unroll_checked_without_its_verdict():
  learner = ailing_learner([0, 0], np.nan, np.nan)
  args = learner, jnp.bool_(True), jax.random.key(0), 5
  jax.tree.map(np.testing.assert_array_equal,
               types.unroll(*args), types.unroll_checked(*args)[0])
