"""What is read is data: nothing here can run what a file or a name says."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(path for package in ('adjax', 'experiments', 'tests')
               for path in (ROOT / package).rglob('*.py'))
# Each of these runs code out of the bytes it loads.
MODULES = {'pickle', '_pickle', 'cPickle', 'dill', 'cloudpickle', 'shelve',
           'marshal', 'joblib'}
BUILTINS = {'eval', 'exec', 'compile', '__import__'}
# A shell reads a name such as "x; rm -r ~" as an order.
SHELLS = {'os.system', 'os.popen', 'subprocess.getoutput',
          'subprocess.getstatusoutput'}
YAML = {'load', 'load_all', 'full_load', 'full_load_all', 'unsafe_load',
        'unsafe_load_all', 'Loader', 'FullLoader', 'UnsafeLoader'}


def faults(code):
  """What must not be in Python code, as (line, what), in the code's order."""
  tree = ast.parse(code)
  names = _names(tree)
  found = []
  for node in ast.walk(tree):
    found += [(node.lineno, name) for name in _uses(node, names)
              if _forbidden(name)]
    if isinstance(node, ast.Call):
      found += [(node.lineno, keyword.arg) for keyword in node.keywords
                if keyword.arg in ('shell', 'allow_pickle')
                and not _is_false(keyword.value)]
  return sorted(set(found))


def _names(tree):
  """{local name: what was imported under it}, such as np: numpy."""
  names = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      for alias in node.names:
        if alias.asname:
          names[alias.asname] = alias.name
    elif isinstance(node, ast.ImportFrom) and node.module:
      for alias in node.names:
        names[alias.asname or alias.name] = f'{node.module}.{alias.name}'
  return names


def _uses(node, names):
  """The full names that a node by itself imports or reads."""
  if isinstance(node, ast.Import):
    return [alias.name for alias in node.names]
  if isinstance(node, ast.ImportFrom):
    return [node.module or ''] + [
        f'{node.module}.{alias.name}' for alias in node.names]
  if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
    return [names.get(node.id, node.id)]
  parts = []
  while isinstance(node, ast.Attribute):
    parts.append(node.attr)
    node = node.value
  if parts and isinstance(node, ast.Name):
    return ['.'.join([names.get(node.id, node.id), *reversed(parts)])]
  return []


def _forbidden(name):
  first, _, last = name.rpartition('.')
  return (name in BUILTINS | SHELLS
          or (first == 'builtins' and last in BUILTINS)
          or not MODULES.isdisjoint(name.split('.'))
          or (first.split('.')[0] == 'yaml' and last in YAML))


def _is_false(value):
  return isinstance(value, ast.Constant) and value.value is False


@pytest.mark.parametrize(
    'path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_what_it_reads(path):
  assert not faults(path.read_text(encoding='utf-8'))


@pytest.mark.parametrize('code, what', [
    ('import pickle', 'pickle'),
    ('import cloudpickle as json', 'cloudpickle'),
    ('def f():\n  from marshal import loads', 'marshal'),
    ('import jax\njax.pickle.loads(x)', 'jax.pickle.loads'),
    ('eval("1")', 'eval'),
    ('run = exec', 'exec'),
    ('compile("1", "", "eval")', 'compile'),
    ('import builtins as b\nb.eval("1")', 'builtins.eval'),
    ('import yaml\nyaml.load(x)', 'yaml.load'),
    ('from yaml import unsafe_load as safe_load', 'yaml.unsafe_load'),
    ('import numpy as np\nnp.load(x, allow_pickle=True)', 'allow_pickle'),
    ('np.load(x, allow_pickle=flag)', 'allow_pickle'),
    ('from os import system as log\nlog("x")', 'os.system'),
    ('import subprocess as s\ns.run("x", shell=True)', 'shell'),
])
def test_what_would_is_found(code, what):
  assert what in [name for _, name in faults(code)]


@pytest.mark.parametrize('code', [
    '"import pickle; eval(x)"',
    'import re\nre.compile("x")',
    'import jax\njax.jit(f).lower(x).compile()',
    'import jax\njax.eval_shape(f)',
    'class Clock:\n  def compile(self):\n    self.compile()',
    'def compile(x): pass',
    'import yaml\nyaml.safe_load(x)',
    'import numpy as np\nnp.load(x, allow_pickle=False)',
    'import subprocess\nsubprocess.run([x], shell=False)',
])
def test_what_only_looks_like_it_is_not(code):
  assert not faults(code)
