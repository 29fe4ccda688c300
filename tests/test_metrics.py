"""Returns, interquartile means and intervals against plain NumPy."""

import hypothesis
from hypothesis import strategies as st
import numpy as np
import pytest

from adjax import metrics


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
