"""The examples run, tiny, without a change to adjax, and stay short."""

import ast
import importlib.util
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tokenize

import pytest

import adjax
from adjax.experiment import setup
from adjax.experiment import specification

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / 'examples'
# Of code: without blanks, comments, docstrings and imports.
LINES = 40
TINY = [
    'data.histories=2', 'data.episodes=4', 'model.layers=1', 'model.width=16',
    'model.window=20', 'model.feed_forward=16', 'method.epochs=1',
    'method.updates_per_epoch=2', 'method.batch_size=4', 'method.length=30',
    'evaluate.episodes=3', 'evaluate.runs=1', 'evaluate.train_tasks=3',
    'evaluate.held_out_runs=1', 'evaluate.reference_runs=1']
FEW_BANDITS = ['tasks.num_train=8', 'tasks.num_validation=2',
               'tasks.num_held_out=2']
DOCUMENTS = [ROOT / 'README.md', ROOT / 'CHANGELOG.md',
             *sorted((ROOT / 'docs').glob('*.md'))]


def load(name):
  """An example as a module, as a program that imports it has it."""
  spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module
  spec.loader.exec_module(module)
  return module


def code_lines(source):
  """The numbers of the lines that hold code."""
  found = set()
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type not in (
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
        tokenize.DEDENT, tokenize.ENDMARKER):
      found |= set(range(token.start[0], token.end[0] + 1))
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
      first = node.body[0]
      if isinstance(first, ast.Expr) and isinstance(
          getattr(first.value, 'value', None), str):
        found -= set(range(first.lineno, first.end_lineno + 1))
  return found


def test_code_lines_are_counted():
  source = '"""Doc\n\nstring."""\n\nx = [  # One.\n  1,\n]\n# Comment.\n'
  assert code_lines(source) == {5, 6, 7}


@pytest.mark.parametrize('name', ['own_environment', 'own_learner'])
def test_an_example_is_short(name):
  """All of it but its imports."""
  source = (EXAMPLES / f'{name}.py').read_text()
  imports = set()
  for node in ast.parse(source).body:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
      imports |= set(range(node.lineno, node.end_lineno + 1))
  assert 20 < len(code_lines(source) - imports) <= LINES


def test_an_environment_of_ones_own(tmp_path):
  """Begun by adjax.run, stopped, resumed from the command line elsewhere."""
  own = load('own_environment')
  tasks = own.experiment.tasks.make()
  sets = [set(zip(x.goal.tolist(), x.direction.tolist()))
          for x in (tasks.train, tasks.validation, tasks.held_out)]
  assert sum(map(len, sets)) == len(set.union(*sets)) == 2 * own.CELLS
  assignments = [x.replace('epochs=1', 'epochs=2') for x in TINY]
  experiment = specification.override(own.experiment, assignments)
  said = []

  class Stop(adjax.Progress):
    def say(self, text):
      said.append(text)

    def epoch(self, line, epochs, seconds_left):
      raise KeyboardInterrupt

  run = tmp_path / 'run'
  with pytest.raises(KeyboardInterrupt):
    adjax.run(experiment, run, Stop(), mesh='data:1')
  assert len((run / 'metrics.jsonl').read_text().splitlines()) == 1
  printed = command_line(
      tmp_path, EXAMPLES / 'own_environment.py', run, *assignments)
  assert 'resumed after epoch 1 of 2' in printed
  result = json.loads((run / 'result.json').read_text())
  assert result['optimum_known'] and len(result['held_out']['per_task']) == 6
  # Finished: the same call has the same result and does nothing.
  assert adjax.run(experiment, run) == result


def command_line(folder, experiment, workdir, *assignments):
  """What `adjax run` prints, started in another folder."""
  found = subprocess.run(
      [sys.executable, '-m', 'adjax.cli', 'run', f'--experiment={experiment}',
       f'--workdir={workdir}', '--cpu_devices=4', '--mesh=data:1',
       *(f'--set={text}' for text in assignments)],
      cwd=folder, capture_output=True, text=True,
      env=os.environ | {'PYTHONPATH': str(ROOT)})
  assert found.returncode == 0, found.stderr
  return found.stdout


def test_a_learner_of_ones_own(tmp_path):
  """In the environment of one's own, whose programs are compiled already."""
  own = load('own_learner')
  setup.make(own.experiment)  # Its sizes fit together.
  experiment = specification.override(own.experiment, [
      *TINY, f'tasks={EXAMPLES}/own_environment.py:Tasks',
      f'source={EXAMPLES}/own_learner.py:Source', 'source.tries=3'])
  assert experiment.source == own.Source(tries=3)
  result = adjax.run(experiment, tmp_path / 'run', mesh='data:1')
  assert len(result['source']['return_mean']) == 3
  record = json.loads((tmp_path / 'run' / 'config.json').read_text())
  assert record['config']['source'] == {
      'kind': 'own_learner:Source', 'tries': 3}
  assert {'tasks', 'source'} <= record['versions'].keys()


def test_the_own_learner_tries_every_arm_and_then_keeps_to_the_best():
  import jax
  import numpy as np
  own = load('own_learner')
  tasks = specification.override(own.experiment, FEW_BANDITS).tasks.make()
  history, finite = adjax.generate(
      own.Source(tries=2).make(tasks), tasks.train, jax.random.key(0), 2, 60)
  assert finite.all()
  for action, reward in zip(history.action.reshape(-1, 60),
                            history.reward.reshape(-1, 60)):
    tried, paid = np.asarray(action[:20]), np.asarray(reward[:20])
    assert (np.bincount(tried, minlength=10) == 2).all()
    totals = np.bincount(tried, paid, minlength=10)
    assert totals[action[20]] == totals.max()


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_what_there_is(path):
  text = path.read_text()
  for target in re.findall(r'\]\(([^)#:]+)(?:#[\w-]+)?\)', text):
    assert (path.parent / target).exists(), target
  for name in re.findall(r'--experiment=(\w+)(?![\w./:])', text):
    assert name in adjax.presets.PRESETS or name.isupper(), name
  for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL):
    ast.parse(block)
  for name in re.findall(r'\badjax\.([A-Za-z]\w*)', ' '.join(
      re.findall(r'```python\n(.*?)```', text, re.DOTALL))):
    assert hasattr(adjax, name), name


def test_the_readme_is_short_and_names_all_that_is_public():
  text = (ROOT / 'README.md').read_text()
  assert len(text.splitlines()) <= 180
  public = text.partition('## What is public')[2].partition('\n## ')[0]
  for name in adjax.__all__:
    assert f'`{name}`' in public or name == '__version__'
