"""docs/configuration.md, made of the dataclasses it is about.

  python -m experiments.reference

What it says of a field is in the code: a text in the `Attributes` of the
docstring, type and bounds in the annotation, the default beside them. A test
compares the file with what this would write.
"""

from collections.abc import Iterator
import dataclasses
import importlib
import inspect
import pathlib
import re
import types
import typing
from typing import Any

import adjax
from adjax import config
from adjax.experiment import markdown
from adjax.experiment import specification

FILE = pathlib.Path(__file__).parents[1] / 'docs' / 'configuration.md'
_KINDS = {int: 'integer', float: 'number', bool: 'True or False',
          str: 'string', type(None): 'None'}
_TOP = """\
# Configuration reference

Made by `python -m experiments.reference` out of the code: every field of
adjax's own configurations, its default and what it may be. From the command
line `--set method.batch_size=32` sets a field and `--set source=tabular_q`
chooses a component; in Python they are arguments:
`adjax.methods.distill.Config(batch_size=32)`. What is not allowed is refused in
one line, before anything is computed. A run keeps the whole of its
configuration in `config.json`.

Each preset sets its own values: `adjax run --list` names the presets, and
`adjax.presets.get('quick')` shows all fields of one. What the letters stand
for: [glossary](glossary.md).

On this page: [experiment](#experiment) · {index}
"""
_COMPONENTS = {
    'tasks': ('adjax.envs', 'Environments and their tasks'),
    'source': ('adjax.learners', 'Learners'),
    'model': ('adjax.models', 'Models'),
    'method': ('adjax.methods', 'Methods')}


def page() -> str:
  """The text of docs/configuration.md."""
  titles = [title for _, title in _COMPONENTS.values()]
  index = ' · '.join(
      f'[{title.lower()}](#{title.lower().replace(" ", "-")})'
      for title in titles)
  parts = [_TOP.format(index=index), '## Experiment\n']
  for kind, prefix in ((adjax.Experiment, ''), (adjax.Data, 'data'),
                       (adjax.Evaluate, 'evaluate')):
    parts += _section(f'`adjax.{kind.__name__}`', kind, kind, prefix)
  for component, (package, title) in _COMPONENTS.items():
    parts.append(f'## {title}\n')
    for name in specification.components(package):
      module = importlib.import_module(f'{package}.{name}')
      parts += _section(
          f'`{component}={name}`', module, module.Config, component)
  return '\n'.join(parts)


def _section(
    title: str, about: Any, kind: type, prefix: str
) -> Iterator[str]:
  """A heading, the first line of what it is about, and a table of fields."""
  yield f'### {title}\n'
  yield inspect.getdoc(about).partition('\n')[0] + '\n'
  texts = attributes(kind)
  hints = typing.get_type_hints(kind, include_extras=True)
  dotted = f'{prefix}.' if prefix else ''
  yield markdown.table([('field', 'default', 'must be', ''), *(
      (f'`{dotted}{field.name}`', default(field), allowed(hints[field.name]),
       texts[field.name]) for field in dataclasses.fields(kind))])
  yield ''


def attributes(kind: type) -> dict[str, str]:
  """{name: text} of the `Attributes` of a docstring."""
  _, _, listed = inspect.getdoc(kind).partition('\nAttributes:\n')
  found = re.findall(r'^  (\w+): (.*(?:\n {3,}.*)*)', listed, re.MULTILINE)
  return {name: re.sub(r'\s+', ' ', text) for name, text in found}


def default(field: dataclasses.Field[Any]) -> str:
  """As it is written in Python."""
  value = field.default
  if value is dataclasses.MISSING:
    return 'none: must be given'
  if dataclasses.is_dataclass(value):
    name = type(value).__name__
    module = type(value).__module__
    return f'`{"adjax" if name in adjax.__all__ else module}.{name}()`'
  return f'`{value!r}`'


def allowed(hint: Any) -> str:
  """The type of a field in words, and its bounds as their errors say them."""
  bounds = [x.allowed for x in getattr(hint, '__metadata__', ())
            if isinstance(x, config.Bound)]
  words = _words(hint.__origin__ if bounds else hint)
  # A bound may say of what.
  if any(re.match(r"an? |one of |'", text) for text in bounds):
    return ', '.join(bounds)
  return ', '.join([words, *bounds])


def _words(hint: Any) -> str:
  origin, parts = typing.get_origin(hint), typing.get_args(hint)
  if origin is tuple and parts[-1] is not ...:
    return f'({", ".join(map(_words, parts))})'
  if origin is tuple:
    return f'tuple of {_words(parts[0])}'
  if origin in (types.UnionType, typing.Union):
    return ' or '.join(map(_words, parts))
  return _KINDS.get(hint) or f'`{hint.__name__}`'


if __name__ == '__main__':
  FILE.write_text(page(), encoding='utf-8')
