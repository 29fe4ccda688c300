"""The files of a run: one folder, one run, nothing half written."""

import dataclasses
import importlib.metadata
import json
import os
import platform
from typing import Any

import jax

from adjax import config as config_lib

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'gymnax', 'chex',
             'orbax-checkpoint', 'numpy')


def claim(workdir: str, experiment: Any) -> dict[str, Any] | None:
  """Makes the workdir this experiment's; its result if that is there already.

  Raises:
    ValueError: if it holds a run with another config; nothing is changed then.
    OSError: if it cannot be written.
  """
  path = os.path.join(workdir, 'config.json')
  config = json.loads(json.dumps(dataclasses.asdict(experiment)))
  config['source']['kind'] = type(experiment.source).__module__.split('.')[-1]
  if os.path.exists(path):
    with open(path, encoding='utf-8') as file:
      different = config_lib.differences(json.load(file)['config'], config)
    if different:
      raise ValueError(
          f'--workdir={workdir} holds a run with another config; choose '
          'another folder, or set these as they were: ' + '; '.join(different))
  else:
    os.makedirs(workdir, exist_ok=True)
    write_json(path, {'config': config} | machine())
  result = os.path.join(workdir, 'result.json')
  if not os.path.exists(result):
    return None
  with open(result, encoding='utf-8') as file:
    return json.load(file)


def cut_lines(path: str, epochs: int) -> list[dict[str, Any]]:
  """The first epochs' lines of a metrics.jsonl, which loses all others."""
  lines = []
  if os.path.exists(path):
    with open(path, encoding='utf-8') as file:
      lines = [json.loads(line) for line in file if line.endswith('\n')]
    lines = [line for line in lines if line['epoch'] <= epochs]
    write(path, ''.join(json.dumps(line) + '\n' for line in lines))
  return lines


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
