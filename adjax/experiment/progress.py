"""What a run reports while it works."""

from collections.abc import Iterator
import contextlib
import logging
from typing import Any

import jax
import numpy as np


class Progress:
  """Reports stages and epochs to the logger 'adjax'.

  Subclasses report elsewhere. Of several processes the first reports.
  """

  def say(self, text: str) -> None:
    """Reports a line."""
    if jax.process_index() == 0:
      self._write(text)

  def _write(self, text: str) -> None:
    logging.getLogger('adjax').info('%s', text)

  @contextlib.contextmanager
  def epochs(self, done: int, epochs: int) -> Iterator[None]:
    """Is around all epochs, of which so many are done."""
    del done, epochs
    yield

  def epoch(
      self, line: dict[str, Any], epochs: int, seconds_left: float
  ) -> None:
    """Reports an epoch.

    Args:
      line: what metrics.jsonl says of it.
      epochs: how many there are.
      seconds_left: about, until the last one has ended.
    """
    self.say(f'epoch {line["epoch"]}/{epochs}  {figures(line)}  '
             f'{seconds_left:.0f} s left')


def figures(line: dict[str, Any]) -> str:
  """The figures of an epoch in one line."""
  validation = line['validation']
  loss = 'not finite' if line['loss'] is None else f'{line["loss"]:.4f}'
  skipped = sum(line['skipped'])
  return (
      f'loss {loss}  ' + (f'{skipped} updates skipped  ' if skipped else '') +
      f'validation {np.mean(validation["last_10_per_task"]):.2f} of '
      f'{np.mean(validation["optimum"]):.2f}  '
      f'{line["transitions_per_s"] / 1e3:.1f}k transitions/s')
