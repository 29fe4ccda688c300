"""Histories: independent, reproducible, of training tasks only, well cut."""

import dataclasses

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax import types
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import posterior
from adjax.learners import rmax
from adjax.learners import tabular_q

TASKS = dark_room.tasks(dark_room.Config(
    size=5, num_train=11, num_validation=7, num_held_out=7))
LEARNERS = {
    'q': tabular_q.learner(tabular_q.Config(), TASKS),
    'posterior': posterior.learner(posterior.Config(), TASKS),
    'rmax': rmax.learner(rmax.Config(sweeps=2), TASKS),
}


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def history_of(num_streams, lengths, seed=0):
  """A history [S, T] whose obs tell the step and whose episodes are given."""
  done = np.zeros((num_streams, sum(lengths[0])), bool)
  for stream, each in enumerate(lengths):
    done[stream, np.cumsum(each) - 1] = True
  obs = np.arange(done.size).reshape(*done.shape, 1)
  return types.History(*map(jnp.asarray, (obs, obs[..., 0] % 5,
                                          done.astype(np.float32), done)))


@pytest.mark.parametrize('name', sorted(LEARNERS))
def test_vmap_is_a_loop(name):
  learner = LEARNERS[name]
  many = histories.generate(learner, TASKS.train, jax.random.key(3), 2, 100)
  tasks, keys = histories.repeat(TASKS.train, jax.random.key(3), 2)
  alone = jax.jit(lambda task, key: types.unroll(learner, task, key, 100))
  for n, r in ((0, 0), (0, 1), (4, 1), (10, 0)):
    one = alone(jax.tree.map(lambda x, n=n, r=r: x[n, r], tasks), keys[n, r])
    assert_equal(jax.tree.map(lambda x, n=n, r=r: x[n, r][None], many), one)


@pytest.mark.parametrize('name', ['posterior', 'q'])
def test_jit_is_eager(name):
  tasks, keys = histories.repeat(TASKS.train, jax.random.key(3), 1)
  args = jax.tree.map(lambda x: x[:3], (tasks, keys))
  compiled = jax.jit(
      lambda *args: histories.run(LEARNERS[name], *args, 15))(*args)
  with jax.disable_jit():
    assert_equal(histories.run(LEARNERS[name], *args, 15), compiled)


def test_permuted_learners_have_permuted_histories():
  tasks, keys = histories.repeat(TASKS.train, jax.random.key(3), 2)
  order = np.random.default_rng(0).permutation(11)
  plain = histories.run(LEARNERS['q'], tasks, keys, 60)
  permuted = histories.run(
      LEARNERS['q'], *jax.tree.map(lambda x: x[order], (tasks, keys)), 60)
  assert_equal(jax.tree.map(lambda x: x[order], plain), permuted)


def test_histories_differ_and_more_of_them_do_not_change_the_first():
  few, many = (histories.generate(
      LEARNERS['q'], TASKS.train, jax.random.key(3), n, 60) for n in (2, 3))
  assert_equal(few, jax.tree.map(lambda x: x[:, :2], many))
  streams = np.asarray(histories.streams(many).action)
  assert len({tuple(s) for s in streams}) == len(streams) == 33


def test_a_history_pays_at_the_goal_of_its_training_task_and_nowhere_else():
  history = histories.generate(
      LEARNERS['posterior'], TASKS.train, jax.random.key(0), 3, 200)
  # next_obs is not kept: within an episode it is the next step's obs.
  paid = np.asarray(history.reward)[..., :-1] > 0
  paid &= ~np.asarray(history.done)[..., :-1]
  for n, goal in enumerate(np.asarray(TASKS.train.goals)[:, 0]):
    cells = np.asarray(history.obs)[n, :, 1:][paid[n]]
    assert len(cells) and (cells == goal).all()
  trained = {tuple(g) for g in np.asarray(TASKS.train.goals)[:, 0]}
  for other in (TASKS.validation, TASKS.held_out):
    assert not trained & {tuple(g) for g in np.asarray(other.goals)[:, 0]}


@pytest.mark.parametrize('every', [1, 2, 3])
def test_thinning_keeps_every_kth_episode(every):
  history = history_of(2, [[5] * 7, [5] * 7])
  thinned = histories.thin(history, every)
  kept = np.arange(70).reshape(2, 7, 5)[:, ::every].reshape(2, -1)
  np.testing.assert_array_equal(thinned.obs[..., 0], kept)
  np.testing.assert_array_equal(thinned.done.sum(1), [-(-7 // every)] * 2)


def test_thinning_and_tail_count_episodes_of_any_length():
  # Eleven steps each; the third episode of the second stream is not finished.
  history = history_of(2, [[3, 1, 4, 2, 1], [2, 4, 3, 1, 1]])
  done = np.asarray(history.done).copy()
  done[1, 8:] = False
  history = history._replace(done=jnp.asarray(done))
  thinned = histories.thin(history, 2)  # Episodes 0, 2, 4 and 0.
  np.testing.assert_array_equal(thinned.obs[..., 0], [[0, 1], [11, 12]])
  tail = histories.tail(history, 1)
  np.testing.assert_array_equal(tail.obs[..., 0], [[10], [16]])


@pytest.mark.parametrize('keep', [
    lambda x: histories.thin(x, 2), lambda x: histories.tail(x, 3),
    lambda x: histories.distilled(x, 1, 2),
    lambda x: histories.distilled(x, 3, 0)])
def test_streams_without_a_finished_episode_are_named(keep):
  none = history_of(3, [[10] * 2] * 3)
  none = none._replace(done=jnp.zeros_like(none.done))
  for done, stream in ((none.done, 0), (none.done.at[:2, 7].set(True), 2)):
    with pytest.raises(ValueError, match=(
        'history.done: must have a finished episode in every stream; '
        f'stream {stream} has none')):
      keep(none._replace(done=done))
  assert_equal(histories.distilled(none, 1, 0), none)  # All of it is wanted.


WITHIN = jax.jit(histories.distilled_within, static_argnums=(1, 2, 3))


@pytest.mark.parametrize('num_episodes', [0, 2])
@pytest.mark.parametrize('every', [1, 3])
def test_within_a_program_the_same_is_distilled(every, num_episodes):
  history = history_of(2, [[6] * 7] * 2)
  wanted = histories.distilled(history, every, num_episodes)
  kept, steps = WITHIN(history, every, num_episodes, wanted.done.shape[1])
  assert int(steps) == wanted.done.shape[1]
  assert_equal(kept, wanted)


@pytest.mark.parametrize('every, num_episodes', [(2, 0), (1, 2)])
def test_within_a_program_early_ends_leave_the_first_steps(every, num_episodes):
  history = history_of(2, [[3, 1, 4, 2, 1], [2, 4, 3, 1, 1]])
  wanted = histories.distilled(history, every, num_episodes)
  kept, steps = WITHIN(history, every, num_episodes, 10)
  assert int(steps) == wanted.done.shape[1] < 10 == kept.done.shape[1]
  assert_equal(jax.tree.map(lambda x: x[:, :int(steps)], kept), wanted)


@hypothesis.given(
    st.integers(0, 2**31 - 1), st.floats(0.05, 0.6),
    st.sampled_from([
        (1, 0, 20), (1, 2, 20), (2, 0, 20), (2, 2, 20), (1, 2, 4), (2, 0, 4)]))
@hypothesis.settings(deadline=None, max_examples=40)
def test_within_a_program_as_many_steps_as_the_shortest_stream_has(
    seed, often, what):
  """Against NumPy, stream by stream; bounds that cut and that do not."""
  every, num_episodes, bound = what
  done = np.random.default_rng(seed).random((3, 20)) < often
  history = jax.tree.map(np.asarray, history_of(3, [[20]] * 3))
  history = history._replace(done=done)
  wanted = []
  for row in done:
    ends = np.flatnonzero(row) + 1
    finished = np.split(np.arange(20), ends)[:len(ends)][::every]
    wanted.append(np.concatenate([[], *finished[-num_episodes:]]).astype(int))
  if every == 1 and not num_episodes:
    wanted = [np.arange(20)] * 3  # Unfinished episodes as well.
  length = min(bound, *map(len, wanted))
  rows = np.stack([x[len(x) - length if num_episodes else 0:][:length]
                   for x in wanted])
  kept, steps = jax.tree.map(
      np.asarray, WITHIN(history, every, num_episodes, bound))
  assert int(steps) == length and kept.done.shape == (3, bound)
  assert_equal(jax.tree.map(lambda x: x[:, :length], kept), jax.tree.map(
      lambda x: x[np.arange(3)[:, None], rows], history))


SOUND_ONLY = jax.jit(histories.sound_only)


@hypothesis.given(st.lists(st.booleans(), min_size=7, max_size=7))
@hypothesis.settings(deadline=None, max_examples=30)
def test_the_sick_are_replaced_evenly_and_the_sound_left_alone(sound):
  history = history_of(7, [[2] * 2] * 7)
  replaced = SOUND_ONLY(history, np.array(sound))
  sound = np.array(sound)
  stream = np.asarray(replaced.obs)[:, 0, 0] // 4
  if not sound.any():
    np.testing.assert_array_equal(stream, np.arange(7))
  else:
    np.testing.assert_array_equal(stream[sound], np.flatnonzero(sound))
    used = np.bincount(stream, minlength=7)
    assert not used[~sound].any() and np.ptp(used[sound]) <= 1
  assert_equal(replaced, jax.tree.map(lambda x: x[stream], history))


def showing(tell, ill=lambda task: False):
  """A learner in episodes of two steps that is shown what is told of its task.

  It is paid a die, or NaN if it is ill.
  """

  def step(task, state, key):
    obs = tell(task)[None, None]
    reward = jnp.where(ill(task), jnp.nan, jax.random.uniform(key, (1, 1)))
    done = jnp.full((1, 1), state % 2 == 1)
    return state + 1, types.Transition(
        obs, jnp.zeros((1, 1), jnp.int8), reward, done, done, obs)

  return types.Learner(lambda task, key: jnp.int32(0), step)


SETS = dict(num_train=5, num_validation=2, num_held_out=2)


@pytest.mark.parametrize('tasks, tell', [
    (bandit.tasks(bandit.Config(arms=3, **SETS)), lambda task: task.means),
    (watermaze.tasks(watermaze.Config(height=4, width=4, **SETS)),
     lambda task: task.platform)])
def test_endless_histories_are_of_tasks_drawn_anew(tasks, tell):
  tasks = dataclasses.replace(tasks, episode_length=2)
  make = jax.jit(histories.endless(showing(tell), tasks, 3, 4, 1, 0))
  seen = [np.asarray(tell(tasks.train))]
  for seed in range(2):
    fresh = make(jax.random.key(seed))
    assert fresh.history.done.shape == (15, 8) and int(fresh.steps) == 8
    assert not fresh.sick.any()
    told = np.asarray(fresh.history.obs)
    assert (told == told[:, :1]).all()
    each = told[:, 0].reshape(5, 3, -1)  # Three learners on each task.
    assert (each == each[:, :1]).all()
    assert len(np.unique(fresh.history.reward[:, 0])) == 15
    seen.append(each[:, 0])
  assert len(np.unique(np.concatenate(seen), axis=0)) == 15
  assert_equal(fresh, make(jax.random.key(1)))


def test_endless_histories_are_of_training_tasks_where_these_are_all():
  tasks = dataclasses.replace(TASKS, episode_length=2)
  tell = lambda task: task.goals[0]
  make = jax.jit(histories.endless(showing(tell), tasks, 2, 4, 3, 2))
  one, other = (make(jax.random.key(seed)) for seed in range(2))
  for fresh in one, other:
    assert fresh.history.done.shape == (22, 4) and int(fresh.steps) == 4
    np.testing.assert_array_equal(
        fresh.history.obs[:, 0], np.repeat(tasks.train.goals[:, 0], 2, axis=0))
  assert (one.history.reward != other.history.reward).all()


def test_endless_histories_are_of_sound_learners():
  tasks = dataclasses.replace(TASKS, episode_length=2)
  tell = lambda task: task.goals[0]
  ill = lambda task: (tell(task) == TASKS.train.goals[3, 0]).all()
  fresh, well = (
      jax.jit(histories.endless(source, tasks, 2, 4, 1, 0))(jax.random.key(0))
      for source in (showing(tell, ill), showing(tell)))
  np.testing.assert_array_equal(np.flatnonzero(fresh.sick), [6, 7])
  assert np.isfinite(fresh.history.reward).all()
  stream = np.arange(22)
  stream[[6, 7]] = 0, 1
  assert_equal(fresh.history, jax.tree.map(lambda x: x[stream], well.history))


def test_pieces_are_contiguous_uniform_and_aligned():
  history = history_of(3, [[10] * 2] * 3)
  pieces = histories.sample_subsequences(
      jax.random.key(0), history, 6000, 16)
  obs = np.asarray(pieces.obs[..., 0])
  assert (np.diff(obs, axis=1) == 1).all()
  np.testing.assert_array_equal(pieces.action, obs % 5)
  stream, start = np.divmod(obs[:, 0], 20)
  counts = np.zeros((3, 5))
  np.add.at(counts, (stream, start), 1)
  assert start.max() == 4 and counts.min() > 320 and counts.max() < 480


def test_a_piece_longer_than_its_history_is_refused():
  with pytest.raises(ValueError, match=r'distill\.length=21 .* 20 steps'):
    histories.sample_subsequences(
        jax.random.key(0), history_of(1, [[10] * 2]), 1, 21)
