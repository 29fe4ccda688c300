"""Files that are whole or not there at all, and refusals that name them."""

from collections.abc import Iterator
import contextlib
import hashlib
import io
import json
import math
import os
import re
from typing import Any
import zipfile
import zlib

import numpy as np

from adjax import config

try:
  import fcntl
except ImportError:  # On Windows.
  fcntl = None  # type: ignore[assignment]

FORMAT = 1  # Of all that is written here; keys are only ever added.


def expand(path: str) -> str:
  """A path as a user writes it, with their home in place of '~'."""
  return os.path.expanduser(path)


def folder(field: str, given: str | os.PathLike[str]) -> str:
  """The path of a folder for files of a run, as a user writes it.

  Args:
    field: what it is given as.
    given: the path.

  Returns:
    It, with their home in place of '~'.

  Raises:
    ValueError: if no file can be in a folder of that path.
  """
  path = os.fspath(given) if isinstance(given, os.PathLike) else given
  config.check(field, given, isinstance(path, str) and path != ''
               and '\0' not in path, 'the path of a folder')
  path = expand(path)
  config.check(field, given, path[0] != '~',
               'a path from the home of a user there is')
  # pathlib leaves one slash of a URL's two. A single letter is a drive.
  config.check(field, given, not re.match(r'[A-Za-z][A-Za-z0-9+.-]+:/', path),
               'a folder of a file system; mount what is elsewhere')
  whole = os.path.abspath(path)
  config.check(field, given, whole != os.path.dirname(whole),
               f'a folder of its own, not {whole}')
  # Tensorstore knows paths as UTF-8 alone, whatever Python takes them for.
  config.check(field, given, _as_utf8(whole),
               'read as UTF-8, in which this Python does not read paths; '
               'set PYTHONUTF8=1, or use ASCII letters')
  return path


def _as_utf8(path: str) -> bool:
  try:
    return os.fsencode(path) == path.encode()
  except UnicodeEncodeError:
    return False


def lock(descriptor: int, wait: bool) -> None:
  """Holds an open file for this process, where the system can (not Windows).

  Args:
    descriptor: the file's; closing it, or the end of the process, lets go.
    wait: for whoever holds it.

  Raises:
    BlockingIOError: if another process holds it, and that is not waited for.
  """
  if fcntl is not None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def write(path: str, data: bytes | str) -> None:
  """Replaces a file at once, or leaves it as it was; then it is on the disk.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  new = path + '.new'
  with _named(path):
    with contextlib.suppress(FileNotFoundError):
      os.unlink(new)
    try:
      with open(new, 'xb') as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
      os.replace(new, path)
    except OSError:
      with contextlib.suppress(OSError):
        os.unlink(new)
      raise
    sync(os.path.dirname(path) or '.')


def write_json(path: str, value: Any) -> None:
  """Writes a JSON file for people to read; what is not finite becomes null."""
  write(path, json.dumps(_plain(value), indent=1, allow_nan=False) + '\n')


def write_sealed(path: str, value: dict[str, Any]) -> None:
  """Writes a JSON object with its format and a checksum, for read_sealed."""
  write(path, _sealed(value))


def append_line(path: str, text: str) -> None:
  """Adds a line to a file, and returns once it is on the disk.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  with _named(path), open(path, 'a', encoding='utf-8') as file:
    file.write(text + '\n')
    file.flush()
    os.fsync(file.fileno())


def to_json(value: Any) -> str:
  """JSON on one line; what is not finite becomes null."""
  return json.dumps(_plain(value), allow_nan=False)


def read_json(path: str) -> dict[str, Any]:
  """The JSON object in a file.

  Raises:
    ValueError: with the path, if there is none.
  """
  return parse_json(path, _read(path))


def read_sealed(path: str) -> dict[str, Any]:
  """What write_sealed wrote.

  Raises:
    ValueError: with the path, if the file says anything else, to the letter.
  """
  data = _read(path)
  value = parse_json(path, data)
  check_format(path, value)
  value.pop('sha256', None)
  if _sealed(value) != data:
    raise _damaged(path)
  return value


def parse_json(path: str, data: bytes) -> dict[str, Any]:
  """The JSON object in some bytes of a file, as read_json."""
  try:
    value = json.loads(data, parse_float=_finite, parse_constant=_finite)
    # Not nested too deeply for what is done with it either.
    if isinstance(value, dict) and to_json(value):
      return value
  except (ValueError, RecursionError):
    pass
  raise _damaged(path)


def write_npz(
    path: str, arrays: dict[str, np.ndarray], compress: bool = False
) -> None:
  """Writes a .npz that read_npz reads, whole or not at all.

  Args:
    path: of the file.
    arrays: `header`, a JSON text, and the others.
    compress: whether they are.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  buffer = io.BytesIO()
  save = np.savez_compressed if compress else np.savez
  save(buffer, allow_pickle=False, **arrays)
  write(path, buffer.getvalue())


def read_npz(
    path: str, what: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """What a .npz says: the JSON object in its `header`, and its other arrays.

  Args:
    path: of the file.
    what: it is, as in 'a file of weights'.

  Raises:
    ValueError: with the path, if there is none, or it is damaged, or of another
      format.
  """
  try:
    with np.load(path, allow_pickle=False) as archive:
      arrays = dict(archive)
    header = json.loads(str(arrays.pop('header')))
  except FileNotFoundError:
    raise ValueError(f'{path}: must be {what}; there is none') from None
  # What NumPy and zipfile raise on what is no such file, or half of one.
  except (AttributeError, EOFError, KeyError, NotImplementedError, OSError,
          RecursionError, TypeError, ValueError, zipfile.BadZipFile,
          zlib.error):
    raise damaged_npz(path, what) from None
  if not isinstance(header, dict):
    raise damaged_npz(path, what)
  if header.get('format') != FORMAT:
    raise ValueError(f'{path}: is of format {header.get("format")!r}, and must '
                     f'be of {FORMAT}, the one that this adjax reads')
  return header, arrays


def damaged_npz(path: str, what: str) -> ValueError:
  """The error that says a .npz is not what it should be."""
  return ValueError(f'{path}: must be {what} as a run writes it; it was '
                    'damaged, or is something else')


def check_format(path: str, value: dict[str, Any]) -> None:
  """Raises a ValueError unless this version reads what a file says."""
  if value.get('format') != FORMAT:
    raise ValueError(f'{path}: was written by an older adjax; use that one, or '
                     'choose another folder')


def digest(path: str) -> str:
  """The SHA-256 of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def sync(path: str) -> None:
  """Has the system write a file or a folder to the disk itself."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _sealed(value: dict[str, Any]) -> bytes:
  value = {'format': FORMAT} | value
  seal = hashlib.sha256(to_json(value).encode()).hexdigest()
  return (to_json(value | {'sha256': seal}) + '\n').encode()


def _read(path: str) -> bytes:
  try:
    with open(path, 'rb') as file:
      return file.read()
  except OSError as error:
    raise ValueError(f'{path}: cannot be read ({error.strerror})') from None


def _damaged(path: str) -> ValueError:
  return ValueError(f'{path}: must be a JSON object as it was written; it was '
                    'damaged or changed from outside')


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
  """An error of writing says where, whatever call it comes from."""
  try:
    yield
  except OSError as error:
    raise OSError(error.errno, error.strerror, path) from error


def _finite(text: str) -> float:
  if not math.isfinite(float(text)):
    raise ValueError(text)
  return float(text)


def _plain(value: Any) -> Any:
  """A tree for JSON, which has no word for what is not finite but null."""
  if isinstance(value, dict):
    return {key: _plain(x) for key, x in value.items()}
  if isinstance(value, (list, tuple)):
    return [_plain(x) for x in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value
