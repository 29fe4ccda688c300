"""A component's configuration as data, and back.

As JSON it is its fields and its `kind`, which class it is of: module:class.
"""

import dataclasses
import importlib
import pathlib
import sys
from typing import Any


def to_data(value: Any) -> Any:
  """A configuration, or a value of one, as data."""
  if isinstance(value, tuple):
    return [to_data(x) for x in value]
  if not dataclasses.is_dataclass(value):
    return value
  kind = type(value)
  return {field.name: to_data(getattr(value, field.name))
          for field in dataclasses.fields(value)} | {
              'kind': f'{_module(kind.__module__)}:{kind.__qualname__}'}


def from_data(data: Any, field: str) -> Any:
  """What to_data described.

  Args:
    data: that.
    field: what errors call it.

  Raises:
    ValueError: if its class cannot be found, or has other fields by now.
  """
  if isinstance(data, list):
    return tuple(from_data(x, field) for x in data)
  if not isinstance(data, dict):
    return data
  fields = {name: from_data(x, field) for name, x in data.items()
            if name != 'kind'}
  kind = data['kind']
  try:
    return _class(kind, field)(**fields)
  except TypeError as error:
    raise ValueError(f'{field}={kind}: has other fields than when it was '
                     f'written; {error}') from error


def _module(name: str) -> str:
  """The name of a module; of a file that is run or loaded, its stem."""
  found = sys.modules.get(name)
  spec = getattr(found, '__spec__', None)
  if name == '__main__' and spec is not None:
    return str(spec.name)
  if '.' in name:
    return name
  path = getattr(found, '__file__', None)
  return pathlib.Path(path).stem if path else 'notebook'


def _class(kind: str, field: str) -> Any:
  """The class of a kind, as a field has it."""
  module, _, name = kind.partition(':')
  try:
    # The program itself is not to be run once more.
    found: Any = (sys.modules['__main__'] if module == _module('__main__')
                  else importlib.import_module(module))
    for part in name.split('.'):
      found = getattr(found, part)
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(
        f'{field}={kind}: must be a class that can be imported ({error}); put '
        f'the file of {module} on PYTHONPATH'
    ) from error
  # Whatever a file says, nothing else is called.
  if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
    raise ValueError(f'{field}={kind}: must be a frozen dataclass, as all '
                     'configurations are')
  return found
