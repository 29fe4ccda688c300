"""The driver: what unroll promises of any learner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import types
from adjax.envs import dark_room
from adjax.learners import references
from adjax.learners import tabular_q

TASKS = dark_room.tasks(dark_room.Config(
    size=3, episode_length=6, num_train=5, num_validation=2, num_held_out=2))
TASK = jax.tree.map(lambda x: x[0], TASKS.train)


def counting_learner(steps_per_call, copies):
  """A learner whose observations tell step and copy, and that counts steps."""

  def init(task, key):
    del key
    return jnp.int32(task)

  def step(task, state, key):
    del task, key
    time = state + jnp.arange(steps_per_call)[:, None] + jnp.zeros(
        copies, jnp.int32)
    nothing = jnp.zeros_like(time)
    obs = time * 10 + jnp.arange(copies)
    return state + steps_per_call, types.Transition(
        obs, nothing, nothing, nothing, nothing, obs)

  return types.Learner(init, step, steps_per_call)


def test_unroll_lays_out_copies_and_steps():
  history, _ = types.unroll(
      counting_learner(3, 2), jnp.int32(100), jax.random.key(0), 6)
  expected = (100 + np.arange(6))[None] * 10 + np.arange(2)[:, None]
  np.testing.assert_array_equal(history.obs, expected)


def test_what_a_call_does_beyond_the_last_step_is_dropped():
  (cut, finite), (whole, _) = (
      types.unroll(counting_learner(3, 2), jnp.int32(0), jax.random.key(0), n)
      for n in (7, 9))
  assert cut.done.shape == (2, 7)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:, :7]),
               cut, whole)
  # A learner without floats has none that could diverge.
  assert finite.shape == () and bool(finite)


def test_a_longer_history_begins_like_a_shorter_one():
  learner = tabular_q.Config().make(TASKS)
  # Less and more than unroll samples noise for at once.
  short, long = (
      types.unroll(learner, TASK, jax.random.key(0), n)[0] for n in (30, 130))
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:, :30]),
               short, long)
  assert len(np.unique(long.action)) == 5


def test_sample_draws_every_training_task_and_no_other():
  drawn = jax.vmap(TASKS.sample)(jax.random.split(jax.random.key(0), 200))
  as_set = lambda goals: {tuple(g) for g in np.asarray(goals).reshape(-1, 2)}
  assert as_set(drawn.goals) == as_set(TASKS.train.goals)


def test_histories_are_small():
  history, _ = jax.eval_shape(lambda key: types.unroll(
      references.random(TASKS), TASK, key, 20), jax.random.key(0))
  assert history.obs.dtype == history.action.dtype == jnp.int8
  assert history.reward.dtype == jnp.float32
  assert history.done.dtype == jnp.bool_


NOWHERE = {'state': 0.0, 'reward': 0.0, 'obs': 0.0}


def diverging_learner(task, key):
  """A learner that diverges from step 2 on as its task says: (begin, added).

  It tells the steps, adds up the rewards, begins with some floats [2] and is
  given what is to be added to its state, rewards and observations.
  """

  def init(task, key):
    begin, _ = task
    return (jnp.int32(0), begin, key)

  def step(task, state, key):
    _, added = task
    time, total, _ = state
    extra = {name: jnp.where(time >= 2, number, 0.0).reshape(1, 1)
             for name, number in added.items()}
    transition = types.Transition(
        obs=time + extra['obs'], action=jnp.zeros((1, 1), jnp.int8),
        reward=1.0 + extra['reward'], done=jnp.zeros((1, 1), bool),
        terminated=jnp.zeros((1, 1), bool), next_obs=jnp.zeros((1, 1)))
    return (time + 1, total + 1.0 + extra['state'][0, 0], key), transition

  return types.unroll(types.Learner(init, step), task, key, 5)


@jax.jit
def unroll_all(begin, added):
  """(History, finite) of five steps for each of several learners."""
  return jax.vmap(diverging_learner)(
      (begin, added), jax.random.split(jax.random.key(0), len(begin)))


def diverge(begin, **added):
  """The same, of learners that begin so [4, 2] and diverge so [4]."""
  added = {name: np.broadcast_to(np.float32(added.get(name, number)), 4)
           for name, number in NOWHERE.items()}
  return unroll_all(np.broadcast_to(np.float32(begin), (4, 2)), added)


@pytest.mark.parametrize('number', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('where', NOWHERE)
def test_each_learner_that_diverges_is_told_apart(where, number):
  history, finite = diverge([0, 0], **{where: [0, number, 0, number]})
  np.testing.assert_array_equal(finite, [True, False, True, False])
  # Nothing is made better than it was.
  diverged = np.array([False, True] * 2)[:, None] & (np.arange(5) >= 2)
  for name in ('reward', 'obs'):
    found = np.isfinite(np.asarray(getattr(history, name))[:, 0])
    np.testing.assert_array_equal(found, ~(diverged & (where == name)))


def test_infinity_from_the_beginning_does_not_count_but_nan_does():
  begin = [[0, -np.inf], [np.inf, 0], [0, np.nan], [0, 0]]
  np.testing.assert_array_equal(
      diverge(begin)[1], [True, True, False, True])
  # What began with infinity may still diverge.
  assert not diverge(begin, state=np.nan)[1].any()


def test_every_step_has_noise_of_its_own():
  """Within what unroll samples at once and beyond it."""

  def step(task, state, key):
    die = jax.random.bits(key, (1, 1))
    nothing = jnp.zeros((1, 1))
    return state, types.Transition(die, nothing, nothing, nothing, nothing, die)

  history, _ = types.unroll(
      types.Learner(lambda task, key: jnp.int32(0), step), None,
      jax.random.key(0), 3 * types.BLOCK)
  assert len(np.unique(history.obs)) == 3 * types.BLOCK
