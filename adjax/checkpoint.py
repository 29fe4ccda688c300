"""Saving and restoring a tree of arrays; the one place that knows orbax."""

from collections.abc import Callable
from typing import Any

import jax
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
    self._checkpointer.save(step, state, force=True, overwrite=True)

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
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        like)
    steps = self.steps
    for step in reversed(steps):
      try:
        state = self._checkpointer.load(step, abstract)
        jax.block_until_ready(state)
      except Exception as error:  # Orbax raises what it likes on corrupt files.
        reason = str(error.__cause__ or error).strip().splitlines() or ['']
        warn(f'checkpoint {step} does not load and is passed over '
             f'({type(error.__cause__ or error).__name__}: {reason[0][:200]})')
        continue
      return step, state
    if steps:
      raise RuntimeError(f'checkpoints {steps} are there and none loads')
    return None

  def close(self) -> None:
    self._checkpointer.close()
