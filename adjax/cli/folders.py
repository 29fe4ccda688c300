"""What commands on runs that are there do alike: adjax COMMAND WORKDIR... .

They launch nothing, so that they have none of the launcher's flags.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import signal
import sys

from absl import app
from absl import flags
from absl import logging

from adjax.cli import own

PRETRAINED = flags.DEFINE_string(
    'pretrained', None, 'A model from the box, dark_room or key_to_door, in '
    'place of a WORKDIR.')
SEED = flags.DEFINE_integer('seed', 0, 'Which of the training seeds.', 0)

# What says of itself what was wrong; all else is a bug, and has its traceback.
_SAID = (ValueError, OSError, RuntimeError)


def start(
    body: Callable[[list[str]], None], argv: Sequence[str] | None = None,
    most: int | None = None,
) -> None:
  """Runs a program to its exit code.

  Args:
    body: the program: what was given that is no flag, the folders, as in the
      order given -> None.
    argv: its name and arguments; those of the process by default.
    most: folders it takes; None for any number.
  """
  sys.argv = list(argv or sys.argv)
  # What --help shows: the program's own text and flags, wherever it was called.
  sys.modules['__main__'].__doc__ = sys.modules[body.__module__].__doc__
  for flag in flags.FLAGS.get_key_flags_for_module(body.__module__):
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

  @functools.wraps(body)
  def wrapped(argv: Sequence[str]) -> int:
    logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    workdirs = list(argv[1:])
    try:
      if most is not None and len(workdirs) > most:
        raise ValueError(f'unexpected argument {workdirs[most]!r}')
      body(workdirs)
      return 0
    except Exception as error:
      said = own.line_of(error, body.__code__.co_filename)
      if not (said or isinstance(error, _SAID)):
        raise
      print(f'error: {said or error}', file=sys.stderr)
      return 1

  app.run(wrapped)
