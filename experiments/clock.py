"""Where the time of a run goes."""

from collections.abc import Callable
import time
from typing import Any

import jax


class Clock:
  """Seconds by stage.

  Attributes:
    seconds: {stage: seconds}, compilation apart.
    begin: when the run began, moved back by what it had done when stopped.
  """

  def __init__(self):
    self.seconds = dict.fromkeys(
        ('compile', 'generate', 'train', 'evaluate'), 0.0)
    self.begin = time.perf_counter()

  def compile(self, function: Callable[..., Any], *args) -> Callable[..., Any]:
    """The program of a jitted function for such arguments."""
    start = time.perf_counter()
    compiled = function.lower(*args).compile()
    self.seconds['compile'] += time.perf_counter() - start
    return compiled

  def run(self, stage: str, function: Callable[..., Any], *args) -> Any:
    """The value of a function, its seconds added to a stage."""
    start = time.perf_counter()
    value = jax.block_until_ready(function(*args))
    self.seconds[stage] += time.perf_counter() - start
    return value
