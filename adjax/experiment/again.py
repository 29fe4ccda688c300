"""The command that makes a run again, from its config.json."""

import importlib
import shlex
from typing import Any

from adjax import config as config_lib
from adjax.experiment import specification


def command(config: dict[str, Any]) -> str:
  """An `adjax run` with all that its preset does not say.

  Args:
    config: an experiment as config.json has it.

  Returns:
    One line. What flags cannot set, or a preset does not know, follows as a
    comment.
  """
  name = config['name']
  # Presets are made of this package's parts, so that they stand above it, and
  # are found by name as components are.
  presets = importlib.import_module('adjax.presets')
  if name not in presets.PRESETS:
    return (f'adjax run --experiment=FILE.py --workdir=runs/{name}'
            f'  # with the file that has the experiment {name!r}')
  found = [(size, _changes(presets.get(name, size), config))
           for size in ('cpu', 'gpu')]
  size, (assignments, others) = min(found, key=lambda x: len(x[1][0]))
  words = ['adjax', 'run', f'--experiment={name}']
  words += ['--size=gpu'] * (size == 'gpu')
  for assignment in assignments:
    words += (f'--{assignment}' if assignment.startswith('seeds=')
              else f'--set={assignment}',)
  line = ' '.join(shlex.quote(word) for word in words)
  return line + (f'  # and {", ".join(others)}' if others else '')


def _changes(
    preset: specification.Experiment, config: dict[str, Any]
) -> tuple[list[str], list[str]]:
  """Assignments that make a config of a preset, and what none can set.

  That is also what is somebody's own: a config does not say in which file it
  is, and nothing of it is imported here.
  """
  assignments, own = [], {}
  for name in ('tasks', 'source', 'data', 'model', 'method'):
    old = specification.describe(preset)[name]
    kind = lambda x: x and x.get('kind', 'default')
    given = kind(config[name])
    if given and ':' in given and not given.startswith('adjax.'):
      own[name] = given
    elif given != kind(old):
      assignments.append(f'{name}={_short(config[name])}')
  try:
    start = specification.override(preset, assignments)
  except ValueError:  # Of a class that must be given its fields.
    start = preset
  others = [f'{name}={kind}' for name, kind in own.items()]
  old, new = (config_lib.flatten(x) for x in (
      specification.describe(start), config))
  for name in new:
    if new[name] == old.get(name) or name.rpartition('.')[2] == 'kind':
      continue
    text = _text(new[name])
    if text is None or name.partition('.')[0] in own:
      others.append(f'{name}={new[name]!r}')
    else:
      assignments.append(f'{name}={text}')
  return assignments, others


def _short(component: dict[str, Any] | None) -> str:
  """As --set names a component."""
  if component is None:
    return 'none'
  module, _, attribute = component.get('kind', 'default').partition(':')
  package, _, short = module.rpartition('.')
  own = package.startswith('adjax.') and attribute == 'Config'
  return short if own or not attribute else f'{module}:{attribute}'


def _text(value: Any) -> str | None:
  """A value as --set reads it; None if it does not."""
  if isinstance(value, list):
    whole = all(type(x) is int for x in value)
    return ','.join(map(str, value)) if whole else None
  if value is None or isinstance(value, bool):
    return str(value).lower()
  return str(value)
