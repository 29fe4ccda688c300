"""What a run says while it works: a live bar on a terminal, or plain lines."""

from collections.abc import Iterator
import contextlib
import sys

import numpy as np
import rich.console
import rich.progress


class Progress:
  """Reports stages and epochs on standard output.

  Args:
    epochs: of the run.
    quiet: say nothing: of several processes one speaks.
  """

  def __init__(self, epochs: int, quiet: bool = False):
    self._quiet = quiet
    self._console = rich.console.Console(highlight=False, markup=False)
    self._epochs = epochs
    self._bar = None

  @contextlib.contextmanager
  def epochs(self, done: int) -> Iterator[None]:
    """Shows a bar over the epochs if there is a terminal to show it on."""
    if self._quiet or not self._console.is_terminal:
      yield
      return
    columns = (
        rich.progress.TextColumn('training'), rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn('{task.fields[figures]}'),
        rich.progress.TimeRemainingColumn())
    with rich.progress.Progress(*columns, console=self._console) as bar:
      self._bar = bar, bar.add_task(
          'epochs', total=self._epochs, completed=done, figures='')
      yield
    self._bar = None

  def say(self, text: str) -> None:
    """A line of its own."""
    if self._quiet:
      return
    if self._console.is_terminal:
      self._console.print(text)
    else:
      print(text)
      sys.stdout.flush()

  def epoch(self, line: dict, seconds_left: float) -> None:
    """The figures of an epoch."""
    validation = line['validation']
    loss = 'not finite' if line['loss'] is None else f'{line["loss"]:.4f}'
    skipped = sum(line['skipped'])
    figures = (
        f'loss {loss}  ' + (f'{skipped} updates skipped  ' if skipped else '') +
        f'validation {np.mean(validation["last_10_per_task"]):.2f} of '
        f'{np.mean(validation["optimum"]):.2f}  '
        f'{line["transitions_per_s"] / 1e3:.1f}k transitions/s')
    if self._bar is None:
      self.say(f'epoch {line["epoch"]}/{self._epochs}  {figures}  '
               f'{seconds_left:.0f} s left')
    else:
      bar, task = self._bar
      bar.update(task, completed=line['epoch'], figures=figures)
