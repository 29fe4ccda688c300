"""Configurations: frozen dataclasses, their bounds, overrides and differences.

A bound stands beside its field, as an annotation:

  @dataclasses.dataclass(frozen=True)
  class Config(config.Checked):
    actors: config.Count = 16
    discount: config.Fraction = 0.99
"""

from collections.abc import Callable
import dataclasses
import functools
import math
import re
import types
import typing
from typing import Annotated
from typing import Any
from typing import ClassVar


class Dataclass(typing.Protocol):
  """A configuration, of which dataclasses.replace makes another."""
  __dataclass_fields__: ClassVar[dict[str, Any]]


class Bound(typing.NamedTuple):
  """What the value of a field must be.

  Attributes:
    holds: value -> whether it is.
    allowed: the same in words, after "must be".
  """
  holds: Callable[[Any], bool]
  allowed: str


Count = Annotated[int, Bound(lambda x: x >= 1, 'at least 1')]
Index = Annotated[int, Bound(lambda x: x >= 0, 'at least 0')]
Positive = Annotated[float, Bound(lambda x: 0 < x < math.inf, 'above 0')]
NonNegative = Annotated[
    float, Bound(lambda x: 0 <= x < math.inf, 'at least 0')]
Fraction = Annotated[float, Bound(lambda x: 0 <= x <= 1, 'from 0 to 1')]
Rate = Annotated[float, Bound(lambda x: 0 <= x < 1, 'from 0 to below 1')]
Widths = Annotated[tuple[int, ...], Bound(
    lambda x: all(width >= 1 for width in x), 'a tuple of widths of at least 1'
)]

_KINDS = {int: 'an integer', float: 'a number', bool: 'True or False',
          str: 'a string', tuple: 'a tuple'}


@dataclasses.dataclass(frozen=True)
class Checked:
  """A dataclass whose fields are checked when it is made.

  Fields of type int, float, bool, str or tuple are held to it, and to the Bound
  they are annotated with. Subclasses extend `check` with what concerns several
  fields.

  Raises:
    ValueError: if a value is not allowed; it names the field, the value and
      what is allowed.
  """

  def __post_init__(self) -> None:
    for name, kind, bounds in _fields_of(
        type(self)):  # type: ignore[arg-type]
      value = getattr(self, name)
      allowed = ' and '.join(bound.allowed for bound in bounds)
      ok = kind is None or _is_a(kind, value)
      check(name, value, ok, allowed or _KINDS.get(kind, ''))
      for bound in bounds:
        check(name, value, bound.holds(value), bound.allowed)
    self.check()

  def check(self) -> None:
    """Raises a ValueError if the fields do not fit together."""


@functools.cache
def _fields_of(kind: type) -> list[tuple[str, Any, list[Bound]]]:
  """(name, type or None, bounds) of each field of a dataclass."""
  hints = typing.get_type_hints(kind, include_extras=True)
  found = []
  for field in dataclasses.fields(kind):
    hint = hints[field.name]
    bounds = [x for x in getattr(hint, '__metadata__', ())
              if isinstance(x, Bound)]
    hint = getattr(hint, '__origin__', hint) if bounds else hint
    hint = typing.get_origin(hint) or hint
    found.append((field.name, hint if hint in _KINDS else None, bounds))
  return found


def _is_a(kind: type, value: Any) -> bool:
  if kind in (int, float) and isinstance(value, bool):
    return False
  return isinstance(value, (int, float) if kind is float else kind)


def check(field: str, given: Any, ok: bool, allowed: str) -> None:
  """Raises a ValueError that names field, value and what is allowed."""
  if not ok:
    raise ValueError(f'{field}={given!r}: must be {allowed}')


def check_component(field: str, given: Any, methods: tuple[str, ...]) -> None:
  """Raises unless a value is a frozen dataclass of JSON values with methods.

  Args:
    field: what it is given as.
    given: the configuration.
    methods: what it must be able to do, as ('make',).

  Raises:
    ValueError: if it is not; it names the field of the configuration.
  """
  kind = type(given)
  parameters = getattr(kind, '__dataclass_params__', None)
  check(field, given, parameters is not None and parameters.frozen,
        'an instance of a frozen dataclass')
  for method in methods:
    check(field, given, callable(getattr(given, method, None)),
          f'a configuration with a method {method}()')
  for part in dataclasses.fields(given):
    value = getattr(given, part.name)
    check(f'{field}.{part.name}', value, part.name != 'kind',
          'called otherwise: config.json says by `kind` which class it is')
    check(f'{field}.{part.name}', value, _is_json(value),
          'a JSON value: a number, string, True, False, None, or tuples and '
          'frozen dataclasses of these')


def _is_json(value: Any) -> bool:
  if isinstance(value, float):
    return math.isfinite(value)
  if isinstance(value, tuple):
    return all(_is_json(x) for x in value)
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return all(_is_json(getattr(value, part.name))
               for part in dataclasses.fields(value))
  return value is None or type(value) in (bool, int, str)


def check_name(field: str, given: str) -> None:
  """Raises a ValueError unless a name is safe to be that of a folder."""
  if not re.fullmatch('[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}', given):
    raise ValueError(
        f'{field}={given[:200]!r}: must be 1 to 100 of the letters a to z, '
        'digits, ".", "_" and "-", the first neither "." nor "-"')


def override(config: Any, assignments: list[str]) -> Any:
  """A copy of a nested config with fields replaced.

  Args:
    config: a frozen dataclass.
    assignments: strings 'a.b=value', applied together.

  Returns:
    The new config, checked by the __post_init__ of everything it touches.

  Raises:
    ValueError: on an unknown field, an ill-typed value or one the config
      refuses; it names the field by its path.
  """
  changes: dict[str, Any] = {}
  for assignment in assignments:
    path, equals, text = assignment.partition('=')
    if not equals or not path:
      raise ValueError(f'{assignment}: must look like field.name=value')
    node = changes
    *parents, leaf = path.strip().split('.')
    if not all((leaf, *parents)):
      raise ValueError(f'{path}: must look like field.name')
    for name in parents:
      node = node.setdefault(name, {})
      if not isinstance(node, dict):
        raise ValueError(f'{path}: its parent is also set to a value')
    if leaf in node:
      raise ValueError(f'{path}: given twice, or a child of it is')
    node[leaf] = text.strip()
  return _replace(config, changes, '')


def _replace(config: Any, changes: dict[str, Any], prefix: str) -> Any:
  """Replaces {field: text or {...}} in a dataclass, children first."""
  hints = typing.get_type_hints(type(config))
  names = [field.name for field in dataclasses.fields(config)]
  new = {}
  for name, value in changes.items():
    path = prefix + name
    if name not in names:
      raise ValueError(f'{path}: no such field; allowed here: '
                       + ', '.join(prefix + n for n in names))
    old = getattr(config, name)
    if isinstance(value, dict):
      if old is None:
        raise ValueError(f'{path}.{next(iter(value))}: there is no {path} in '
                         'this experiment')
      if not dataclasses.is_dataclass(old):
        raise ValueError(f'{path}: has no fields of its own')
      new[name] = _replace(old, value, path + '.')
    elif dataclasses.is_dataclass(old):
      raise ValueError(f'{path}: a group; set one of its fields: '
                       + ', '.join(f'{path}.{f.name}'
                                   for f in dataclasses.fields(old)))
    else:
      new[name] = parse(path, value, hints[name])
  try:
    return dataclasses.replace(config, **new)
  except ValueError as error:
    message = prefix + str(error)
    # What does not go together is said of one field; any may have been set.
    given = flatten(changes, prefix)
    if not any(name in message for name in given):
      message = ' '.join(
          f'{name}={text}' for name, text in given.items()) + f': {message}'
    raise ValueError(message) from None


def parse(path: str, text: str, kind: Any) -> Any:
  """The value of a text as a bool, int, float, str or tuple of integers.

  Args:
    path: the field's, for the error.
    text: what was given.
    kind: the type of the field; where that may be None, 'none' is.

  Raises:
    ValueError: if the text is no such value, or the kind is another.
  """
  others = [x for x in typing.get_args(kind) if x is not type(None)]
  if isinstance(kind, types.UnionType) and len(others) == 1:
    return None if text.lower() == 'none' else parse(path, text, others[0])
  try:
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    if kind is int:
      return int(text)
    if kind is float:
      if not math.isfinite(float(text)):
        raise ValueError
      return float(text)
    if kind == tuple[int, ...]:
      return tuple(int(part) for part in text.split(',') if part.strip())
    if kind is str:
      return text
  except (KeyError, ValueError):
    allowed = {bool: 'true or false', int: 'an integer',
               float: 'a finite number'}.get(kind, 'integers, as in 16,32')
    raise ValueError(f'{path}={text}: must be {allowed}') from None
  raise ValueError(f'{path}: can only be set in Python')


def flatten(config: Any, prefix: str = '') -> dict[str, Any]:
  """{'a.b': value} of a nested dict or dataclass."""
  if dataclasses.is_dataclass(config) and not isinstance(config, type):
    config = dataclasses.asdict(config)
  flat = {}
  for name, value in config.items():
    if isinstance(value, dict):
      flat.update(flatten(value, f'{prefix}{name}.'))
    else:
      flat[prefix + name] = value
  return flat


def differences(old: Any, new: Any) -> list[str]:
  """Lines 'a.b: old -> new' for every field in which two configs differ."""
  old, new = flatten(old), flatten(new)
  missing = 'absent'
  return [
      f'{name}: {old.get(name, missing)!r} -> {new.get(name, missing)!r}'
      for name in sorted(set(old) | set(new))
      if old.get(name, missing) != new.get(name, missing)
  ]
