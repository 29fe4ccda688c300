"""Returns by episode, and how sure we may be of them."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

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


def bootstrap(
    x: np.ndarray, confidence: float = 0.95, resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
  """A percentile interval [2, ...] for the mean over tasks and runs.

  Args:
    x: [seeds, N, R, ...], R runs on each of N tasks by each training seed.
      Seeds are drawn anew, then runs within each seed and task (a stratified
      bootstrap, Agarwal et al. 2021): the interval is for these tasks, not for
      others, and with one seed for these weights alone.
    confidence: its coverage.
    resamples: how many.
    seed: of the resampling.
  """
  arrays.check('x [seeds, N, R, ...] number', x)
  rng = np.random.default_rng(seed)
  seeds, num_tasks, runs = x.shape[:3]
  task = np.arange(num_tasks)[:, None]
  means = []
  for _ in range(resamples):
    seed_index = rng.integers(seeds, size=(seeds, 1, 1))
    run_index = rng.integers(runs, size=(seeds, num_tasks, runs))
    means.append(np.nanmean(x[seed_index, task, run_index], (0, 1, 2)))
  tail = 50 * (1 - confidence)
  return np.percentile(means, [tail, 100 - tail], axis=0)
