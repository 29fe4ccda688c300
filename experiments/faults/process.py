"""A run in a process of its own, and what it says."""

from collections.abc import Iterable
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]
# Seconds after which a process that should have ended is a broken promise.
LIMIT = 600.0


class Process:
  """A Python program in a process of its own.

  Attributes:
    lines: (seconds since its start, line) of its standard output.
    error: what it wrote to standard error, once it has ended.
    code: its exit code as a shell would have it, once it has ended.
  """

  def __init__(self, args: Iterable[str], cwd: str | os.PathLike[str] = ROOT):
    self.lines: list[tuple[float, str]] = []
    self.error, self.code = '', None
    self._heard, self._over = threading.Condition(), False
    self._errors = tempfile.TemporaryFile()  # noqa: SIM115 Read at its end.
    self._begin = time.monotonic()
    self._process = subprocess.Popen(
        [sys.executable, *args], stdout=subprocess.PIPE, stderr=self._errors,
        stdin=subprocess.DEVNULL, text=True, errors='replace', cwd=cwd,
        env=_environment())
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      if line[-1] != '\n':  # It was killed while it said so.
        break
      with self._heard:
        self.lines.append((time.monotonic() - self._begin, line[:-1]))
        self._heard.notify_all()
    with self._heard:
      self._over = True
      self._heard.notify_all()

  @property
  def said(self) -> str:
    """All of its standard output and, once it has ended, its errors."""
    return '\n'.join(line for _, line in self.lines) + '\n' + self.error

  def heard(self, beginning: str) -> list[tuple[float, str]]:
    """The lines that begin so, and when they came."""
    return [pair for pair in self.lines if pair[1].startswith(beginning)]

  def wait(
      self, beginning: str, times: int = 1, seconds: float | None = None
  ) -> bool:
    """Waits for lines; False if it ended before, or the seconds were over.

    Args:
      beginning: of the lines.
      times: so many of them.
      seconds: the most to wait; None for LIMIT.

    Raises:
      RuntimeError: if nothing came for LIMIT seconds.
    """
    enough = lambda: len(self.heard(beginning)) >= times
    with self._heard:
      waited = self._heard.wait_for(
          lambda: self._over or enough(), LIMIT if seconds is None else seconds)
      if not waited and seconds is None:
        self.stop()
        raise RuntimeError(f'{beginning!r} did not come in {LIMIT:.0f} s')
      return enough()

  def send(self, number: int) -> None:
    """Sends a signal, if it has not ended."""
    self._process.send_signal(number)

  def end(self, limit: float = LIMIT) -> int:
    """Waits for its end: its exit code.

    Raises:
      RuntimeError: if it does not end by then.
    """
    try:
      code = self._process.wait(limit)
    except subprocess.TimeoutExpired:
      self.stop()
      raise RuntimeError(f'did not end in {limit:.0f} s') from None
    self._reader.join()
    self._errors.seek(0)
    self.error = self._errors.read().decode(errors='replace')
    self.code = code if code >= 0 else 128 - code
    return self.code

  def stop(self) -> None:
    """Ends it, whatever it is doing."""
    self._process.kill()
    self._process.wait()

  # What a run of ours says.

  @property
  def resumed(self) -> int:
    """The epoch after which it was resumed; 0 if it began."""
    found = re.search(r'^resumed after epoch (\d+)', self.said, re.M)
    return int(found[1]) if found else 0

  @property
  def computed(self) -> int:
    """The last epoch it has computed, whether or not it could save it."""
    begun = self.heard('@begin save')
    return int(begun[-1][1].split()[-1]) if begun else self.resumed

  @property
  def states(self) -> dict[int, list[dict[str, int]]]:
    """{epoch: digests by field of each seed's state}, saved or restored."""
    found = (json.loads(line.removeprefix('@state '))
             for _, line in self.heard('@state '))
    return {state['epoch']: state['digests'] for state in found}

  def at_work(self) -> float | None:
    """Seconds until its first epoch or, if all were there, its evaluation."""
    found = self.heard('@begin train') or self.heard('@begin evaluate')
    return found[0][0] if found else None


def _environment():
  """Of a run: programs compile faster, and are kept where its flag says."""
  kept = {name: value for name, value in os.environ.items()
          if not name.startswith('JAX_COMPILATION_CACHE')}
  paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
  flags = os.environ.get('XLA_FLAGS', '')
  if 'backend_optimization_level' not in flags:
    flags += ' --xla_backend_optimization_level=1'
  return kept | {'PYTHONPATH': os.pathsep.join(paths), 'XLA_FLAGS': flags}
