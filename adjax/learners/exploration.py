"""Choosing actions: greedily, at random, and anything between."""

from collections.abc import Callable
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays

# On a CPU, XLA takes several times as long to reduce an axis this short as to
# run through its entries one by one, and to add them up as to multiply them.
_SHORT = 32


def anneal(
    start: float, end: float, steps: int, time: chex.Array
) -> chex.Array:
  """A value [] that moves from one to another linearly.

  Args:
    start: its value at time 0.
    end: its value from time `steps` on.
    steps: how long it moves.
    time: [], steps taken.
  """
  arrays.check('time [] number', time)
  share = jnp.clip(time / max(steps, 1), 0.0, 1.0)
  return start + (end - start) * share


def uniform(key: chex.PRNGKey, calls: int) -> chex.Array:
  """A number from [0, 1) for each call, as epsilon_greedy wants one."""
  arrays.check('key [] key', key)
  return jax.random.uniform(key, (calls,))


def epsilon_greedy(
    values: chex.Array, epsilon: chex.Numeric, u: chex.Array
) -> chex.Array:
  """A best action, or with probability epsilon any action.

  Args:
    values: [A], of the actions; ties are broken uniformly.
    epsilon: [], the share of actions that are uniformly random.
    u: [], one random number from [0, 1), which serves both choices: below
      epsilon it picks among all actions, above it among the best.
  """
  arrays.check('values [A] number, epsilon [] number, u [] float',
               values, epsilon, u)
  explore = u < epsilon
  allowed = explore | (values == reduce_values(jnp.maximum, values))
  share = jnp.where(explore, u / jnp.maximum(epsilon, 1e-9),
                    (u - epsilon) / jnp.maximum(1.0 - epsilon, 1e-9))
  return choose_allowed(allowed, share)


def reduce_values(
    function: Callable[..., chex.Array], values: chex.Array
) -> chex.Array:
  """The sum [], maximum [] or the like of values [A].

  Args:
    function: jnp.add, jnp.maximum or another jnp.ufunc.
    values: [A].
  """
  arrays.check('values [A] number', values)
  if values.size > _SHORT:
    # The type of jnp.add has no public name.
    return function.reduce(values)  # type: ignore[attr-defined]
  return functools.reduce(function, list(values))


def choose_allowed(allowed: chex.Array, share: chex.Array) -> chex.Array:
  """The index at this share in [0, 1) of the true entries of allowed [M]."""
  arrays.check('allowed [M] bool, share [] float', allowed, share)
  rank = _ranks(allowed)
  nth = jnp.minimum((share * rank[-1]).astype(rank.dtype), rank[-1] - 1)
  return (rank <= nth).sum()


def _ranks(allowed: chex.Array) -> chex.Array:
  """How many entries are true up to and with each one [M]."""
  if allowed.size > _SHORT:
    return jnp.cumsum(allowed)
  triangle = np.tri(allowed.size, dtype=np.float32)
  return (triangle @ allowed.astype(jnp.float32)).astype(jnp.int32)
