"""Several processes of one run: what one does, all know of."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np


def together(action: Callable[[], Any]) -> Any:
  """The value of an action that all processes take; all fail if one does.

  Raises:
    Exception: the action's, or a RuntimeError that names another process whose
      action raised.
  """
  value, failed = None, None
  try:
    value = action()
  except Exception as error:
    failed = error
  if jax.process_count() > 1:
    all_failed = multihost_utils.process_allgather(
        np.asarray(failed is not None))
    if failed is None and all_failed.any():
      failed = RuntimeError(
          f'process {int(np.argmax(all_failed))} of this run failed; it has '
          'said why')
  if failed is not None:
    raise failed
  return value


def largest(number: int) -> int:
  """The largest of the integers that the processes have."""
  if jax.process_count() == 1:
    return number
  return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def as_first(numbers: list[int]) -> list[int]:
  """The integers that the first process has."""
  if jax.process_count() == 1:
    return numbers
  tell = multihost_utils.broadcast_one_to_all
  count = int(tell(np.int32(len(numbers))))
  ours = numbers if jax.process_index() == 0 else [0] * count
  return tell(np.asarray(ours, np.int32)).tolist()


@contextlib.contextmanager
def meeting() -> Iterator[Callable[[str], None]]:
  """A barrier(name) for work in which any process may fail: all fail then."""
  told = False

  def barrier(name):
    nonlocal told
    del name
    told = True  # Of whatever is raised here, the others know.
    together(lambda: None)
    told = False

  try:
    yield barrier
  except Exception as error:
    if not told:
      failed = error
      def fail():
        raise failed
      together(fail)
    raise
