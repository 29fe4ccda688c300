"""Returns by episode, and how sure we may be of them."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from adjax import arrays


def episode_returns(
    reward: chex.Array, done: chex.Array, num_episodes: int
) -> tuple[chex.Array, chex.Array]:
  """The return of each of the first E episodes of a stream.

  Args:
    reward: [T].
    done: [T]; episodes are counted from it, whatever their length.
    num_episodes: E.

  Returns:
    returns [E], and finished [E], false where an episode did not end within T;
    its return is then 0 and means nothing.
  """
  arrays.check('reward [T] number, done [T] bool', reward, done)
  ended = jnp.cumsum(done)
  returns = jnp.zeros(num_episodes).at[ended - done].add(reward, mode='drop')
  finished = jnp.arange(num_episodes) < ended[-1]
  return jnp.where(finished, returns, 0.0), finished


@functools.partial(jax.jit, static_argnames='num_episodes')
def learning_curves(
    reward: chex.Array, done: chex.Array, num_episodes: int
) -> chex.Array:
  """Returns [..., E] of streams [..., T]; NaN where an episode did not end."""
  arrays.check('reward [*S, T] number, done [*S, T] bool', reward, done)
  shape = reward.shape[:-1]
  returns, finished = jax.vmap(
      functools.partial(episode_returns, num_episodes=num_episodes))(
          *(x.reshape(-1, x.shape[-1]) for x in (reward, done)))
  return jnp.where(finished, returns, jnp.nan).reshape(*shape, num_episodes)


def iqm(x: np.ndarray, axis: int = 0) -> np.ndarray:
  """The interquartile mean: of the middle half (Agarwal et al. 2021).

  NaN entries are left out, the weights of the two outermost shares exact.
  """
  x = np.asarray(x)
  arrays.check('x [N, ...] number', x)
  x = np.sort(np.moveaxis(x.astype(np.float64), axis, 0), axis=0)
  count = (~np.isnan(x)).sum(0)
  rank = np.arange(x.shape[0]).reshape(-1, *([1] * (x.ndim - 1)))
  low, high = count / 4, 3 * count / 4
  weight = np.clip(np.minimum(rank + 1, high) - np.maximum(rank, low), 0, 1)
  with np.errstate(invalid='ignore'):
    return np.where(
        count > 0, np.nansum(x * weight, 0) / weight.sum(0), np.nan)


def over(shape: Sequence[int]) -> str:
  """What an interval is over, of returns [seeds, N, R, ...]."""
  return ' and '.join(('seeds', 'tasks', 'runs')[axis] for axis in _axes(shape))


def _axes(shape: Sequence[int]) -> list[int]:
  """Seeds and tasks where there are several; runs if neither are."""
  return [axis for axis in (0, 1) if shape[axis] > 1] or [2]


def intervals(
    returns: np.ndarray, optimum: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """95 % intervals [2, ...] for the mean and for the interquartile mean.

  They are for other training seeds and other tasks, drawn as these were, which
  every seed meets all of. With one seed they are over tasks alone, for its
  weights alone; `over` says so. NaN returns are left out.

  Where the optimum is known they are intervals of the share of it, so that
  which tasks are hard by nature is no part of them, and in returns as they are
  told. The share has a range, and an interval on its log odds keeps to it:
  where most tasks are near 1 it reaches further down than up, as it must.

  Args:
    returns: [seeds, N, R, ...], R runs on each of N tasks by each seed.
    optimum: [N], above 0; None if nobody knows it.
  """
  unit = np.ones(np.shape(returns)[1:2]) if optimum is None else optimum
  arrays.check('returns [seeds, N, R, ...] number, optimum [N] number',
               returns, unit)
  returns, unit = (np.asarray(x, np.float64) for x in (returns, unit))
  scale = unit.mean()
  unit = (unit / scale).reshape(-1, *[1] * (returns.ndim - 2))
  shares = returns / unit
  with warnings.catch_warnings():
    # An episode that no run has finished is NaN.
    warnings.simplefilter('ignore', RuntimeWarning)
    mean = np.nanmean(returns, (0, 1, 2))
    middle = iqm(shares.reshape(-1, *returns.shape[3:]))
    low, high = np.nanpercentile(shares, [25, 75], axis=(0, 1, 2))
    # A ratio of two means varies as its residuals do; a trimmed mean as twice
    # what is left with the outer quarters pulled in (Tukey & McLaughlin 1963).
    half_widths = (_half_width(returns - mean * unit),
                   _half_width(2 * np.clip(shares, low, high)))
    if optimum is None:
      around = lambda center, half_width: np.stack(
          [center - half_width, center + half_width])
    else:
      # Some runs may have been luckier than the optimum, or have paid.
      around = functools.partial(
          _on_log_odds, low=np.minimum(0, np.nanmin(shares, (0, 1, 2))),
          high=np.maximum(scale, np.nanmax(shares, (0, 1, 2))), most=scale)
    return around(mean, half_widths[0]), around(middle, half_widths[1])


def _half_width(x: np.ndarray) -> np.ndarray:
  """Of the mean of x [seeds, N, R, ...], without a range.

  Those of Student's t over seeds and over tasks, added in squares (MOVER: Zou &
  Donner 2008). With few degrees of freedom it covers more reliably than one t
  with degrees of freedom that are estimated (Satterthwaite), or a bootstrap.
  """
  squares = np.zeros(x.shape[3:])
  for axis in _axes(x.shape):
    means = np.nanmean(x, tuple({0, 1, 2} - {axis}))
    count = (~np.isnan(means)).sum(0)
    freedom = np.maximum(count - 1, 1)
    variance = np.nansum((means - np.nanmean(means, 0))**2, 0) / freedom
    squares += special.stdtrit(freedom, 0.975)**2 * variance / count
  return np.sqrt(squares)


def _on_log_odds(
    center: np.ndarray, half_width: np.ndarray, low: np.ndarray,
    high: np.ndarray, most: np.ndarray,
) -> np.ndarray:
  """An interval [2, ...], symmetric in the log odds of low to high, to most."""
  p = np.clip((center - low) / (high - low), 0, 1)
  # What is at an end but for rounding is at it, in whichever order it is added.
  p = np.where(np.abs(p - np.round(p)) < 1e-9, np.round(p), p)
  step = half_width / (high - low) / np.maximum(p * (1 - p), 1e-9)
  odds = np.exp(np.minimum(step, 700))
  at = lambda odds: low + (high - low) * p / (p + (1 - p) * odds)
  return np.stack([np.minimum(at(odds), center),
                   np.clip(at(1 / odds), center, np.maximum(most, center))])


def bootstrap(
    x: np.ndarray, confidence: float = 0.95, resamples: int = 1000,
    seed: int = 0,
    statistic: Callable[..., np.ndarray] = np.nanmean,
) -> np.ndarray:
  """A percentile interval [2, ...] for these tasks, by a stratified bootstrap.

  Seeds are drawn anew, then runs within each seed and task (Agarwal et al.
  2021). Of other tasks it says nothing, and with few seeds it covers too
  little: `intervals` does neither.

  Args:
    x: [seeds, N, R, ...], R runs on each of N tasks by each training seed.
    confidence: its coverage, if there are many seeds.
    resamples: how many.
    seed: of the resampling.
    statistic: (all runs [seeds * N * R, ...], axis=0) -> [...]: the mean, or
      `iqm`.
  """
  arrays.check('x [seeds, N, R, ...] number', x)
  rng = np.random.default_rng(seed)
  seeds, num_tasks, runs = x.shape[:3]
  task = np.arange(num_tasks)[:, None]
  found = []
  for _ in range(resamples):
    seed_index = rng.integers(seeds, size=(seeds, 1, 1))
    run_index = rng.integers(runs, size=(seeds, num_tasks, runs))
    found.append(statistic(
        x[seed_index, task, run_index].reshape(-1, *x.shape[3:]), axis=0))
  tail = 50 * (1 - confidence)
  return np.percentile(found, [tail, 100 - tail], axis=0)
