"""Imports go down only; a library that reads its own syntax trees knows."""

import ast
import graphlib
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# From the ground up; what is on one floor imports one another only within one
# package, and not in circles.
FLOORS = [
    ['arrays', 'config', 'devices'],
    ['types'],
    ['metrics', 'histories', 'spaces'],
    ['envs', 'learners'],
    ['models'],
    ['methods'],
    ['storage'],
    ['agent', 'page'],
    ['experiment'],
    ['presets'],
    ['cli'],
]
def modules(package):
  return {'.'.join(path.relative_to(ROOT).with_suffix('').parts): path
          for path in (ROOT / package).rglob('*.py')
          if path.name != '__init__.py'}


ADJAX = modules('adjax')


def imported(path):
  """The modules of this project that a file imports, wherever in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module:
      yield node.module
      for alias in node.names:
        yield f'{node.module}.{alias.name}'
    elif isinstance(node, ast.Import):
      for alias in node.names:
        yield alias.name


def room(module):
  return module.split('.')[1]


def floor(module):
  return next(i for i, rooms in enumerate(FLOORS) if room(module) in rooms)


@pytest.mark.parametrize('module', sorted(ADJAX))
def test_imports_go_down_only(module):
  for other in set(imported(ADJAX[module])):
    assert not other.startswith('experiments')
    if other in ADJAX and room(other) != room(module):
      assert floor(other) < floor(module), f'{module} imports {other}'


def test_nothing_imports_in_a_circle():
  graph = {module: set(imported(path)) & set(ADJAX)
           for module, path in ADJAX.items()}
  graphlib.TopologicalSorter(graph).prepare()


def test_training_knows_no_source_and_learners_know_no_environment():
  for name in ('adjax.methods.distill', 'adjax.methods.training'):
    assert not [m for m in imported(ADJAX[name]) if 'learners' in m]
  for name, path in ADJAX.items():
    if name.startswith('adjax.learners.'):
      assert not [m for m in imported(path) if 'adjax.envs' in m]


@pytest.mark.parametrize('package, alone', [
    ('absl', 'adjax.cli'), ('orbax', 'adjax.storage'),
    ('tensorstore', 'adjax.storage'), ('rich', 'adjax.cli'),
    ('matplotlib', 'adjax.experiment.plot'),
    ('tensorboardX', 'adjax.experiment.tracking'),
    ('wandb', 'adjax.experiment.tracking')])
def test_a_package_is_known_in_one_place(package, alone):
  for module, path in ADJAX.items():
    if not module.startswith(alone):
      assert not [m for m in imported(path) if m.split('.')[0] == package], (
          module)


def test_importing_the_library_starts_nothing():
  code = ('import sys, adjax; adjax.__version__, dir(adjax); '
          'sys.exit("jax" in sys.modules or "gymnax" in sys.modules)')
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def test_importing_the_interface_starts_no_backend():
  """So that a script can still choose devices, or join other processes."""
  code = (
      'import adjax, adjax.types\n'
      'adjax.unroll, adjax.Learner, adjax.TaskDistribution\n'
      'from jax._src import xla_bridge\n'
      # What jax.distributed.initialize refuses, too.
      'assert not xla_bridge.backends_are_initialized()')
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True,
                 env=os.environ | {'JAX_PLATFORMS': 'cpu'})


def test_all_modules_are_imported_where_posix_is_not():
  """As on Windows, which has neither of these modules."""
  code = (
      'import importlib, sys\n'
      'sys.modules["fcntl"] = sys.modules["resource"] = None\n'
      'for name in sys.argv[1:]: importlib.import_module(name)\n'
      'from adjax.experiment import memory\n'
      'assert memory.available() > 0')
  subprocess.run(
      [sys.executable, '-c', code, *sorted(ADJAX)], cwd=ROOT, check=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'})


def test_the_public_names_are_there():
  import adjax
  for name in adjax.__all__:
    assert getattr(adjax, name) is not None
  with pytest.raises(AttributeError, match='no attribute'):
    adjax.nothing  # noqa: B018
