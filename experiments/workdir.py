"""The files of a run: one folder, one run, nothing half written."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import fcntl
import json
import math
import os
import pathlib
import re
import socket
import stat
from typing import Any

import jax

from adjax import config as config_lib
from experiments import configs
from experiments import versions as versions_lib

_TRACES = ('result.json', 'metrics.jsonl', 'checkpoints')
_FILES = ('config.json', 'metrics.jsonl', 'result.json', 'lock', 'curve.png',
          'visits.png')
# What a line of metrics.jsonl is gone on with by.
_LINE = ('epoch', 'seconds', 'validation', 'train', 'skipped_in_all',
         'ended_early')
# What a field of one of our files must be.
_VALID = {
    'config': lambda x: isinstance(x, dict),
    'versions': lambda x: isinstance(x, dict) and all(
        isinstance(version, str) for version in x.values()),
    'version_changes': lambda x: isinstance(x, list),
    'heldout': lambda x: isinstance(x, dict),
    'validation': lambda x: _are_curves(x),
    'train': lambda x: _are_curves(x),
    'skipped_in_all': lambda x: _are_numbers(x),
    'ended_early': lambda x: _are_numbers(x),
    'epoch': lambda x: type(x) is int,
    'seconds': lambda x: type(x) in (int, float) and 0 <= x < 1e12,
}


@contextlib.contextmanager
def claim(
    workdir: str, experiment: Any, allow_version_change: bool = False,
    say: Callable[[str], None] = print,
) -> Iterator[dict[str, Any] | None]:
  """Holds a workdir for a run, or hands back the result it has already.

  Of several processes the first alone holds and writes it.

  Args:
    workdir: the folder; made if it is not there.
    experiment: whose config it must have, if it has one.
    allow_version_change: take up a run of other versions of this code or of
      its packages all the same; config.json keeps a list of such changes.
    say: is told of such a change.

  Yields:
    The result of a finished run, of which nothing is changed. Otherwise None,
    and no other process can claim the folder until the with statement ends or
    this process does.

  Raises:
    ValueError: if it is in use, or holds a run with another config or of other
      versions, or files that no run of ours has left so, or cannot be written;
      nothing is changed then.
  """
  config = configs.describe(experiment)
  saved, finished = _look(workdir, config)
  if finished is None:
    _new_versions(workdir, saved, allow_version_change)
  if finished is not None or jax.process_index() != 0:
    yield finished
    return
  with _locked(workdir):
    # Once more: another process may have held it since.
    saved, finished = _look(workdir, config)
    if finished is None:
      _write_config(workdir, config, saved, allow_version_change, say)
    yield finished


def _look(workdir, config):
  """What a workdir says already: (config.json, {} if none; result or None)."""
  for name in ('checkpoints', *_FILES, *(f'{name}.new' for name in _FILES)):
    path = os.path.join(workdir, name)
    right = stat.S_ISDIR if name == 'checkpoints' else stat.S_ISREG
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
      if not right(os.lstat(path).st_mode):
        kind = 'folder' if name == 'checkpoints' else 'file'
        raise ValueError(f'{path}: must be a {kind}, and no link to one')
  path = os.path.join(workdir, 'config.json')
  saved = {}
  if os.path.exists(path):
    saved = _read(path, 'config', 'versions', version_changes=[])
    different = config_lib.differences(saved['config'], config)
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
  return saved, _read(result, 'heldout') if os.path.exists(result) else None


def _new_versions(workdir, saved, allowed):
  """Lines on the versions that have changed since; refused if not allowed."""
  different = saved and config_lib.differences(
      saved['versions'], versions_lib.versions())
  if different and not allowed:
    raise ValueError(
        f'--workdir={workdir} holds a run of other versions; set '
        '--allow_version_change to go on all the same: '
        + '; '.join(different))
  return different


def _write_config(workdir, config, saved, allowed, say):
  record = {'config': config} | machine()
  changes = saved.get('version_changes', [])
  if different := _new_versions(workdir, saved, allowed):
    old, new = saved['versions'], record['versions']
    names = [name for name in sorted(old.keys() | new.keys())
             if old.get(name) != new.get(name)]
    changes = [*changes, {'from': {name: old.get(name) for name in names},
                          'to': {name: new.get(name) for name in names}}]
    say('taken up with other versions than it was begun with, which may change '
        'its figures: ' + '; '.join(different))
  if changes:
    record['version_changes'] = changes
  # Written anew by a run that is taken up, too: a folder that has become
  # read-only is better found out now.
  with _writable(workdir):
    write_json(os.path.join(workdir, 'config.json'), record)


@contextlib.contextmanager
def _locked(workdir):
  """Holds WORKDIR/lock, which the system lets go of when a process dies."""
  with _writable(workdir):
    os.makedirs(workdir, exist_ok=True)
    lock = os.open(os.path.join(workdir, 'lock'),
                   os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
  try:
    with _writable(workdir):
      _lock(workdir, lock)
    yield
  finally:
    os.close(lock)


def _lock(workdir, lock):
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    holder = re.fullmatch(
        rb'process [0-9]{1,9} on host [\w.-]{1,99}\n', os.read(lock, 200))
    raise ValueError(
        f'--workdir={workdir} is in use by '
        + (holder[0].decode().strip() if holder else 'another process')
        + '; wait for its end, or choose another folder') from None
  os.ftruncate(lock, 0)
  os.write(lock, (f'process {os.getpid()} on host '
                  f'{socket.gethostname()}\n').encode())


@contextlib.contextmanager
def _writable(workdir):
  try:
    yield
  except OSError as error:
    raise ValueError(f'--workdir={workdir}: must be a folder that can be '
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
    write(path, ''.join(_json(line) + '\n' for line in lines))
  return lines


def _read(path, *fields, **defaults):
  return _parse(path, pathlib.Path(path).read_bytes(), *fields, **defaults)


def _parse(path, data, *fields, **defaults):
  """A JSON object with these fields, or a ValueError that names the file."""
  try:
    value = defaults | json.loads(
        data.decode('utf-8'), parse_float=_finite, parse_constant=_finite)
    _json(value)  # Not nested too deeply for what follows either.
    if all(name in value and _VALID[name](value[name])
           for name in (*fields, *defaults)):
      return value
  except (ValueError, TypeError, RecursionError):
    pass
  raise ValueError(
      f'{path}: must be JSON with {" and ".join(map(repr, fields))}, as a run '
      'writes it; it was damaged or changed from outside')


def _are_numbers(value):
  # None stands for what was not finite.
  return isinstance(value, list) and all(
      type(x) in (int, float, type(None)) for x in value)


def _are_curves(value):
  return isinstance(value, dict) and all(
      _are_numbers(value.get(name)) for name in ('optimum', 'return_mean'))


def _finite(text):
  if not math.isfinite(float(text)):
    raise ValueError
  return float(text)


def append_line(path: str, line: dict[str, Any]) -> None:
  """Adds one line to a metrics.jsonl, and returns once it is on the disk.

  Of several processes the first alone does.
  """
  if jax.process_index() > 0:
    return
  with _named(path), open(path, 'a', encoding='utf-8') as file:
    file.write(_json(line) + '\n')
    file.flush()
    os.fsync(file.fileno())


def machine() -> dict[str, Any]:
  """What the figures were made with."""
  return {
      'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}, '
                f'{os.cpu_count()} CPU cores',
      'versions': versions_lib.versions()}


def write_json(path: str, value: Any) -> None:
  """Replaces a JSON file at once; what is not finite becomes null."""
  write(path, _json(value, indent=1) + '\n')


def write(path: str, text: str) -> None:
  """Replaces a file at once, or leaves it as it was; then it is on the disk.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  new = path + '.new'
  with _named(path):
    with contextlib.suppress(FileNotFoundError):
      os.unlink(new)
    try:
      # Only what is not there yet, since else a link could be there.
      with open(new, 'x', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
      os.replace(new, path)
    except BaseException:
      with contextlib.suppress(OSError):
        os.unlink(new)
      raise
    folder = os.open(os.path.dirname(path) or '.', os.O_RDONLY)
    try:
      os.fsync(folder)
    finally:
      os.close(folder)


@contextlib.contextmanager
def _named(path):
  """An error of writing says where, whatever call it comes from."""
  try:
    yield
  except OSError as error:
    raise OSError(error.errno, error.strerror, path) from None


def _json(value, indent=None):
  return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value):
  """A tree for JSON, which has no word for what is not finite but null."""
  if isinstance(value, dict):
    return {key: _plain(x) for key, x in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(x) for x in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
