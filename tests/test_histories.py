"""Histories: independent, reproducible, of training tasks only, well cut."""

import dataclasses
import functools

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import devices
from adjax import histories
from adjax import types
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.experiment import specification
from adjax.learners import posterior
from adjax.learners import references
from adjax.learners import tabular_q
from adjax.methods import distill
from tests import tiny

TASKS = dark_room.tasks(dark_room.Config(
    size=5, num_train=12, num_validation=6, num_held_out=6))
LEARNERS = {
    'tabular_q': tabular_q.Config().make(TASKS),
    'posterior': posterior.Config().make(TASKS),
}
KEY = jax.random.key(3)


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def take(tree, index):
  return jax.tree.map(lambda x: x[index], tree)


REPEATED = histories.repeat(TASKS.train, KEY, 2)


@functools.cache
def runner(name):
  """(tasks, keys) [N, R] -> (History, finite), compiled once."""
  return jax.jit(lambda *args: histories.run(LEARNERS[name], *args, 60))


@functools.cache
def generated(name):
  """Histories of two learners on every training task: (History, finite)."""
  return jax.tree.map(np.asarray, runner(name)(*REPEATED))


@pytest.mark.parametrize('name', sorted(LEARNERS))
def test_vmap_is_a_loop(name):
  history, finite = generated(name)
  alone = jax.jit(
      lambda task, key: types.unroll(LEARNERS[name], task, key, 60))
  for where in ((0, 0), (0, 1), (4, 1), (10, 0)):
    one, one_finite = alone(*take(REPEATED, where))
    assert_equal(take(history, where), take(one, 0))
    assert one_finite and finite[where]


@pytest.mark.long
def test_jit_is_eager():
  # Each operation is compiled for itself, which takes longer than all at once.
  learner = LEARNERS['tabular_q']
  args = take(REPEATED, (7, 1))
  with jax.disable_jit():
    history, finite = types.unroll(learner, *args, 2)
  # Whatever its length, a history begins alike.
  assert_equal(take(history, np.s_[0, :2]),
               take(generated('tabular_q')[0], np.s_[7, 1, :2]))
  assert finite


def test_permuted_learners_have_permuted_histories():
  order = np.random.default_rng(0).permutation(12)
  permuted = runner('tabular_q')(*take(REPEATED, order))
  assert_equal(take(generated('tabular_q'), order), permuted)


def test_histories_differ_and_more_of_them_do_not_change_the_first():
  few = generated('tabular_q')
  many = histories.generate(
      LEARNERS['tabular_q'], TASKS.train, KEY, 3, 60)
  assert_equal(few, take(many, np.s_[:, :2]))
  streams = np.asarray(histories.streams(many)[0].action)
  assert len({tuple(s) for s in streams}) == len(streams) == 36


def test_a_history_pays_at_the_goal_of_its_training_task_and_nowhere_else():
  history, _ = generated('posterior')
  # next_obs is not kept: within an episode it is the next step's obs.
  paid = (history.reward[..., :-1] > 0) & ~history.done[..., :-1]
  goals = np.asarray(TASKS.train.goals)[:, 0]
  for n, goal in enumerate(goals):
    cells = history.obs[n, :, 1:][paid[n]]
    assert len(cells) and (cells == goal).all()
  for other in (TASKS.validation, TASKS.held_out):
    assert not {*map(tuple, goals)} & {
        tuple(goal) for goal in np.asarray(other.goals)[:, 0]}


@functools.cache
def generated_over(number):
  """The same histories over so many devices, and the text of the largest."""
  learner = LEARNERS['tabular_q']
  args = TASKS.train, KEY, 2, 60
  with devices.use(devices.make_mesh(number)):
    # The one cache of the one function: it must tell meshes apart.
    made = jax.block_until_ready(histories.generate(learner, *args))
    text = number == 4 and histories.generate.lower(
        learner, *args).compile().as_text()
  return made, text


@pytest.mark.parametrize('number', [4, 2])
@pytest.mark.four_devices
def test_over_devices_histories_are_the_same_bit_for_bit(number):
  """Two meshes in one process, each with a program of its own."""
  made, text = generated_over(number)
  assert_equal(devices.fetch(made), generated('tabular_q'))
  for x in jax.tree.leaves(made):
    assert {shard.device.id for shard in x.addressable_shards} == set(
        range(number))
    assert {shard.data.shape for shard in x.addressable_shards} == {
        (12 // number, *x.shape[1:])}
  if text:
    for word in ('all-', 'collective-', 'reduce-scatter'):
      assert f' {word}' not in text


def numbered(done):
  """A history [S, T] that ends there, of which every step is another."""
  number = np.arange(done.size).reshape(done.shape)
  return types.History(number[..., None], number % 5,
                       number.astype(np.float32), done)


def of_lengths(lengths, unfinished=()):
  """A history [S, T] with episodes of these lengths, and of some no ends."""
  done = np.zeros((len(lengths), sum(lengths[0])), bool)
  for stream, each in enumerate(lengths):
    done[stream, np.cumsum(each) - 1] = True
  for stream, start in unfinished:
    done[stream, start:] = False
  return numbered(done)


SELECT = jax.jit(histories.select, static_argnames=('stride', 'last', 'bound'))


@pytest.mark.parametrize('stride, last, kept', [
    (2, 0, (0, 2, 4, 6)), (3, 2, (3, 6))])
def test_every_kth_episode_is_selected_or_the_last_of_these(
    stride, last, kept):
  history = of_lengths([[5] * 7] * 2)
  bound = 5 * len(kept)
  selected = SELECT(history, np.ones(2, bool), stride, last, bound)
  wanted = np.arange(70).reshape(2, 7, 5)[:, list(kept)].reshape(2, -1)
  np.testing.assert_array_equal(selected.history.obs[..., 0], wanted)
  assert (selected.steps, selected.num_streams) == (bound, 2)


def test_episodes_of_any_length_are_counted():
  # Eleven steps each; the third episode of the second stream is not finished.
  history = of_lengths(
      [[3, 1, 4, 2, 1], [2, 4, 3, 1, 1]], unfinished=[(1, 8)])
  for (stride, last), wanted in {
      (2, 0): [[0, 1], [11, 12]],  # Of episodes 0, 2, 4 and of 0.
      (1, 1): [[10], [16]]}.items():
    selected = SELECT(history, np.ones(2, bool), stride, last, 10)
    np.testing.assert_array_equal(
        selected.history.obs[:, :int(selected.steps), 0], wanted)


def selected_steps(done, stride, last):
  """What of one stream [T] is selected, told by NumPy."""
  if stride == 1 and not last:
    return np.arange(len(done))  # Unfinished episodes as well.
  ends = np.flatnonzero(done) + 1
  episodes = np.split(np.arange(len(done)), ends)[:len(ends)][::stride]
  return np.concatenate([[], *episodes[-last:]]).astype(int)


@hypothesis.given(
    st.integers(0, 2**31 - 1), st.floats(0.05, 0.6),
    st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from([
        (1, 0, 20), (1, 0, 7), (2, 0, 20), (3, 0, 4), (1, 2, 4), (2, 3, 20)]))
@hypothesis.settings(deadline=None, max_examples=60)
def test_of_finite_streams_as_many_steps_are_selected_as_the_shortest_has(
    seed, rate, finite, what):
  """Against NumPy, stream by stream; bounds that cut and that do not."""
  stride, last, bound = what
  finite = np.array(finite)
  history = numbered(np.random.default_rng(seed).random((4, 20)) < rate)
  selected = jax.tree.map(
      np.asarray, SELECT(history, finite, stride, last, bound))
  # Those that diverged come last and neither count nor shorten the others.
  order = [*np.flatnonzero(finite), *np.flatnonzero(~finite)]
  assert selected.num_streams == finite.sum()
  assert selected.history.done.shape == (4, bound)
  np.testing.assert_array_equal(
      selected.history.obs[..., 0] // 20,
      np.broadcast_to(np.array(order)[:, None], (4, bound)))
  wanted = [selected_steps(row, stride, last) for row in history.done[finite]]
  steps = min([bound, *map(len, wanted)])
  assert selected.steps == steps  # 0 if one has no finished episode.
  if not finite.any():
    return
  rows = np.stack([
      x[len(x) - steps:] if last else x[:steps] for x in wanted])
  assert_equal(
      take(selected.history, np.s_[:finite.sum(), :steps]),
      take(history, (np.flatnonzero(finite)[:, None], rows)))


def showing(tell, diverges=lambda task: False, copies=1):
  """A learner in episodes of two steps that is shown what is told of its task.

  To that is added ten times the number of the copy, each of which is paid a
  die, or NaN where the learner diverges.
  """

  def step(task, state, key):
    obs = tell(task) + 10 * jnp.arange(copies)[None, :, None]
    dice = jax.random.uniform(key, (1, copies))
    reward = jnp.where(diverges(task), jnp.nan, dice)
    done = jnp.full((1, copies), state % 2 == 1)
    return state + 1, types.Transition(
        obs, jnp.zeros((1, copies), jnp.int8), reward, done, done, obs)

  return types.Learner(lambda task, key: jnp.int32(0), step)


SETS = dict(num_train=5, num_validation=2, num_held_out=2)
CELL = lambda task: task.goals[0]


def in_fourth(task):
  return (CELL(task) == CELL(take(TASKS.train, 3))).all()


def test_the_copies_of_a_learner_are_streams_side_by_side():
  learner = showing(CELL, in_fourth, copies=3)
  history, finite = histories.generate(learner, TASKS.train, KEY, 2, 4)
  assert history.done.shape == (12, 6, 4)
  np.testing.assert_array_equal(
      finite, np.repeat(np.arange(12)[:, None] != 3, 6, 1))
  copy, cell = np.divmod(np.asarray(history.obs)[:, :, 0], 10)
  np.testing.assert_array_equal(
      cell, np.repeat(TASKS.train.goals, 6, 1))
  np.testing.assert_array_equal(
      copy, np.broadcast_to(np.tile(range(3), 2)[None, :, None], copy.shape))
  # As streams, too, they keep this order.
  assert_equal(jax.tree.map(lambda x: x.reshape(72, *x.shape[2:]), history),
               histories.streams(history))


@pytest.mark.parametrize('tasks, tell', [
    (bandit.tasks(bandit.Config(arms=3, **SETS)), lambda task: task.means),
    (watermaze.tasks(watermaze.Config(height=4, width=4, **SETS)),
     lambda task: task.platform)])
def test_regenerated_histories_are_of_tasks_sampled_anew(tasks, tell):
  tasks = dataclasses.replace(tasks, episode_length=2)
  make = jax.jit(histories.regenerator(showing(tell), tasks, 3, 4, 1, 0))
  told = [np.asarray(tell(tasks.train))]
  for seed in range(2):
    selected, finite = made = make(jax.random.key(seed))
    assert selected.history.done.shape == (15, 8) and finite.all()
    assert (selected.steps, selected.num_streams) == (8, 15)
    shown = np.asarray(selected.history.obs)
    assert (shown == shown[:, :1]).all()
    each = shown[:, 0].reshape(5, 3, -1)  # Three learners on each task.
    assert (each == each[:, :1]).all()
    assert len(np.unique(selected.history.reward[:, 0])) == 15
    told.append(each[:, 0])
  assert len(np.unique(np.concatenate(told), axis=0)) == 15
  assert_equal(made, make(jax.random.key(1)))


def test_regenerated_histories_are_of_training_tasks_where_these_are_all():
  tasks = dataclasses.replace(TASKS, episode_length=2)
  make = jax.jit(lambda key, diverge: histories.regenerator(
      showing(CELL, lambda task: diverge & in_fourth(task)),
      tasks, 2, 4, 3, 2)(key))
  (one, finite), (other, _) = (
      make(jax.random.key(seed), False) for seed in range(2))
  for selected in one, other:
    assert selected.history.done.shape == (24, 4)
    assert (selected.steps, selected.num_streams) == (4, 24)
    np.testing.assert_array_equal(
        selected.history.obs[:, 0],
        np.repeat(TASKS.train.goals[:, 0], 2, axis=0))
  assert finite.all()
  assert (one.history.reward != other.history.reward).all()
  # Those of learners that diverge come last and do not change the others.
  selected, finite = make(jax.random.key(0), True)
  np.testing.assert_array_equal(np.flatnonzero(~finite), [6, 7])
  assert (selected.steps, selected.num_streams) == (4, 22)
  assert_equal(take(selected.history, slice(22)),
               take(one.history, np.delete(np.arange(24), [6, 7])))
  assert np.isnan(selected.history.reward[22:]).all()


GATHER = jax.jit(histories.gather, static_argnames='length')


def test_subsequences_are_uniform_over_streams_and_starts():
  # Of four streams of thirty steps, three of twenty steps are there.
  streams, starts = histories.sample_subsequences(
      jax.random.key(0), jnp.int32(3), jnp.int32(20), 6000, 16)
  counts = np.zeros((4, 15))
  np.add.at(counts, (streams, starts), 1)
  assert counts.sum() == 6000 == counts[:3, :5].sum()
  assert counts[:3, :5].min() > 320 and counts.max() < 480
  # Of a whole history there is one.
  assert not histories.sample_subsequences(
      jax.random.key(0), jnp.int32(3), jnp.int32(16), 6000, 16)[1].any()


def shares_of_starts(steps, length, starts):
  """With which probability a subsequence begins at each step, exactly."""
  last = steps - length
  uniform = np.full(last + 1, 1 / (last + 1))
  drawn = np.clip(np.arange(-(length - 1), steps), 0, last)
  clipped = np.bincount(drawn, minlength=last + 1) / len(drawn)
  return {'uniform': uniform, 'clipped': clipped,
          'mixture': (uniform + clipped) / 2}[starts]


def shares_of_steps(shares, length):
  """The share of subsequences that each step of a history is in."""
  return np.convolve(shares, np.ones(length))


@hypothesis.given(st.integers(0, 2**31 - 1), st.integers(1, 30),
                  st.integers(0, 30), st.sampled_from(histories.STARTS))
@hypothesis.settings(deadline=None, max_examples=25)
def test_every_step_is_trained_on_as_often_as_the_starts_say(
    seed, length, more, starts):
  number, steps = 8000, length + more
  _, drawn = histories.sample_subsequences(
      jax.random.key(seed), 3, steps, number, length, starts)
  counts = np.bincount(drawn, minlength=more + 1)
  shares = shares_of_starts(steps, length, starts)
  assert len(counts) == more + 1 == len(shares)
  # Six standard deviations, and one more for what is rare.
  near = lambda counts, shares: (
      abs(counts - number * shares)
      <= 6 * np.sqrt(number * shares * abs(1 - shares)) + 6).all()
  assert near(counts, shares)
  assert near(*(shares_of_steps(x, length) for x in (counts, shares)))


def test_a_beginning_is_shown_more_often_where_starts_are_clipped():
  first = {
      starts: shares_of_steps(shares_of_starts(300, 225, starts), 225)[0]
      for starts in histories.STARTS}
  assert first['uniform'] == pytest.approx(1 / 76)
  assert first['clipped'] == pytest.approx(225 / 524)
  assert first['mixture'] == pytest.approx((1 / 76 + 225 / 524) / 2)


def test_starts_reach_the_trainer_and_leave_the_streams_alone():
  draw = lambda starts: distill.Config(length=60, batch_size=500).make(
      TASKS, LEARNERS['posterior'], tiny.null_model(TASKS.env),
      specification.Data(episodes=4, starts=starts)).subsequences(KEY, 3, 80)
  drawn = {starts: draw(starts) for starts in histories.STARTS}
  for starts, ((streams, begin), key) in drawn.items():
    np.testing.assert_array_equal(streams, drawn['uniform'][0][0])
    assert key == drawn['uniform'][1]
    share = shares_of_starts(80, 60, starts)[0]
    assert (begin == 0).mean() == pytest.approx(share, abs=0.12)
  (_, uniform), (_, clipped), (_, mixture) = (
      np.asarray(places) for places, _ in drawn.values())
  # A mixture is of the two, subsequence by subsequence.
  assert ((mixture == uniform) | (mixture == clipped)).all()
  # So many as in every run before there was a choice.
  np.testing.assert_array_equal(uniform, jax.random.randint(
      jax.random.split(jax.random.split(KEY, 3)[1])[1], (500,), 0, 21))


def test_starts_that_are_not_known_are_named():
  for refused in (
      lambda: specification.Data(starts='first'),
      lambda: histories.sample_subsequences(KEY, 3, 80, 5, 60, 'first')):
    with pytest.raises(ValueError, match=(
        r"^starts='first': must be one of 'uniform', 'clipped', 'mixture'$")):
      refused()


@pytest.mark.parametrize('impl', ['rbg', 'unsafe_rbg'])
def test_keys_that_draw_otherwise_together_than_alone_are_refused(impl):
  learner, tasks = LEARNERS['tabular_q'], TASKS.train
  with jax.default_prng_impl(impl):
    key = jax.random.key(3)
  for name, refused in (
      ('key', lambda: histories.generate(learner, tasks, key, 2, 60)),
      ('keys', lambda: histories.run(
          learner, *histories.repeat(tasks, key, 2), 60))):
    # Tracing refuses already: nothing is computed.
    with pytest.raises(ValueError, match=(
        rf"^{name}='{impl}': must be of 'threefry2x32' ")) as error:
      jax.eval_shape(refused)
    assert len(str(error.value).splitlines()) == 1


@hypothesis.given(st.integers(0, 2**31 - 1))
@hypothesis.settings(deadline=None, max_examples=15)
def test_a_subsequence_is_contiguous_and_follows_its_true_predecessor(seed):
  rng = np.random.default_rng(seed)
  history = numbered(rng.random((3, 20)) < 0.3)
  streams, starts = rng.integers(0, 3, 16), rng.integers(0, 12, 16)
  streams[:2], starts[:2] = (0, 2), (0, 11)  # The first and the last there is.
  batch = jax.tree.map(np.asarray, GATHER(history, streams, starts, 9))
  np.testing.assert_array_equal(batch.is_first, starts == 0)
  time = starts[:, None] + np.arange(-1, 9)
  wanted = take(history, (streams[:, None], np.maximum(time, 0)))
  assert_equal(batch.rows, wanted)


def test_every_episode_of_every_history_begins_anew():
  tasks = dark_room.tasks(dark_room.Config(
      size=5, episode_length=8, random_start=True, num_train=4,
      num_validation=1, num_held_out=1))
  history, _ = histories.generate(
      references.random(tasks), tasks.train, jax.random.key(0), 2, 320)
  starts = (np.asarray(history.obs)[:, :, ::8] @ [5, 1]).reshape(8, 40)
  assert all(len(set(stream)) > 12 for stream in starts)  # Of 25 cells.
  assert all(len(set(episode)) > 2 for episode in starts.T)
  assert np.bincount(starts.ravel(), minlength=25).min() > 2
