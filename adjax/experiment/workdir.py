"""The files of a run: one folder, one run, nothing half written."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import re
import socket
from typing import Any

import jax

from adjax import config as config_lib
from adjax.experiment import specification
from adjax.experiment import versions as versions_lib
from adjax.storage import files

_TRACES = ('result.json', 'metrics.jsonl', 'checkpoints')
# What a resumed run reads of a line of metrics.jsonl.
_LINE = ('epoch', 'seconds', 'validation', 'train', 'skipped_total',
         'ended_early')
_TYPES: dict[str, Any] = dict.fromkeys(
    ('config', 'versions', 'held_out', 'validation', 'train'), dict) | {
        'skipped_total': list, 'ended_early': list, 'epoch': int,
        'seconds': (int, float)}


@contextlib.contextmanager
def claim(
    workdir: str, experiment: specification.Experiment,
    allow_version_change: bool = False, say: Callable[[str], None] = print,
) -> Iterator[dict[str, Any] | None]:
  """Holds a workdir for a run, or returns the result it has already.

  Of several processes the first alone holds and writes it.

  Args:
    workdir: the folder; made if it is not there.
    experiment: whose config it must have, if it has one.
    allow_version_change: resume a run of other versions all the same;
      config.json keeps a list of such changes.
    say: is told of such a change.

  Yields:
    The result of a finished run, of which nothing is changed. Otherwise None,
    and no other process can claim the folder until the with statement ends or
    this process does.

  Raises:
    ValueError: if it is in use, or holds a sweep, or a run with another config
      or of other versions, or files that no run has left so, or cannot be
      written; nothing is changed then.
  """
  config = specification.describe(experiment)
  own = specification.digests(experiment)
  versions = versions_lib.versions() | own
  saved, finished = _look(workdir, config)
  if finished is None:
    _changes(workdir, saved, versions, allow_version_change)
  else:  # A result is one's own code's, whatever adjax and JAX are by now.
    _changes(workdir, saved, saved['versions'] | own, allow_version_change)
  if finished is not None or jax.process_index() != 0:
    yield finished
    return
  with _locked(workdir):
    # Once more: another process may have held it since.
    saved, finished = _look(workdir, config)
    if finished is None:
      changes = _changes(workdir, saved, versions, allow_version_change)
      if changes:
        say('resumed with other versions than it was begun with, which may '
            'change its figures: ' + '; '.join(changes))
      _write_config(workdir, config, saved, versions, bool(changes))
    yield finished


def _look(
    workdir: str, config: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
  """What a workdir says already: (config.json, {} if none; result or None)."""
  if os.path.exists(os.path.join(workdir, 'sweep.json')):
    raise ValueError(f'workdir={workdir} holds sweep.json of a sweep; choose '
                     'another folder for a run')
  path = os.path.join(workdir, 'config.json')
  saved = {}
  left = [name for name in _TRACES if _holds(os.path.join(workdir, name))]
  if os.path.exists(path) and left:  # Else it was refused before it began.
    saved = _parse(path, pathlib.Path(path).read_bytes(), 'config', 'versions')
    different = config_lib.differences(
        _placeless(saved['config']), _placeless(config))
    if different:
      raise ValueError(
          f'workdir={workdir} holds a run with another config; choose another '
          'folder, or set these as they were: ' + '; '.join(different))
  elif left:
    raise ValueError(
        f'workdir={workdir} holds {", ".join(left)} but no config.json to '
        'tell whose; choose another folder')
  result = os.path.join(workdir, 'result.json')
  if not os.path.exists(result):
    return saved, None
  return saved, _parse(
      result, pathlib.Path(result).read_bytes(), 'held_out')


def _placeless(config: dict[str, Any]) -> dict[str, Any]:
  """A config without the place of its store, which says itself what it holds.
  """
  data = config.get('data')
  if not isinstance(data, dict):
    return config
  return config | {'data': data | {'store': bool(data.get('store'))}}


def _holds(path: str) -> bool:
  """Whether there is a file that is not empty, or a folder that is not."""
  if os.path.isdir(path):
    return bool(os.listdir(path))
  return os.path.exists(path) and os.path.getsize(path) > 0


def _changes(
    workdir: str, saved: dict[str, Any], versions: dict[str, str],
    allowed: bool,
) -> list[str]:
  """Lines on the versions that have changed since; refused if not allowed."""
  different = config_lib.differences(
      saved['versions'], versions) if saved else []
  if different and not allowed:
    raise ValueError(
        f'workdir={workdir} holds a run of other versions; set '
        'allow_version_change to resume it all the same: '
        + '; '.join(different))
  return different


def _write_config(
    workdir: str, config: dict[str, Any], saved: dict[str, Any],
    versions: dict[str, str], changed: bool,
) -> None:
  record = {'format': files.FORMAT, 'config': config,
            'device': machine()['device'], 'versions': versions}
  history = saved.get('version_changes', [])
  if changed:
    old = saved['versions']
    names = [name for name in sorted(old.keys() | versions.keys())
             if old.get(name) != versions.get(name)]
    history = [*history, {
        'from': {name: old.get(name) for name in names},
        'to': {name: versions.get(name) for name in names}}]
  if history:
    record['version_changes'] = history
  # Written anew by a run that is resumed, too: a folder that has become
  # read-only is better found out now.
  with _writable(workdir):
    files.write_json(os.path.join(workdir, 'config.json'), record)


@contextlib.contextmanager
def _locked(workdir: str) -> Iterator[None]:
  """Holds WORKDIR/lock, which the system lets go of when a process dies."""
  with _writable(workdir):
    os.makedirs(workdir, exist_ok=True)
    lock = os.open(os.path.join(workdir, 'lock'), os.O_RDWR | os.O_CREAT, 0o644)
  try:
    with _writable(workdir):
      _lock(workdir, lock)
    yield
  finally:
    os.close(lock)


def _lock(workdir: str, lock: int) -> None:
  try:
    files.lock(lock, wait=False)
  except BlockingIOError:
    holder = re.fullmatch(
        rb'process [0-9]{1,9} on host [\w.-]{1,99}\n', os.read(lock, 200))
    raise ValueError(
        f'workdir={workdir} is in use by '
        + (holder[0].decode().strip() if holder else 'another process')
        + '; wait for its end, or choose another folder') from None
  os.ftruncate(lock, 0)
  os.write(lock, (f'process {os.getpid()} on host '
                  f'{socket.gethostname()}\n').encode())


@contextlib.contextmanager
def _writable(workdir: str) -> Iterator[None]:
  try:
    yield
  except OSError as error:
    raise ValueError(f'workdir={workdir}: must be a folder that can be '
                     f'written ({error.strerror})') from None


def cut_lines(path: str, epochs: int) -> list[dict[str, Any]]:
  """The first epochs' lines of a metrics.jsonl, which loses all others.

  Raises:
    ValueError: if there are not as many, or one is none of ours; nothing is
      changed then.
  """
  lines = []
  if os.path.exists(path):
    # What follows the last line break was being written when a run died.
    *whole, _ = pathlib.Path(path).read_bytes().split(b'\n')
    lines = [_parse(path, line, *_LINE) for line in whole]
    lines = [line for line in lines if line['epoch'] <= epochs]
  if [line['epoch'] for line in lines] != list(range(1, epochs + 1)):
    raise ValueError(
        f'{path}: must have a line for each of the {epochs} epochs that '
        'checkpoints/ has; it was changed from outside')
  if jax.process_index() == 0:
    files.write(path, ''.join(files.to_json(line) + '\n' for line in lines))
  return lines


def _parse(path: str, data: bytes, *fields: str) -> dict[str, Any]:
  """A JSON object with these fields, or a ValueError that names the file."""
  value = files.parse_json(path, data)
  files.check_format(path, value)
  for name in fields:
    if not isinstance(value.get(name), _TYPES[name]):
      raise ValueError(f'{path}: must have {name!r} as a run writes it; it was '
                       'damaged or changed from outside')
  return value


def append_line(path: str, line: dict[str, Any]) -> None:
  """Adds one line to a metrics.jsonl, and returns once it is on the disk.

  Of several processes the first alone does.
  """
  if jax.process_index() == 0:
    files.append_line(path, files.to_json({'format': files.FORMAT} | line))


def machine() -> dict[str, Any]:
  """What the figures were made with."""
  return {
      'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}, '
                f'{os.cpu_count()} CPU cores',
      'versions': versions_lib.versions()}
