"""What a launched run prints: a live bar on a terminal, or plain lines."""

from collections.abc import Iterator
import contextlib
from typing import Any

import jax
import rich.console
import rich.progress

from adjax.experiment import progress


class Console(progress.Progress):
  """Reports stages and epochs on standard output."""

  def __init__(self) -> None:
    self._console = rich.console.Console(highlight=False, markup=False)
    self._bar: Any = None

  def _write(self, text: str) -> None:
    if self._console.is_terminal:
      self._console.print(text)
    else:
      print(text, flush=True)

  @contextlib.contextmanager
  def epochs(self, done: int, epochs: int) -> Iterator[None]:
    """Shows a bar over the epochs if there is a terminal to show it on."""
    if jax.process_index() > 0 or not self._console.is_terminal:
      yield
      return
    columns = (
        rich.progress.TextColumn('training'), rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn('{task.fields[figures]}'),
        rich.progress.TimeRemainingColumn())
    with rich.progress.Progress(*columns, console=self._console) as bar:
      self._bar = bar, bar.add_task(
          'epochs', total=epochs, completed=done, figures='')
      yield
    self._bar = None

  def epoch(
      self, line: dict[str, Any], epochs: int, seconds_left: float
  ) -> None:
    """Reports an epoch, on the bar if there is one."""
    if self._bar is None:
      super().epoch(line, epochs, seconds_left)
    else:
      bar, task = self._bar
      bar.update(task, completed=line['epoch'],
                 figures=progress.figures(line))
