"""What a run was made with: Python, packages, and this code itself."""

import functools
import hashlib
import importlib.metadata
import pathlib
import platform

from adjax import config as config_lib

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'gymnax', 'chex',
             'orbax-checkpoint', 'numpy')


# Once: the files of a run that takes days may be changed meanwhile.
@functools.cache
def versions() -> dict[str, str]:
  """Of Python, of the packages that matter, and of this code."""
  ours = code(pathlib.Path(config_lib.__file__).parent,
              pathlib.Path(__file__).parent)
  return {'python': platform.python_version(), 'adjax': ours} | {
      name: importlib.metadata.version(name) for name in _PACKAGES}


def code(*packages: pathlib.Path) -> str:
  """Our version, and 12 digits that change with any Python file of ours."""
  digest = hashlib.sha256()
  for package in packages:
    for path in sorted(package.rglob('*.py')):
      name = path.relative_to(package.parent).as_posix()
      content = path.read_bytes()
      digest.update(f'{name} {len(content)}\n'.encode() + content)
  try:
    version = importlib.metadata.version('adjax')
  except importlib.metadata.PackageNotFoundError:
    version = 'source'
  return f'{version}+{digest.hexdigest()[:12]}'
