"""The files of a run: one folder, one run, nothing half written."""

import dataclasses
import importlib.metadata
import json
import os
import platform
from typing import Any

import jax

from adjax import config as config_lib

_TRACES = ('result.json', 'metrics.jsonl', 'checkpoints')
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'gymnax', 'chex',
             'orbax-checkpoint', 'numpy')


def claim(workdir: str, experiment: Any) -> dict[str, Any] | None:
  """Makes the workdir this experiment's; its result if that is there already.

  Raises:
    ValueError: if it holds a run with another config, or files that no run of
      ours has left so, or cannot be written; nothing is changed then.
  """
  path = os.path.join(workdir, 'config.json')
  config = json.loads(json.dumps(dataclasses.asdict(experiment)))
  for name in ('tasks', 'source', 'model'):
    if config[name] is not None:
      module = type(getattr(experiment, name)).__module__
      config[name]['kind'] = module.split('.')[-1]
  if os.path.exists(path):
    different = config_lib.differences(
        _read(path, 'config')['config'], config)
    if different:
      raise ValueError(
          f'--workdir={workdir} holds a run with another config; choose '
          'another folder, or set these as they were: ' + '; '.join(different))
  elif left := [name for name in _TRACES
                if os.path.exists(os.path.join(workdir, name))]:
    raise ValueError(
        f'--workdir={workdir} holds {", ".join(left)} but no config.json to '
        'tell whose; choose another folder')
  result = os.path.join(workdir, 'result.json')
  if os.path.exists(result):
    return _read(result, 'heldout')
  try:
    os.makedirs(workdir, exist_ok=True)
    # Written anew by a run that is taken up, too: a folder that has become
    # read-only is better found out now.
    write_json(path, {'config': config} | machine())
  except OSError as error:
    raise ValueError(f'--workdir={workdir}: must be a folder that can be '
                     f'written ({error.strerror})') from None
  return None


def cut_lines(path: str, epochs: int) -> list[dict[str, Any]]:
  """The first epochs' lines of a metrics.jsonl, which loses all others."""
  lines = []
  if os.path.exists(path):
    with open(path, encoding='utf-8') as file:
      lines = [_parse(path, line, 'epoch')
               for line in file if line.endswith('\n')]
    lines = [line for line in lines if line['epoch'] <= epochs]
  if [line['epoch'] for line in lines] != list(range(1, epochs + 1)):
    raise ValueError(
        f'{path}: must have a line for each of the {epochs} epochs that '
        'checkpoints/ has; it was changed from outside')
  write(path, ''.join(json.dumps(line) + '\n' for line in lines))
  return lines


def _read(path, key):
  with open(path, encoding='utf-8') as file:
    return _parse(path, file.read(), key)


def _parse(path, text, key):
  """A JSON object that has a key, or a ValueError that names the file."""
  try:
    value = json.loads(text)
  except json.JSONDecodeError:
    value = None
  if not isinstance(value, dict) or key not in value:
    raise ValueError(f'{path}: must be JSON with {key!r}, as a run writes it; '
                     'it was damaged or changed from outside')
  return value


def append_line(path: str, line: dict[str, Any]) -> None:
  """Adds one line to a metrics.jsonl."""
  with open(path, 'a', encoding='utf-8') as file:
    file.write(json.dumps(line) + '\n')


def machine() -> dict[str, Any]:
  """What the figures were made with."""
  return {
      'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}, '
                f'{os.cpu_count()} CPU cores',
      'versions': {'python': platform.python_version()} | {
          name: importlib.metadata.version(name) for name in _PACKAGES}}


def write_json(path: str, value: Any) -> None:
  """Replaces a JSON file at once."""
  write(path, json.dumps(value, indent=1) + '\n')


def write(path: str, text: str) -> None:
  """Replaces a file at once, or leaves it as it was."""
  with open(path + '.new', 'w', encoding='utf-8') as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(path + '.new', path)
