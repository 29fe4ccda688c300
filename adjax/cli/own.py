"""What all programs do alike at their outermost: an error becomes one line.

Errors of the user's own code are told by file and line, and only bugs of adjax
have a traceback.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import os
import pathlib
import signal
import sys
import sysconfig
import traceback

from absl import app
from absl import flags
from absl import logging

import adjax

# What is not the user's: adjax, Python's own modules, installed packages.
_OTHERS = tuple(f'{folder}{os.sep}' for folder in (
    pathlib.Path(adjax.__file__).parent, *sysconfig.get_paths().values()))

# What says of itself what was wrong; all else is a bug.
SAID = (ValueError, OSError, RuntimeError, FloatingPointError, MemoryError)


def start(
    body: Callable[[list[str]], int | None], argv: Sequence[str] | None = None,
    parse: Callable[[list[str]], list[str]] = app.parse_flags_with_usage,
    modules: tuple[str, ...] = (),
    code: Callable[[Exception], int] = lambda error: 1,
) -> None:
  """Runs a program to its exit code.

  Args:
    body: as of wrap.
    argv: the program's name and arguments; those of the process by default.
    parse: argv -> what of it is no flag, the name first.
    modules: other than body's whose flags are the program's.
    code: as of wrap.
  """
  sys.argv = list(argv or sys.argv)
  # What --help shows: the program's own text and flags, wherever it was called.
  sys.modules['__main__'].__doc__ = sys.modules[body.__module__].__doc__
  for module in (body.__module__, *modules):
    for flag in flags.FLAGS.get_key_flags_for_module(module):
      flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  app.run(wrap(body, code), flags_parser=parse)


def wrap(
    body: Callable[[list[str]], int | None],
    code: Callable[[Exception], int] = lambda error: 1,
) -> Callable[[Sequence[str]], int]:
  """A program that says what the user did wrong in one line.

  Args:
    body: arguments that are no flags -> exit code, None for 0.
    code: the exit code of an error.

  Returns:
    argv, without flags -> exit code.
  """
  program = getattr(sys.modules[body.__module__], '__file__', None) or ''

  @functools.wraps(body)
  def wrapped(argv: Sequence[str]) -> int:
    debugging = flags.FLAGS.alsologtostderr or logging.level_debug()
    if not debugging:
      # jax speaks of the accelerators it looked for in vain.
      logging.set_verbosity(logging.WARNING)
    for number in signal.SIGTERM, signal.SIGINT:
      signal.signal(number, signal.SIG_DFL)  # Also in the middle of a program.
    try:
      return body(list(argv[1:])) or 0
    except Exception as error:
      said = line_of(error, program)
      if not (said or isinstance(error, SAID)):
        raise
      if debugging:
        traceback.print_exc()
      print(f'error: {said or error}', file=sys.stderr)
      return code(error)

  return wrapped


def line_of(error: BaseException | None, program: str = '') -> str:
  """'file.py:12: what is wrong' of an error in the user's own code, or ''.

  It is the innermost line of theirs that led to the error, or to the one that
  it was made of.

  Args:
    error: the error.
    program: the file of a program, which is not the user's either, nor is what
      stands beside it.
  """
  others = _OTHERS
  if os.path.isfile(program):
    others += (f'{os.path.dirname(os.path.abspath(program))}{os.sep}',)
  said, found = error, ''
  while error is not None:
    found = _line(error, others) or found
    error = error.__cause__ or (
        None if error.__suppress_context__ else error.__context__)
  if said is None or not found:
    return ''
  if isinstance(said, SyntaxError):
    return f'{found}: {type(said).__name__}: {said.msg}'
  kind = '' if isinstance(said, ValueError) else f'{type(said).__name__}: '
  lines = str(said).strip().splitlines() or ['']
  return f'{found}: {kind}{lines[0]}'


def _line(error: BaseException, others: tuple[str, ...]) -> str:
  """'file.py:12' of the innermost line in a file that is not of others."""
  places = [(frame.f_code.co_filename, line) for frame, line
            in traceback.walk_tb(error.__traceback__)]
  if isinstance(error, SyntaxError):
    places.append((error.filename or '', error.lineno or 0))
  for path, line in reversed(places):
    if os.path.isfile(path) and not path.startswith(others):
      return f'{path.removeprefix(os.getcwd() + os.sep)}:{line}'
  return ''
