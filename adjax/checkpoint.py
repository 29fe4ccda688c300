"""Saving and restoring a tree of arrays; the one place that knows orbax."""

from collections.abc import Callable
import logging
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

_POLICIES = ocp.training.preservation_policies


class Checkpoints:
  """The newest few states of a run, in a folder of its own.

  A save that did not finish is as if it had not begun.
  """

  def __init__(self, directory: str, keep: int = 3):
    self._checkpointer = ocp.training.Checkpointer(
        directory, preservation_policy=_POLICIES.LatestN(keep))

  @property
  def steps(self) -> list[int]:
    """The steps that were saved, oldest first."""
    return sorted(c.step for c in self._checkpointer.checkpoints)

  def save(self, step: int, state: Any) -> None:
    """Saves a state and returns once it is safe."""
    sealed = {'state': state, 'checksum': checksum(state)}
    self._checkpointer.save(step, sealed, force=True, overwrite=True)

  def restore(
      self, like: Any, warn: Callable[[str], None]
  ) -> tuple[int, Any] | None:
    """The newest state that loads, and its step.

    Args:
      like: a state of the same structure, shapes, dtypes and shardings.
      warn: is told of each newer state that does not load.

    Returns:
      (step, state), or None if nothing was ever saved.

    Raises:
      RuntimeError: if something was saved and none of it loads.
    """
    abstract = {
        'state': jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=x.sharding), like),
        'checksum': np.zeros((), np.uint32)}
    steps = self.steps
    # Orbax leaves the tasks of a load that failed to asyncio, which would
    # print their tracebacks when they are collected.
    logging.getLogger('asyncio').setLevel(logging.CRITICAL)
    for step in reversed(steps):
      try:
        sealed = self._checkpointer.load(step, abstract)
        if checksum(sealed['state']) != sealed['checksum']:
          raise ValueError('its checksum does not match its arrays')
      except Exception as error:  # Orbax raises what it likes.
        cause = error.__cause__ or error
        reason = str(cause).strip().splitlines() or ['']
        warn(f'checkpoint {step} does not load and is passed over '
             f'({type(cause).__name__}: {reason[0][:200]})')
        continue
      return step, sealed['state']
    if steps:
      raise RuntimeError(f'checkpoints {steps} are there and none loads')
    return None

  def close(self) -> None:
    self._checkpointer.close()


def checksum(state: Any) -> np.ndarray:
  """A CRC-32 [] of the bytes of a tree's arrays.

  Orbax finds what is missing or cut short; a bit that flipped inside an array
  it hands back as if it were right.
  """
  value = 0
  for leaf in jax.tree.leaves(state):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      leaf = jax.random.key_data(leaf)
    value = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), value)
  return np.asarray(value, np.uint32)
