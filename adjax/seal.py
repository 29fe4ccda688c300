"""Seals on folders that hold a tree of arrays: what changed since is named."""

import hashlib
import json
import os
import stat
from typing import Any
import zlib

import jax
import jax.numpy as jnp

from adjax import sharding

_SEAL = 'seal'


def write(folder: str, step: int, leaves: dict[str, list]) -> None:
  """Seals a folder, and returns once it is on the disk.

  Args:
    folder: with all its files, none of them a link.
    step: that it is of.
    leaves: describe(tree) of the tree that the files are of.
  """
  seal = {'step': step, 'leaves': leaves, 'files': _digest(folder)}
  with open(os.path.join(folder, _SEAL), 'x', encoding='utf-8') as file:
    json.dump(seal, file)
  for root, _, names in os.walk(folder):
    for name in [*names, '']:
      sync(os.path.join(root, name))


def exists(folder: str) -> bool:
  """Whether a folder has a seal, good or not."""
  return os.path.lexists(os.path.join(folder, _SEAL))


def verify(folder: str, step: int, like: Any) -> dict[str, list]:
  """The leaves that a folder was sealed with, as describe gives them.

  Args:
    folder: nothing is asked of what it holds.
    step: that it must be of.
    like: a tree of the paths, shapes and dtypes that it must have.

  Raises:
    ValueError: that names the file or the leaf which is not as it must be.
    OSError: if a file cannot be read.
  """
  files = _digest(folder)
  seal = _read(folder, step)
  name = _difference(seal['files'], files)
  if name is not None:
    raise ValueError(f'file {name!r} is ' + (
        'missing' if name not in files else
        'not as it was sealed' if name in seal['files'] else 'not of it'))
  saved = {path: '{}{}'.format(*leaf) for path, leaf in seal['leaves'].items()}
  wanted = {jax.tree_util.keystr(path): '{}{}'.format(*_kind(leaf))
            for path, leaf in jax.tree_util.tree_leaves_with_path(like)}
  path = _difference(saved, wanted)
  if path is not None:
    raise ValueError(f'leaf {path}: {saved.get(path, "absent")} was saved, '
                     f'{wanted.get(path, "absent")} is wanted')
  return seal['leaves']


def compare(leaves: dict[str, list], tree: Any) -> None:
  """Raises a ValueError that names the first leaf which differs from these."""
  path = _difference(leaves, describe(tree))
  if path is not None:
    raise ValueError(f'leaf {path} is not as it was sealed')


def describe(tree: Any) -> dict[str, list]:
  """{path: [dtype, shape, CRC-32 of its bytes]} of the leaves of a tree."""
  found = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    data = leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      data = jax.random.key_data(leaf)
    found[jax.tree_util.keystr(path)] = [
        *_kind(leaf), zlib.crc32(sharding.fetch(data).tobytes())]
  return found


def sync(path: str) -> None:
  """Has the system write a file or a folder to the disk itself."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def _kind(leaf):
  return str(leaf.dtype), list(leaf.shape)


def _digest(folder):
  """{relative name: [bytes, SHA-256]} of a folder's files but for its seal."""
  found = {}
  for root, folders, names in os.walk(folder, onerror=_raise):
    for path in (os.path.join(root, name) for name in folders + names):
      name = os.path.relpath(path, folder)
      mode = os.lstat(path).st_mode
      if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f'{name!r} is neither a file nor a folder')
      if stat.S_ISREG(mode) and name != _SEAL:
        with open(path, 'rb') as file:
          digest = hashlib.file_digest(file, 'sha256').hexdigest()
        found[name] = [os.path.getsize(path), digest]
  return found


def _raise(error):
  raise error


def _read(folder, step):
  try:
    with open(os.path.join(folder, _SEAL), encoding='utf-8') as file:
      text = file.read()
    seal = json.loads(text)
    # To the letter, so that no fault in a seal is too small to be found.
    if (text == json.dumps(seal) and seal['step'] == step
        and isinstance(seal['files'], dict)
        and all(len(leaf) == 3 for leaf in seal['leaves'].values())):
      return seal
  except FileNotFoundError:
    raise ValueError('it has lost its seal') from None
  except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
    pass
  raise ValueError('its seal is damaged')


def _difference(old, new):
  """The first name of which two dicts do not say the same, or None."""
  return next((name for name in sorted(old.keys() | new.keys())
               if old.get(name) != new.get(name)), None)
