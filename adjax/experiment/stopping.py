"""Being asked to stop: SIGTERM, as schedulers send it, and Ctrl-C.

The run works on a thread, so that the main thread can answer a signal while a
program runs on the device, which nothing can interrupt. A run can be resumed
from any instant; what answering is for is the epoch that would be lost.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType

from adjax import devices

# Seconds that an epoch under way is given to end, and its state to be saved.
# Schedulers that kill do so after 30 at the earliest.
GRACE = 20.0
_SAVING = 8.0


class Stopped(Exception):
  """The run was asked to stop, and has saved its last epoch."""


class Stop:
  """Whether a run is to stop, and what it would lose.

  Attributes:
    signal: the number of the first signal, 0 for none so far.
  """

  def __init__(self) -> None:
    self.signal = 0
    self._worth = threading.Event()
    self._saving = threading.Lock()

  @contextlib.contextmanager
  def epoch(self) -> Iterator[None]:
    """Around an epoch and its save: what is worth waiting for."""
    self._worth.set()
    try:
      yield
    finally:
      self._worth.clear()

  @contextlib.contextmanager
  def saving(self) -> Iterator[None]:
    """Around a save."""
    with self._saving:
      yield

  def check(self) -> None:
    """Raises Stopped if this or any other process of the run was asked to."""
    asked = devices.largest(self.signal)
    if asked:
      self.signal = self.signal or asked
      raise Stopped()

  def wait(self, thread: threading.Thread) -> None:
    """After a signal: until the epoch is saved, or there is no more time."""
    end = time.monotonic() + GRACE
    while (thread.is_alive() and self._worth.is_set()
           and time.monotonic() < end):
      thread.join(0.02)
    # Whatever is left of a save, and of the work after the last epoch's.
    thread.join(0.2)
    self._saving.acquire(timeout=_SAVING)


def run(work: Callable[[Stop], None]) -> int:
  """Does work(stop) to its end, or until a signal; returns the exit code.

  After a signal an epoch that ends within 20 s is saved, and the process exits
  with 128 + the number of the signal, within 30 s. Any further signal changes
  nothing.

  Args:
    work: what to do; it is told of signals by stop.

  Returns:
    0. What work raises is raised.
  """
  stop = Stop()
  raised: list[BaseException] = []

  def handle(number: int, frame: FrameType | None) -> None:
    del frame
    if not stop.signal:
      stop.signal = number

  def target() -> None:
    try:
      work(stop)
    except BaseException as error:  # Of whatever kind; raised again below.
      raised.append(error)

  before = {number: signal.signal(number, handle)
            for number in (signal.SIGTERM, signal.SIGINT)}
  thread = threading.Thread(target=target, name='run', daemon=True)
  thread.start()
  while thread.is_alive() and not stop.signal:
    thread.join(0.1)
  if stop.signal and thread.is_alive():
    _say(f'{signal.Signals(stop.signal).name}: an epoch under way has '
         f'{GRACE:.0f} s to be saved')
    stop.wait(thread)
  ended = not thread.is_alive() and not raised
  if ended or (raised and not isinstance(raised[0], Stopped)):
    for number, handler in before.items():
      signal.signal(number, handler)
    if raised:
      raise raised[0]
    return 0
  _say('stopped; the same command goes on from the last epoch that was saved')
  with contextlib.suppress(OSError, ValueError):
    sys.stdout.flush()
  # At once, whatever the device and other threads are doing.
  os._exit(128 + stop.signal)


def _say(text: str) -> None:
  # Whether anybody hears it or not, an epoch is to be saved.
  with contextlib.suppress(OSError, ValueError):
    print(text, file=sys.stderr, flush=True)
