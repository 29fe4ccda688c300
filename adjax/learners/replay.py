"""A replay buffer: the last steps of several actors, a ring in device memory.

A ring is a tree of arrays [R, K, ...]; step t of actor k is in row t % R.
"""

import chex
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import types


def write(
    ring: types.PyTree, steps: types.PyTree, time: chex.Array
) -> types.PyTree:
  """The ring with new steps in it.

  Args:
    ring: a tree of arrays [R, K, ...].
    steps: the same of [n, K, ...]; n divides R.
    time: [], how many steps were ever written before.
  """
  arrays.check('steps [n, K, ...] any, time [] integer', steps, time)
  num = jax.tree.leaves(steps)[0].shape[0]
  arrays.check_like('steps', steps, jax.eval_shape(
      lambda: jax.tree.map(lambda old: old[:num], ring)))
  return jax.tree.map(
      lambda old, new: jax.lax.dynamic_update_slice_in_dim(
          old, new, time % old.shape[0], 0), ring, steps)


def sample(
    key: chex.PRNGKey, ring: types.PyTree, time: chex.Array, batch_size: int,
    length: int, newest: int = 0,
) -> types.PyTree:
  """Subsequences of consecutive steps of one actor each, uniform over the ring.

  Args:
    key: one key.
    ring: a tree of arrays [R, K, ...].
    time: [], how many steps were ever written to it, at least L.
    batch_size: B.
    length: L.
    newest: how many of the subsequences are the last L steps instead.

  Returns:
    The tree, [B, L, ...].
  """
  arrays.check('key [] key, ring [R, K, ...] any, time [] integer',
               key, ring, time)
  rows, actors = jax.tree.leaves(ring)[0].shape[:2]
  actor_key, start_key = jax.random.split(key)
  actor = jax.random.randint(actor_key, (batch_size,), 0, actors)
  # Times, not rows: none reaches over the row that is written next.
  start = jax.random.randint(
      start_key, (batch_size,), jnp.maximum(time - rows, 0), time - length + 1)
  start = jnp.where(jnp.arange(batch_size) < newest, time - length, start)
  row = (start[:, None] + jnp.arange(length)) % rows
  return jax.tree.map(lambda old: old[row, actor[:, None]], ring)
