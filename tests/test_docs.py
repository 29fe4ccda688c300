"""What the documents show is run: Python, and the commands' flags and sizes.

Of README.md, docs/, experiments/ and all docstrings. A run is not run but made,
which refuses what a run would refuse before it computes anything.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import pathlib
import pkgutil
import re
import shlex
import sys

from absl import flags
from absl.testing import flagsaver
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sybil
from sybil import document
from sybil.parsers import markdown

import adjax
from adjax import spaces
from adjax import types
from adjax.cli import __main__ as console_script
from adjax.cli import launcher
from adjax.envs import adapters
from adjax.experiment import contract
from adjax.experiment import setup
from adjax.experiment import specification
from adjax.learners import references
from adjax.learners import stepping
from adjax.learners import tabular_q
from adjax.methods import training
from adjax.models import transformer
from adjax.storage import weights
from experiments import reference

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / 'examples'
# These are told an experiment; other commands, folders.
PROGRAMS = {name: importlib.import_module(f'adjax.cli.{name}')
            for name in ('run', 'source')}
# What stands for something of the reader's.
PLACES = {'NAME': 'quick', 'FILE': 'file.py', 'DIR': 'runs/some', 'N': '1',
          'K': '1'}

made = functools.cache(setup.make)


def run_python(example):
  """Runs a block; configurations that it only states or defines are made."""
  names = example.namespace
  names.clear()
  names.update(given_names())
  before = set(names)
  tree = ast.parse(example.parsed)
  ast.increment_lineno(tree, example.line + example.parsed.line_offset)
  shown = sys.displayhook
  sys.displayhook = make
  try:
    for node in tree.body:
      code = compile(ast.Interactive([node]), example.path, 'single')
      exec(code, names)  # noqa: S102
  finally:
    sys.displayhook = shown
  for name in set(names) - before:
    if isinstance(names[name], type) and hasattr(names[name], 'make'):
      make(names[name]())
    if isinstance(names[name], adjax.Experiment):
      made(names[name])


def make(value):
  """What a configuration makes, looked at as a run looks at it."""
  if not hasattr(value, 'make'):
    return
  experiment = own().experiment
  if inspect.signature(value.make).parameters:
    found = made(dataclasses.replace(experiment, source=value))
    task = jax.tree.map(lambda x: x[0], found.tasks.train)
    trace(types.unroll, found.source, task, jax.random.key(0), 9)
  else:
    contract.check(value.make())


@functools.cache
def own():
  """The module of the example."""
  tasks = specification.load('tasks', f'{EXAMPLES}/own_environment.py:Tasks')
  return sys.modules[type(tasks).__module__]


def given_names():
  """Names that a block leaves to its reader."""
  tasks = own_tasks()
  return {
      'adjax': adjax, 'dataclasses': dataclasses, 'jax': jax, 'jnp': jnp,
      'np': np, 'stepping': stepping, 'tabular_q': tabular_q, 'env': Still(),
      'MyEnv': own().Corridor, 'MyParams': own().Task,
      'my_memory': lambda: jnp.float32(0),
      'choose': lambda memory, obs, key: jnp.int8(0),
      'update': lambda memory, transition: memory + transition.reward,
      'tasks': tasks, 'task': jax.tree.map(lambda x: x[0], tasks.train),
      'learner': references.random(tasks), 'key': jax.random.key(0),
      'num_steps': 24}


@functools.cache
def own_tasks():
  return own().Tasks().make()


class Still:
  """A Gymnasium environment in which nothing happens, but for its end."""

  def __init__(self):
    self.time = 0

  def reset(self):
    return np.array([4, 4]), {}

  def step(self, action):
    assert isinstance(action, int)
    self.time += 1
    return np.array([4, 4]), 0.0, False, self.time % 20 == 0, {}


def write_weights(folder, tasks):
  """What a run on these tasks leaves, of a small model that has learnt nothing.
  """
  config = transformer.Config(
      layers=1, width=8, heads=1, window=20, feed_forward=8)
  model, env = config.make(tasks.env), tasks.env
  params = jax.jit(lambda key: model.init(
      key, training.example_inputs(model, tasks)))(jax.random.key(0))
  folder.mkdir(parents=True)
  weights.save(str(folder / 'weights.npz'), {
      'experiment': folder.name, 'seeds': 1,
      'model': dataclasses.asdict(config) | {
          'kind': 'adjax.models.transformer:Config'},
      'observation': spaces.to_data(env.observation_space(env.default_params)),
      'actions': stepping.num_actions(env), 'held_out': {}
  }, jax.tree.map(lambda x: np.asarray(x)[None], params))


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """The folder of the reader's runs."""
  folder = tmp_path_factory.mktemp('reader') / 'runs'
  write_weights(folder / 'own_environment', own_tasks())
  write_weights(folder / 'quick', adjax.presets.get('quick').tasks.make())
  return folder


def run_commands(example):
  """Makes what the commands of a block would run."""
  for line in example.parsed.replace('\\\n', ' ').splitlines():
    for command in line.split('&&'):
      make_command(command)


@functools.cache
def make_command(command):
  """Makes what a command would run; other programs' are left alone."""
  words = shlex.split(command.partition('|')[0], comments=True)
  if words[:1] and words[0].startswith('--'):
    words = ['adjax', 'run', *words]
  program, *rest = (words[1:] if words[:1] == ['adjax'] else
                    [words[2].removeprefix('experiments.'), *words[3:]]
                    if words[1:2] == ['-m'] else ['other'])
  if program not in PROGRAMS:
    if words[:1] == ['adjax']:
      check_flags(program, rest)
    return
  rest = [re.sub(r'(?<==)[A-Z]+$', lambda found: PLACES[found[0]], word)
          for word in rest]
  known = {flag.name for module in (PROGRAMS[program], launcher)
           for flag in flags.FLAGS.get_key_flags_for_module(module.__name__)}
  for word in rest:
    if word.startswith('--'):
      assert word[2:].partition('=')[0] in known, f'{word} of adjax {program}'
  with flagsaver.flagsaver():
    left = flags.FLAGS([program, *rest])[1:]
    assert not left, left
    made(launcher.experiment(), flags.FLAGS.mesh)


def check_flags(program, words):
  """Of a command on folders, whose flags cannot be there beside the others'."""
  assert program in console_script._COMMANDS, f'adjax {program}'
  source = ''.join((ROOT / 'adjax' / 'cli' / f'{name}.py').read_text()
                   for name in (program, 'folders', 'episodes'))
  known = re.findall(r"DEFINE_\w+\(\s*'(\w+)'", source)
  for word in words:
    if word.startswith('--'):
      assert word[2:].partition('=')[0] in known, f'{word} of adjax {program}'


def parse_commands(pattern):
  """A parser of what a pattern finds, whose first group is a command."""
  return lambda document: [
      sybil.Region(
          found.start(), found.end(), re.sub(r'\s+', ' ', found[1]),
          lambda example: make_command(example.parsed.replace('\\ ', '')))
      for found in re.finditer(pattern, document.text, re.MULTILINE)]


START = (rf'(?:adjax (?:{"|".join(console_script._COMMANDS)})|'
         rf'python -m experiments\.(?:{"|".join(PROGRAMS)}))\b')
BLOCKS = [markdown.CodeBlockParser('python', run_python),
          markdown.CodeBlockParser('sh', run_commands),
          parse_commands(rf'(?<!`)`((?:{START}|--experiment=)'
                         r'[^`]*)`(?!`)')]
TEXTS = sybil.Sybil(BLOCKS)


class Docstrings(document.PythonDocStringDocument):
  """Of a file that is not imported: programs have flags of the same names."""

  def __init__(self, text, path):
    document.Document.__init__(self, text, path)


# Up to what is said of it, after two blanks.
DOCSTRINGS = sybil.Sybil(
    [*BLOCKS, parse_commands(
        rf'^ +({START}(?: (?:\\\n *)?\S+)*)(?:  .*)?$')],
    document_types={'.py': Docstrings})

DOCUMENTS = [ROOT / 'README.md', *sorted(ROOT.glob('docs/*.md')),
             *sorted(ROOT.glob('experiments/**/*.md'))]
MODULES = [*sorted(ROOT.glob('adjax/**/*.py')),
           *sorted(ROOT.glob('examples/*.py'))]
# {component: the fields of any that adjax has}.
FIELDS = {component: {
    field.name for preset in adjax.presets.PRESETS.values()
    for field in dataclasses.fields(getattr(preset, component) or adjax.Data)}
    for component in ('tasks', 'source', 'data', 'model', 'method', 'evaluate')}
FOUND = [
    pytest.param(example, id=f'{path.relative_to(ROOT)}:{example.line}')
    for parser, paths in ((TEXTS, DOCUMENTS), (DOCSTRINGS, MODULES))
    for path in paths for example in parser.parse(path)]


@pytest.fixture(autouse=True)
def reader(tmp_path, monkeypatch, runs):
  """The folder of somebody who has what the documents speak of."""
  (tmp_path / 'runs').symlink_to(runs)
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'examples').symlink_to(EXAMPLES)
  for name in ('own_environment.py', 'own_learner.py'):
    (tmp_path / name).symlink_to(EXAMPLES / name)
  (tmp_path / 'package').mkdir()
  for name in ('file.py', 'package/module.py'):
    (tmp_path / name).write_text(
        (EXAMPLES / 'own_learner.py').read_text() + '\nother = experiment\n')
  monkeypatch.setattr(adjax, 'run', lambda experiment, workdir: (
      made(experiment), {'held_out': {'return_mean': [0.0]}})[1])
  # One program where the library, with more to do, takes a hundred small ones.
  monkeypatch.setattr(adapters.Adapter, 'sample_task', jax.jit(
      adapters.Adapter.sample_task, static_argnums=0))
  for name in 'unroll', 'generate':
    monkeypatch.setattr(adjax, name, functools.partial(
        trace, getattr(adjax, name)))


def trace(function, *args):
  """What a function returns, as shapes alone; nothing is compiled."""
  return jax.eval_shape(lambda: function(*args))


@pytest.mark.parametrize('example', FOUND)
def test_what_is_shown_is_right(example):
  example.evaluate()


def test_all_blocks_are_of_a_language_that_is_run():
  for path in DOCUMENTS:
    fences = re.findall(r'^ *```(.*)$', path.read_text(), re.MULTILINE)
    assert set(fences[::2]) <= {'', 'python', 'sh'}, path
    assert set(fences[1::2]) <= {''}, path


def test_the_environment_that_is_shown_is_the_example():
  text = (ROOT / 'docs' / 'own.md').read_text()
  shown = re.search(r'```python\n(.*?)```', text, re.DOTALL)[1]
  assert shown in (EXAMPLES / 'own_environment.py').read_text()


def test_the_configuration_reference_is_what_the_code_says():
  assert reference.FILE.read_text() == reference.page(), (
      'make it anew: python -m experiments.reference')


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_headings_that_are_there(path):
  for name, anchor in re.findall(
      r'\]\(([^)#:]*)#([\w-]+)\)', path.read_text()):
    target = path.parent / name if name else path
    headings = re.findall(r'^#+ (.*)', target.read_text(), re.MULTILINE)
    assert anchor in {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
                      for heading in headings}, f'{name}#{anchor}'


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: path.name)
def test_all_that_is_named_is_there(path):
  text = path.read_text()
  for name in re.findall(r'`@?(adjax(?:\.\w+)+)', text):
    pkgutil.resolve_name(name)
  for component, field in re.findall(
      rf'`(?:--set )?({"|".join(FIELDS)})\.(\w+)', text):
    assert field in FIELDS[component], f'{component}.{field}'


@pytest.mark.parametrize('text', [
    '```python\nadjax.Experiment(tasks=1)\n```',
    '```python\nmissing\n```',
    "```python\nadjax.run(adjax.presets.get('slow'), 'runs/slow')\n```",
    '```python\n@dataclasses.dataclass(frozen=True)\nclass Tasks:\n'
    '  def make(self):\n    return MyEnv()\n```',
    '```python\n@dataclasses.dataclass(frozen=True)\nclass Source:\n'
    '  def make(self, tasks):\n    return adjax.Learner(None, None)\n```',
    "```python\nfrom adjax.envs import adapters\nadapters.Config("
    "'PointRobot-misc', bins=99)\n```",
    '```sh\nadjax run --batch_size=3\n```',
    '```sh\nadjax run --episodes=3\n```',
    '```sh\npip install adjax && adjax run --set method.length=299999\n```',
    '```sh\nadjax source --experiment=dark \\\n  --episodes=3\n```',
    '```sh\nadjax run quick\n```',
    '```sh\nadjax walk runs/quick\n```',
    '```sh\nadjax export runs/quick --goal=1,2\n```',
    'See `adjax run --set\nsource=tabular`.',
    'See `--experiment=gymnax --set tasks.env_id=Pong`.',
])
def test_what_is_wrong_is_found(text, tmp_path):
  (tmp_path / 'wrong.md').write_text(text)
  (example,) = TEXTS.parse(tmp_path / 'wrong.md')
  with pytest.raises((AssertionError, AttributeError, NameError, TypeError,
                      ValueError, flags.Error)):
    example.evaluate()
