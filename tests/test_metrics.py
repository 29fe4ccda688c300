"""Returns, interquartile means and intervals against plain NumPy.

And what is said of them, with an optimum and where nobody knows one.
"""

import dataclasses
import json
import types as types_lib
from unittest import mock

import hypothesis
from hypothesis import strategies as st
import jax
import numpy as np
import pytest
from scipy import special
from scipy import stats

from adjax import metrics
from adjax.envs import dark_room
from adjax.experiment import plot
from adjax.experiment import report


@hypothesis.given(st.integers(0, 2**31 - 1), st.floats(0.0, 0.5))
@hypothesis.settings(max_examples=30, deadline=None)
def test_returns_are_counted_from_done(seed, rate):
  rng = np.random.default_rng(seed)
  reward = rng.normal(size=60).astype(np.float32)
  done = rng.random(60) < rate
  expected, total = [], 0.0
  for r, d in zip(reward, done):
    total += r
    if d:
      expected.append(total)
      total = 0.0
  returns, finished = metrics.episode_returns(reward, done, 12)
  count = min(len(expected), 12)
  assert finished.sum() == count and finished[:count].all()
  np.testing.assert_allclose(returns[:count], expected[:count], atol=1e-4)
  assert not np.asarray(returns[count:]).any()


def test_an_unfinished_episode_is_not_a_number():
  reward, done = np.ones((2, 7)), np.zeros((2, 7), bool)
  done[:, [2, 5]] = True
  curves = np.asarray(metrics.learning_curves(reward, done, 3))
  np.testing.assert_array_equal(curves[0], [3, 3, np.nan])


@pytest.mark.parametrize('size', [4, 8, 40])
def test_iqm_is_the_mean_of_the_middle_half(size):
  x = np.random.default_rng(0).normal(size=(size, 3))
  middle = np.sort(x, 0)[size // 4:-(size // 4)]
  np.testing.assert_allclose(metrics.iqm(x), middle.mean(0))


def test_iqm_weighs_broken_quarters_and_skips_nan():
  # Of six, a quarter is 1.5: half of the second and of the fifth count.
  x = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 100.0, np.nan])
  assert metrics.iqm(x) == pytest.approx((0.5 * 1 + 2 + 3 + 0.5 * 4) / 3)


def test_the_interval_covers_the_mean_as_often_as_it_says():
  rng = np.random.default_rng(0)
  tasks = rng.normal(size=(1, 5, 1)) * 10  # Runs are alike, tasks are not.
  covered = 0
  for trial in range(200):
    x = tasks + rng.normal(size=(1, 5, 30))
    low, high = metrics.bootstrap(x, resamples=200, seed=trial)
    covered += low <= tasks.mean() <= high
  assert 180 <= covered <= 199


def test_the_interval_knows_that_training_seeds_differ():
  rng = np.random.default_rng(0)
  seeds = np.array([0.0, 1.0, 2.0]).reshape(3, 1, 1)
  low, high = metrics.bootstrap(seeds + 0.01 * rng.normal(size=(3, 5, 30)))
  assert low < 0.4 and high > 1.6


@pytest.fixture(scope='module')
def scores():
  """Shares [1, N, R] of one seed, as rliable has runs of several tasks."""
  rng = np.random.default_rng(0)
  return rng.beta(30, rng.uniform(1, 3, size=(1, 6, 1)), size=(1, 6, 40))


def test_iqm_and_its_bootstrap_agree_with_scipy(scores):
  def trimmed(*by_task, axis=-1):
    return stats.trim_mean(np.concatenate(by_task, -1), 0.25, axis=axis)
  assert metrics.iqm(scores.ravel()) == pytest.approx(
      trimmed(*scores[0]), abs=1e-12)
  ours = metrics.bootstrap(scores, resamples=8000, statistic=metrics.iqm)
  rng = np.random.default_rng(1)
  drawn = np.concatenate([
      rng.choice(runs, (8000, len(runs))) for runs in scores[0]], -1)
  theirs = np.percentile(stats.trim_mean(drawn, 0.25, axis=-1), [2.5, 97.5])
  np.testing.assert_allclose(ours, theirs, atol=5e-4)


# Five packages come with it, so that it is no requirement of the tests.
@pytest.mark.long
def test_iqm_and_its_bootstrap_agree_with_rliable(scores):
  library = pytest.importorskip('rliable.library')
  rliable = pytest.importorskip('rliable.metrics')
  iqm = lambda x: np.array([rliable.aggregate_iqm(x)])
  point, interval = library.get_interval_estimates(
      {'ours': scores[0].T}, iqm, reps=8000)
  np.testing.assert_allclose(metrics.iqm(scores.ravel()), point['ours'][0])
  ours = metrics.bootstrap(scores, resamples=8000, statistic=metrics.iqm)
  np.testing.assert_allclose(ours, interval['ours'][:, 0], atol=5e-4)


def crossed(seeds, tasks, both, runs):
  """Returns of crossed random effects with these standard deviations."""
  def draw(rng, s, n, r, trials):
    normal = lambda *shape: rng.normal(size=(*shape, trials))
    return (seeds * normal(s, 1, 1) + tasks * normal(1, n, 1)
            + both * normal(s, n, 1) + runs * normal(s, n, r))
  return draw


def skewed(a, b, seeds, both):
  """Shares of 20 steps; a task's is Beta(a, b), other effects on log odds."""
  def draw(rng, s, n, r, trials):
    task = np.clip(rng.beta(a, b, size=(1, n, 1, trials)), 1e-6, 1 - 1e-6)
    odds = special.logit(task)
    odds = odds + seeds * rng.normal(size=(s, 1, 1, trials))
    odds = odds + both * rng.normal(size=(s, n, 1, trials))
    return rng.binomial(20, special.expit(odds)[:, :, [0] * r]) / 20
  return draw


SIMULATED = {
    'runs differ': (crossed(0, 0, 0, 1), None),
    'seeds differ': (crossed(1, 0.1, 0.1, 0.3), None),
    'tasks differ': (crossed(0.1, 1, 0.1, 0.3), None),
    'both differ': (crossed(0.5, 0.5, 0.2, 0.5), None),
    'seeds differ by task': (crossed(0, 0, 1, 0.5), None),
    'most near 1': (skewed(9, 1, 0.3, 0.3), np.ones(8)),
    'most near 1, seeds differ': (skewed(9, 1, 0.8, 0.3), np.ones(8)),
    'most near 1, seeds do not': (skewed(9, 1, 0, 0), np.ones(8)),
    'nearer': (skewed(19, 1, 0.3, 0.3), np.ones(8)),
    'some far from it': (skewed(4, 0.4, 0.3, 0.3), np.ones(8)),
    'most near 0': (skewed(1, 9, 0.3, 0.3), np.ones(8))}


def coverage(draw, optimum, seeds, trials):
  """How often the intervals for mean and IQM cover them, of 8 tasks."""
  # Independent runs, each of a seed and a task of its own.
  everyone = draw(np.random.default_rng(0), 1, 1, 1, 400_000).ravel()
  rng, covered = np.random.default_rng(1), []
  for some in [500] * (trials // 500):
    found = metrics.intervals(draw(rng, seeds, 8, 10, some), optimum)
    covered.append([
        (low <= true) & (true <= high) for (low, high), true in zip(
            found, (everyone.mean(), metrics.iqm(everyone)))])
  return np.mean(covered, (0, 2))


@pytest.mark.parametrize('name', SIMULATED)
def test_intervals_over_seeds_and_tasks_cover(name):
  assert coverage(*SIMULATED[name], seeds=3, trials=1000).min() >= 0.93


@pytest.mark.long
@pytest.mark.parametrize('seeds', [2, 3, 5])
@pytest.mark.parametrize('name', SIMULATED)
def test_intervals_over_seeds_and_tasks_cover_in_the_long_run(name, seeds):
  # With five seeds those over tasks alone are nearly all of it.
  found = coverage(*SIMULATED[name], seeds=seeds, trials=20_000)
  assert found.min() >= (0.93 if seeds <= 3 else 0.92), found


@pytest.mark.parametrize('name', [
    'runs differ', 'seeds differ by task', 'most near 1, seeds do not'])
def test_an_interval_of_one_seed_covers_over_tasks(name):
  assert coverage(*SIMULATED[name], seeds=1, trials=1000)[0] >= 0.92


def test_an_interval_says_what_it_is_over():
  over = lambda *shape: metrics.over((*shape, 7))
  assert over(3, 8, 5) == 'seeds and tasks' and over(1, 8, 5) == 'tasks'
  assert over(3, 1, 5) == 'seeds' and over(1, 1, 5) == 'runs'


def test_intervals_are_students_along_each_axis_added_in_squares():
  x = np.random.default_rng(0).normal(size=(3, 8, 5))
  of = lambda y: stats.t.interval(
      0.95, len(y) - 1, y.mean(), stats.sem(y))
  np.testing.assert_allclose(
      metrics.intervals(x[:1])[0], of(x[0].mean(1)))
  np.testing.assert_allclose(
      metrics.intervals(x[:1, :1])[0], of(x[0, 0]))
  half = [np.diff(of(x.mean(axes))) / 2 for axes in ((1, 2), (0, 2))]
  np.testing.assert_allclose(
      metrics.intervals(x)[0], x.mean() + np.hypot(*half) * [-1, 1])


def test_what_a_task_allows_is_no_part_of_how_sure_we_are():
  optimum = np.array([2.0, 5.0, 20.0])
  optimal = np.broadcast_to(optimum[:, None], (2, 3, 4))
  for share in 1.0, 0.5:
    for found in metrics.intervals(share * optimal, optimum):
      np.testing.assert_allclose(found, share * optimum.mean())
  low, high = metrics.intervals(optimal)[0]
  assert low < 0 < 20 < high


@hypothesis.given(
    st.integers(0, 2**31 - 1), st.tuples(*[st.integers(1, 4)] * 3),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
@hypothesis.example(874, (1, 4, 1), 0.5)
@hypothesis.settings(max_examples=60, deadline=None)
def test_intervals_are_finite_and_within_what_is_possible(seed, shape, share):
  rng = np.random.default_rng(seed)
  optimum = rng.uniform(1, 20, shape[1])
  returns = optimum[:, None, None] * (rng.random((*shape, 6)) < share)
  for found in metrics.intervals(returns, optimum):
    assert np.isfinite(found).all() and (found[0] <= found[1]).all()
    assert (found >= 0).all() and (found <= optimum.mean() + 1e-9).all()
  found = metrics.intervals(returns, optimum)
  mean = returns.mean((0, 1, 2))
  assert (found[0][0] <= mean + 1e-9).all()
  assert (found[0][1] >= mean - 1e-9).all()
  # The order of seeds, tasks and runs does not matter.
  order = [rng.permutation(n) for n in shape]
  np.testing.assert_allclose(
      metrics.intervals(returns[np.ix_(*order)], optimum[order[1]]), found,
      atol=1e-6)


def test_runs_may_be_luckier_than_the_optimum_and_rewards_may_be_costs():
  rng = np.random.default_rng(0)
  returns = 1 + 0.05 * rng.normal(size=(3, 8, 20))
  low, high = metrics.intervals(returns, np.ones(8))[0]
  assert 0.9 < low < returns.mean() <= high <= max(1, returns.mean())
  low, high = metrics.intervals(returns - 2, np.ones(8))[0]
  assert -1.5 < low < -1 < high < -0.5


@pytest.mark.filterwarnings('error')
def test_unfinished_episodes_are_left_out_of_intervals():
  x = np.random.default_rng(0).normal(size=(3, 8, 5, 2))
  more = np.concatenate([x, np.full((3, 8, 2, 2), np.nan)], 2)
  np.testing.assert_allclose(metrics.intervals(more), metrics.intervals(x))
  x[..., 1] = np.nan
  found = np.array(metrics.intervals(x))
  assert np.isfinite(found[..., 0]).all() and np.isnan(found[..., 1]).all()


GRID = dark_room.Config(size=5, num_train=6, num_validation=2, num_held_out=4)
KNOWN = dark_room.tasks(GRID)
UNKNOWN = dataclasses.replace(KNOWN, optimal_return=None)


def told(tasks, seed=0):
  """Returns [seeds, N, R, E] of held-out tasks, a line, and the result."""
  rng = np.random.default_rng(seed)
  returns = {name: rng.uniform(0, 15, (2, number, 3, 12)) for name, number in (
      ('validation', 2), ('train', 6), ('held_out', 4))}
  steps = {name: rng.uniform(size=(2, 5)) for name in (
      'loss', 'gradient_norm')} | {'skipped': np.zeros((2, 5), int)}
  line = report.epoch_line(
      1, steps | {'returns': {
          name: returns[name] for name in ('validation', 'train')}},
      {'validation': report.optimum(tasks, tasks.validation),
       'train': report.optimum(tasks, tasks.train)}, 1.0, 10, [],
      np.zeros(2, bool))
  random, source = rng.uniform(0, 15, (2, 4, 3, 12))
  setup = types_lib.SimpleNamespace(
      tasks=tasks, experiment=types_lib.SimpleNamespace(
          name='grid', seeds=2,
          evaluate=types_lib.SimpleNamespace(reference_runs=3)))
  result = report.result(
      setup, {'held_out': {'random': random, 'source': source}},
      {'held_out': (returns['held_out'], None)}, line)
  return returns['held_out'], line, result | {
      'skipped_total': [0, 0], 'ended_early': [], 'seconds': {'total': 1.0}}


def drawn(result):
  """The axes of the curve of a result."""
  with mock.patch.object(plot, '_save') as save:
    plot.curve(result, GRID, 'nowhere')
  return save.call_args.args[0].axes[0]


def test_costs_are_drawn_as_they_are():
  _, _, result = told(KNOWN)
  number = len(result['held_out']['optimum'])
  result['held_out'] = result['held_out'] | {'optimum': [-10.0] * number}
  low, high = drawn(result).get_ylim()
  assert low < high > np.max(result['held_out']['return_mean'])


def test_an_optimum_that_nobody_knows_is_null_and_nothing_is_a_share_of_it():
  returns, line, result = told(UNKNOWN)
  # As a reader of the files finds them.
  line, result = map(json.loads, map(json.dumps, (line, result)))
  assert result['optimum_known'] is False
  for some in (line['validation'], line['train'], result['held_out'],
               result['validation'], result['train']):
    assert some['optimum'] is None
  np.testing.assert_allclose(
      result['held_out']['return_iqm'], metrics.iqm(returns.reshape(-1, 12)))
  mean = returns.mean((0, 1, 2))
  said = report.summary(result, 'folder')
  assert said.startswith('held-out return\n') and 'optimum' not in said
  assert f'episode 5: {mean[4]:.3f}' in said
  worst = returns.mean((0, 2))[:, -10:].mean(1).min()
  assert f'{mean[-10:].mean():.3f}, worst task {worst:.3f}' in said
  assert result['held_out']['last_10']['worst_task'] == pytest.approx(worst)
  assert result['held_out']['nauc'] is None
  assert result['held_out']['episodes_to_90'] is None
  axes = drawn(result)
  by_label = {x.get_label(): x.get_ydata() for x in axes.get_lines()}
  np.testing.assert_allclose(  # To its own scale.
      by_label['adjax, training tasks'], result['train']['return_mean'])
  assert not any('rescaled' in label for label in by_label)
  assert axes.get_ylim()[1] > mean.max()


def test_a_known_optimum_is_what_shares_are_of():
  returns, line, result = told(KNOWN)
  optimum = np.asarray(jax.vmap(KNOWN.optimal_return)(KNOWN.held_out))
  assert result['optimum_known'] is True
  np.testing.assert_array_equal(result['held_out']['optimum'], optimum)
  assert len(line['train']['optimum']) == 6
  shares = returns / optimum[:, None, None]
  np.testing.assert_allclose(
      result['held_out']['return_iqm'],
      optimum.mean() * metrics.iqm(shares.reshape(-1, 12)), rtol=1e-6)
  said = report.summary(result, 'folder')
  assert f'as a share of the optimum ({optimum.mean():.2f})' in said
  mean = returns.mean((0, 1, 2)) / optimum.mean()
  assert f'episode 5: {mean[4]:.3f}' in said
  held_out = result['held_out']
  assert held_out['interval'] == 'seeds and tasks'
  assert held_out['nauc'] == pytest.approx(mean.mean())
  assert f'all: {mean.mean():.3f}' in said
  late, least = held_out['last_10'], shares.mean((0, 2))[:, -10:].mean(1).min()
  assert late['worst_task'] == pytest.approx(least)
  assert f'worst task {least:.3f}' in said
  assert late['ci95'][0] < late['return_mean'] < late['ci95'][1]
  assert late['return_mean'] == pytest.approx(
      mean[-10:].mean() * optimum.mean())
  axes = drawn(result)
  assert axes.get_ylim() == pytest.approx((0, 1.04 * optimum.mean()))
  by_label = {x.get_label(): x.get_ydata() for x in axes.get_lines()}
  np.testing.assert_allclose(
      by_label['adjax, training tasks (rescaled)'],
      np.array(result['train']['return_mean']) * optimum.mean()
      / np.mean(result['train']['optimum']))


@pytest.mark.parametrize('curve, first', [
    ([0.91] * 8, 1), ([1.0, 1.0], 1), ([0.5] * 8, None),
    ([0.0] * 3 + [1.0] * 9, 4),  # Four of five are too few.
    ([1.0] * 9 + [0.0] + [1.0] * 9, 11),  # It has to stay.
    ([1.0] * 9 + [0.0], None)])
def test_when_a_curve_is_at_nine_tenths_and_stays(curve, first):
  def result(of):
    optimum = np.asarray(jax.vmap(of.optimal_return)(of.held_out))
    returns = optimum[:, None, None] * np.array(curve) * np.ones((1, 4, 3, 1))
    setup = types_lib.SimpleNamespace(
        tasks=of, experiment=types_lib.SimpleNamespace(name='grid', seeds=1))
    return report.result(
        setup, {'held_out': {'random': np.zeros((4, 3, len(curve)))}},
        {'held_out': (returns, None)},
        dict.fromkeys(('validation', 'train'), dict.fromkeys(
            ('optimum', 'return_mean'))))['held_out']
  found = result(KNOWN)
  assert found['episodes_to_90'] == first
  assert found['nauc'] == pytest.approx(np.mean(curve))
  assert found['interval'] == 'tasks'
