"""Tables: a row for each observation of small integers."""

from collections.abc import Callable
import math
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from adjax import spaces
from adjax import types


class Table(NamedTuple):
  """Which row of a table a learner's input has.

  Attributes:
    size: the number of rows.
    row: (obs [*O], rewards of the present episode so far []) -> [], a row.
  """
  size: int
  row: Callable[[chex.Array, chex.Array], chex.Array]


def table(env: types.Env, count_rewards: int = 0) -> Table:
  """A row for each observation, times how many rewards there were so far.

  Entries beyond the bounds of their space are taken for the nearest within:
  nothing can be refused in a compiled program, and another cell's row would be
  read otherwise.

  Args:
    env: the environment.
    count_rewards: the largest number of rewards that has rows of its own.

  Raises:
    ValueError: if observations are not small integers.
  """
  values, counts = integer_values(env), count_rewards + 1
  if values is None or math.prod(n for _, n in values) * counts >= 2**31:
    raise ValueError(
        f'env={env.name}: must have observations of small integers for a '
        f'tabular learner, not {env.observation_space(env.default_params)}')
  low, sizes = (np.array(x, np.int32) for x in zip(*values))
  high = low + sizes - 1
  strides = np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.int32)

  def row(obs: chex.Array, rewards: chex.Array) -> chex.Array:
    # Entry by entry, as in exploration: so short a sum is slow as a reduction.
    entries = jnp.clip(obs.ravel().astype(jnp.int32), low, high)
    index = sum((entries[i] - int(low[i])) * int(strides[i])
                for i in range(len(low)))
    return index * counts + jnp.minimum(rewards, count_rewards)

  return Table(int(sizes.prod()) * counts, row)


def integer_values(env: types.Env) -> tuple[tuple[int, int], ...] | None:
  """(lowest, how many) for each entry of an observation of small integers.

  None for observations that are anything else.
  """
  parts = spaces.observation(env).parts
  if not all(np.isfinite(part.values).all() for part in parts):
    return None
  return tuple((int(low), int(number)) for part in parts
               for low, number in zip(part.low.ravel(), part.values.ravel()))
