"""The driver: what unroll promises of any learner."""

import jax
import jax.numpy as jnp
import numpy as np

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
