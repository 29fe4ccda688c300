"""Configs are frozen dataclasses; this checks, overrides and compares them."""

import dataclasses
import math
import re
import typing
from typing import Any


def check(where: str, field: str, given: Any, ok: bool, allowed: str) -> None:
  """Raises a ValueError that names field, value and what is allowed."""
  if not ok:
    raise ValueError(f'{where}.{field}={given!r}: must be {allowed}')


def check_name(field: str, given: str) -> None:
  """Raises a ValueError unless a name is safe to be that of a folder."""
  if not re.fullmatch('[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}', given):
    raise ValueError(
        f'{field}={given[:200]!r}: must be 1 to 100 of the letters a to z, '
        'digits, ".", "_" and "-", the first neither "." nor "-"')


def check_widths(where: str, field: str, given: Any) -> None:
  """Raises a ValueError unless a field is a tuple of integers from 1 on."""
  check(where, field, given, isinstance(given, tuple) and all(
      isinstance(width, int) and width >= 1 for width in given),
        'a tuple of widths of at least 1')


def override(config: Any, assignments: list[str]) -> Any:
  """A copy of a nested config with fields replaced.

  Args:
    config: a frozen dataclass.
    assignments: strings 'a.b=value', applied together.

  Returns:
    The new config, checked by the __post_init__ of everything it touches.

  Raises:
    ValueError: on an unknown field, an ill-typed value or one the config
      refuses; it names a field that was set.
  """
  changes = {}
  for assignment in assignments:
    path, equals, text = assignment.partition('=')
    if not equals or not path:
      raise ValueError(f'--set {assignment}: must look like field.name=value')
    node = changes
    *parents, leaf = path.strip().split('.')
    for name in parents:
      node = node.setdefault(name, {})
      if not isinstance(node, dict):
        raise ValueError(f'--set {path}: its parent is also set to a value')
    if leaf in node:
      raise ValueError(f'--set {path}: given twice, or a child of it is')
    node[leaf] = text.strip()
  return _replace(config, changes, '')


def _replace(config: Any, changes: dict, prefix: str) -> Any:
  """Replaces {field: text or {...}} in a dataclass, children first."""
  hints = typing.get_type_hints(type(config))
  names = [field.name for field in dataclasses.fields(config)]
  new = {}
  for name, value in changes.items():
    path = prefix + name
    if name not in names:
      raise ValueError(
          f'--set {path}: no such field; allowed here: '
          + ', '.join(prefix + n for n in names))
    old = getattr(config, name)
    if isinstance(value, dict):
      if old is None:
        raise ValueError(f'--set {path}.{next(iter(value))}: there is no '
                         f'{path} in this preset')
      if not dataclasses.is_dataclass(old):
        raise ValueError(f'--set {path}: has no fields of its own')
      new[name] = _replace(old, value, path + '.')
    elif dataclasses.is_dataclass(old):
      raise ValueError(f'--set {path}: a group; set one of its fields: '
                       + ', '.join(f'{path}.{f.name}'
                                   for f in dataclasses.fields(old)))
    else:
      new[name] = parse(path, value, hints[name])
  try:
    return dataclasses.replace(config, **new)
  except ValueError as error:
    # What does not go together is said of one field; any may have been set.
    given = flatten(changes, prefix)
    if any(name in str(error) for name in given):
      raise
    given = ' '.join(f'{name}={text}' for name, text in given.items())
    raise ValueError(f'--set {given}: {error}') from None


def parse(path: str, text: str, kind: Any) -> Any:
  """Reads a bool, int, float, str or tuple[int, ...], or raises ValueError."""
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
    raise ValueError(
        f'--set {path}={text}: must be {allowed}') from None
  raise ValueError(f'--set {path}: can only be set in Python')


def flatten(config: Any, prefix: str = '') -> dict[str, Any]:
  """{'a.b': value} of a nested dict or dataclass."""
  if dataclasses.is_dataclass(config):
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
