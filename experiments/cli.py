"""What all programs here do alike at their outermost."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import sys

from absl import logging


def main(body: Callable[[], None]) -> Callable[[Sequence[str]], int]:
  """Wraps a program: what its user did wrong becomes one line and exit code 1.

  Args:
    body: the program, after its flags have been read.

  Returns:
    What absl's app.run takes.
  """
  @functools.wraps(body)
  def wrapped(argv):
    # jax speaks of the accelerators it looked for in vain.
    logging.set_verbosity(logging.WARNING)
    try:
      if len(argv) > 1:
        raise ValueError(f'unexpected argument {argv[1]!r}; fields are set '
                         'with --set name=value')
      body()
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
      print(f'error: {error}', file=sys.stderr)
      return 1
    return 0

  return wrapped
