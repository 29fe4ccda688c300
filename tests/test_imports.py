"""Imports go down only; a library that reads its own syntax trees knows."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = [
    ['arrays', 'config', 'processes', 'sharding'],
    ['types', 'seal'],
    ['checkpoint'],
    ['metrics', 'learners.acting', 'manifest'],
    ['learners.networks', 'shards'],
    ['model'],
    ['transformer', 'lstm', 'in_context', 'histories', 'learners', 'envs',
     'store'],
    ['distill'],
    ['rl2'],
]


def modules(package):
  return {'.'.join(path.relative_to(ROOT).with_suffix('').parts): path
          for path in (ROOT / package).rglob('*.py')
          if path.name != '__init__.py'}


def imported(path):
  """The modules of this project that a file imports, wherever in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module:
      for alias in node.names:
        yield f'{node.module}.{alias.name}'
    elif isinstance(node, ast.Import):
      for alias in node.names:
        yield alias.name


def floor(module):
  """The floor of adjax.a.b: that of its longest prefix in the table."""
  name = module.removeprefix('adjax.')
  while name:
    for number, names in enumerate(FLOORS):
      if name in names:
        return number
    name = name.rpartition('.')[0]
  pytest.fail(f'{module} has no floor')


@pytest.mark.parametrize('module', sorted(modules('adjax')))
def test_imports_go_down_only(module):
  for other in imported(modules('adjax')[module]):
    assert not other.startswith('experiments')
    if other in modules('adjax'):
      assert floor(other) < floor(module), f'{module} imports {other}'


def test_training_knows_no_learner_and_learners_know_no_environment():
  files = modules('adjax')
  assert not [m for m in imported(files['adjax.distill']) if 'learners' in m]
  for name, path in files.items():
    if name.startswith('adjax.learners.'):
      assert not [m for m in imported(path) if '.envs' in m]


@pytest.mark.parametrize('module', sorted(modules('adjax')))
def test_the_library_has_no_flags(module):
  assert not [m for m in imported(modules('adjax')[module])
              if m.startswith('absl')]


def test_help_does_not_pay_for_jax():
  code = ('import sys; import experiments.run; '
          'sys.exit("jax" in sys.modules or "gymnax" in sys.modules)')
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
