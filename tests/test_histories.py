"""Histories: independent, reproducible, of training tasks only, well cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax import types
from adjax.envs import dark_room
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
