"""Errors of the user's own code, told by file and line instead of a traceback.
"""

import os
import pathlib
import sysconfig
import traceback

import adjax

# What is not the user's: adjax, Python's own modules, installed packages.
_OTHERS = tuple(f'{folder}{os.sep}' for folder in (
    pathlib.Path(adjax.__file__).parent, *sysconfig.get_paths().values()))


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
