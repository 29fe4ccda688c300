"""Seals on folders that hold a tree of arrays: what changed since is named."""

import os
import pathlib
from typing import Any
import zlib

import jax
import jax.numpy as jnp

from adjax import devices
from adjax import types
from adjax.storage import files

Leaves = dict[str, list[Any]]  # {path: [dtype and shape, CRC-32]}.


def path_of(folder: str) -> str:
  """The file that seals a folder."""
  return os.path.join(folder, 'seal')


def write(folder: str, step: int, leaves: Leaves) -> None:
  """Seals a folder, and returns once all of it is on the disk.

  Args:
    folder: the folder, with all its files.
    step: what it is of.
    leaves: describe(tree) of the tree that the files are of.
  """
  for root, _, names in os.walk(folder):
    for name in [*names, '']:
      files.sync(os.path.join(root, name))
  files.write_sealed(path_of(folder), {
      'step': step, 'leaves': leaves, 'files': _digests(folder)})


def verify(folder: str, step: int, like: types.PyTree) -> Leaves:
  """The leaves that a folder was sealed with, as describe gives them.

  Args:
    folder: the folder, of which nothing is believed.
    step: what it must be of.
    like: a tree of the paths, shapes and dtypes that it must have.

  Raises:
    ValueError: if a file or a leaf is not as it must be; it names that one.
    OSError: if a file cannot be read.
  """
  seal = files.read_sealed(path_of(folder))
  if seal['step'] != step:
    raise ValueError(f'its seal is of step {seal["step"]}')
  found = _digests(folder)
  name = _difference(seal['files'], found)
  if name is not None:
    raise ValueError(f'file {name!r} is ' + (
        'missing' if name not in found else
        'not as it was sealed' if name in seal['files'] else 'not of it'))
  saved = {path: kind for path, (kind, _) in seal['leaves'].items()}
  wanted = {path: _kind(leaf) for path, leaf in _leaves(like)}
  path = _difference(saved, wanted)
  if path is not None:
    raise ValueError(f'leaf {path}: {saved.get(path, "absent")} was saved, '
                     f'{wanted.get(path, "absent")} is wanted')
  return seal['leaves']


def compare(leaves: Leaves, tree: types.PyTree) -> None:
  """Raises a ValueError that names the first leaf which differs from these."""
  path = _difference(leaves, describe(tree))
  if path is not None:
    raise ValueError(f'leaf {path} is not as it was sealed')


def describe(tree: types.PyTree) -> Leaves:
  """The kind and the checksum of each leaf of a tree."""
  found = {}
  for path, leaf in _leaves(tree):
    data = leaf
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      data = jax.random.key_data(leaf)
    found[path] = [_kind(leaf), zlib.crc32(devices.fetch(data).tobytes())]
  return found


def _leaves(tree: types.PyTree) -> list[tuple[str, Any]]:
  return [(jax.tree_util.keystr(path), leaf)
          for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _kind(leaf: Any) -> str:
  return f'{leaf.dtype}{list(leaf.shape)}'


def _digests(folder: str) -> dict[str, str]:
  """{relative name: SHA-256} of a folder's files but for its seal."""
  return {path.relative_to(folder).as_posix(): files.digest(str(path))
          for path in pathlib.Path(folder).rglob('*')
          if path.is_file() and str(path) != path_of(folder)}


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
  """The first name of which two dicts do not say the same, or None."""
  return next((name for name in sorted(old.keys() | new.keys())
               if old.get(name) != new.get(name)), None)
