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


def left_out(
    diverged: np.ndarray | list[int], total: int, each: int, num_tasks: int
) -> str:
  """Names the source learners of diverged streams; '' if there are none.

  Args:
    diverged: their numbers.
    total: of how many streams.
    each: learners on each task.
    num_tasks: how many tasks there are.

  Raises:
    FloatingPointError: if these are all.
  """
  if len(diverged) == total:
    raise FloatingPointError(
        'source: every learner diverged (NaN or infinity in its state, '
        'rewards or observations); nothing can be distilled')
  if not len(diverged):
    return ''
  actors = total // (each * num_tasks)
  learners = np.unique(np.asarray(diverged) // actors)
  named = ', '.join(f'{n % each} of task {n // each}' for n in learners[:8])
  more = f' and {len(learners) - 8} more' if len(learners) > 8 else ''
  return (f'left out {len(learners)} source learners that diverged (NaN or '
          f'infinity): learner {named}{more}')


def figures(line: dict[str, Any]) -> str:
  """The figures of an epoch in one line."""
  validation = line['validation']
  loss = 'not finite' if line['loss'] is None else f'{line["loss"]:.4f}'
  skipped = sum(line['skipped'])
  return (
      f'loss {loss}  ' + (f'{skipped} updates skipped  ' if skipped else '') +
      f'validation {np.mean(validation["last_10_per_task"]):.2f}' + (
          '' if validation['optimum'] is None else
          f' of {np.mean(validation["optimum"]):.2f}') + '  '
      f'{line["transitions_per_s"] / 1e3:.1f}k transitions/s')
