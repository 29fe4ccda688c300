"""What a launched run prints: a live bar on a terminal, or plain lines."""

from collections.abc import Iterator
import contextlib
import io
import os
import sys
from typing import Any
from typing import cast
from typing import TextIO

import jax
import rich.console
import rich.progress

from adjax.experiment import progress


class _Output(io.TextIOBase):
  """Standard output, for as long as somebody takes it.

  A pipe that was closed or a disk that is full ends no training.
  """

  def __init__(self) -> None:
    self._file = sys.stdout or io.StringIO()

  @property
  def encoding(self) -> str:  # type: ignore[override]
    return self._file.encoding or 'utf-8'

  def isatty(self) -> bool:
    return self._file.isatty()

  def fileno(self) -> int:
    return self._file.fileno()

  def write(self, text: str) -> int:
    text = text.encode(self.encoding, 'backslashreplace').decode(self.encoding)
    try:
      return self._file.write(text)
    except (OSError, ValueError):
      self._leave()
      return len(text)

  def flush(self) -> None:
    try:
      self._file.flush()
    except (OSError, ValueError):
      self._leave()

  def _leave(self) -> None:
    """What is left in its buffer, which is written on exit, goes nowhere."""
    with contextlib.suppress(OSError, ValueError):
      nowhere = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nowhere, self._file.fileno())
      os.close(nowhere)


class Console(progress.Progress):
  """Reports stages and epochs on standard output."""

  def __init__(self) -> None:
    self._output = cast(TextIO, _Output())
    self._console = rich.console.Console(
        file=self._output, highlight=False, markup=False)
    self._bar: Any = None

  def say_everywhere(self, text: str) -> None:
    """Reports a line of every process."""
    self._write(text)

  def _write(self, text: str) -> None:
    if self._console.is_terminal:
      self._console.print(text)
    else:
      print(text, flush=True, file=self._output)

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
