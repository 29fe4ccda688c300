"""Documents of which parts are made.

What stands between `<!-- NAME -->` and `<!-- end -->` is made, and all else is
written by hand.
"""

from collections.abc import Callable
import difflib
import pathlib
import re


def remade(text: str, names: str, make: Callable[[str], str]) -> str:
  """A document with its parts made anew.

  Args:
    text: the document.
    names: a pattern of those of its parts.
    make: name -> text.
  """
  return re.sub(rf'<!-- ({names}) -->\n.*?<!-- end -->',
                lambda x: f'<!-- {x[1]} -->\n{make(x[1])}\n<!-- end -->',
                text, flags=re.DOTALL)


def rewrite(path: pathlib.Path, remake: Callable[[str], str]) -> None:
  """Makes the parts of a file anew; remake: its text -> what it should be."""
  path.write_text(remake(path.read_text(encoding='utf-8')), encoding='utf-8')


def wrong(path: pathlib.Path, remake: Callable[[str], str]) -> list[str]:
  """Lines on what rewrite would change."""
  text = path.read_text(encoding='utf-8')
  return list(difflib.unified_diff(
      text.splitlines(), remake(text).splitlines(), path.name,
      f'{path.name}, as it should be', lineterm='', n=0))
