"""Tables: a row for each observation of small integers."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

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

  Args:
    env: the environment.
    count_rewards: the largest number of rewards that has rows of its own.

  Raises:
    ValueError: if the observation space is not a small integer Box.
  """
  values = integer_values(env)
  if values is None:
    raise ValueError(
        f'env={env.name}: must have observations of small integers for a '
        f'tabular learner, not {env.observation_space(env.default_params)}')
  low, sizes = map(np.array, zip(*values))
  strides = np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.int32)
  counts = count_rewards + 1

  def row(obs: chex.Array, rewards: chex.Array) -> chex.Array:
    # Entry by entry, as in exploration: so short a sum is slow as a reduction.
    entries = obs.ravel().astype(jnp.int32)
    index = sum((entries[i] - int(low[i])) * int(strides[i])
                for i in range(len(low)))
    return index * counts + jnp.minimum(rewards, count_rewards)

  return Table(int(sizes.prod()) * counts, row)


def integer_values(env: types.Env) -> tuple[tuple[int, int], ...] | None:
  """(lowest, how many) for each entry of an observation of small integers.

  None for observations that are anything else.
  """
  space = env.observation_space(env.default_params)
  if not jnp.issubdtype(space.dtype, jnp.integer):
    return None
  low, high = (
      np.broadcast_to(np.asarray(bound, np.int64), space.shape).ravel()
      for bound in (space.low, space.high))
  return tuple((int(a), int(b - a + 1)) for a, b in zip(low, high))
