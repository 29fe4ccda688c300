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
  program = lambda some, key: rng.uniform(0, 15, (4, 3, 12))
  setup = types_lib.SimpleNamespace(
      tasks=tasks, keys=types_lib.SimpleNamespace(references=jax.random.key(0)),
      experiment=types_lib.SimpleNamespace(
          name='grid', seeds=2,
          evaluate=types_lib.SimpleNamespace(reference_runs=3)))
  result = report.result(
      setup, {'held_out': {'random': program, 'source': program}},
      {'held_out': (returns['held_out'], None)}, line)
  return returns['held_out'], line, result | {
      'skipped_total': [0, 0], 'ended_early': [], 'seconds': {'total': 1.0}}


def drawn(result):
  """The axes of the curve of a result."""
  with mock.patch.object(plot, '_save') as save:
    plot.curve(result, GRID, 'nowhere')
  return save.call_args.args[0].axes[0]


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
  axes = drawn(result)
  assert axes.get_ylim() == pytest.approx((0, 1.04 * optimum.mean()))
  by_label = {x.get_label(): x.get_ydata() for x in axes.get_lines()}
  np.testing.assert_allclose(
      by_label['adjax, training tasks (rescaled)'],
      np.array(result['train']['return_mean']) * optimum.mean()
      / np.mean(result['train']['optimum']))
