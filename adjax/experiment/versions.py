"""What a run was made with: Python, packages, and adjax itself."""

import functools
import hashlib
import importlib.metadata
import pathlib
import platform

import adjax

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'gymnax', 'chex',
             'orbax-checkpoint', 'numpy')
# What no figure of a run depends on.
_OUTSIDE = ('presets', 'cli', 'page', 'pretrained', 'agent.py',
            'experiment/report.py', 'experiment/plot.py',
            'experiment/progress.py', 'experiment/rollouts.py',
            'experiment/again.py', 'experiment/keep.py',
            'experiment/tracking.py', 'experiment/sweep.py',
            'experiment/sweep_table.py')


# Once: the files of a run that takes days may be changed meanwhile.
@functools.cache
def versions() -> dict[str, str]:
  """Of Python, of the packages that matter, and of adjax."""
  return {'python': platform.python_version(),
          'adjax': code(pathlib.Path(adjax.__file__).parent)} | {
              name: importlib.metadata.version(name) for name in _PACKAGES}


def code(package: pathlib.Path) -> str:
  """Our version, and 12 digits that change with a Python file of a package.

  Presets, launchers, reports and plots are no part of it.
  """
  digest = hashlib.sha256()
  for path in sorted(package.rglob('*.py')):
    name = path.relative_to(package).as_posix()
    if name in _OUTSIDE or name.split('/')[0] in _OUTSIDE:
      continue
    content = path.read_bytes()
    digest.update(f'{name} {len(content)}\n'.encode() + content)
  return f'{adjax.__version__}+{digest.hexdigest()[:12]}'
