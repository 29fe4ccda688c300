"""What an experiment is made of, as values: described, overridden, loaded.

A configuration makes its object, so that nothing here is a table of names: any
frozen dataclass of JSON values with the right `make` will do.
"""

import ast
from collections.abc import Collection
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import json
import linecache
import os
import pathlib
import re
import sys
from types import ModuleType
import typing
from typing import Annotated
from typing import Any
from typing import Protocol

from adjax import config as config_lib
from adjax import histories as histories_lib
from adjax import types
from adjax.methods import distill
from adjax.methods import training
from adjax.models import sequence_model
from adjax.models import transformer
from adjax.storage import components as components_lib
from adjax.storage import files


class Tasks(config_lib.Dataclass, Protocol):
  """A configuration of an environment and its split into sets of tasks."""

  def make(self) -> types.TaskDistribution:
    """The task distribution."""


class Source(config_lib.Dataclass, Protocol):
  """A configuration of a reinforcement learner."""

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """The learner for these tasks."""


class Model(config_lib.Dataclass, Protocol):
  """A configuration of a sequence model."""

  def make(self, env: types.Env) -> sequence_model.SequenceModel:
    """The model for an environment."""


@dataclasses.dataclass(frozen=True)
class Data(config_lib.Checked):
  """The histories that are distilled.

  Attributes:
    histories: source learners on every training task, each of which leaves as
      many histories as it has actors.
    episodes: episodes of a history after episode_stride; where they may end
      early, as many steps as so many whole ones.
    episode_stride: one episode in so many is kept.
    last_episodes: of these, only the last so many: what is distilled then is
      the expert that the source became (expert distillation). 0 keeps all.
    store: a folder to keep them in, where training reads from; '' for memory.
    regenerate_every: epochs after which they are generated anew, in the loop
      that trains; 0 for never.
    starts: where in a history the subsequences begin that are trained on:
      'uniform', where one fits; 'clipped', which shows the beginning of a
      history (where every evaluation begins) and its end more often than all
      between; or 'mixture', half of the one and half of the other. How often:
      histories.sample_subsequences.
  """
  histories: config_lib.Count = 64
  episodes: config_lib.Count = 15
  episode_stride: config_lib.Count = 1
  last_episodes: config_lib.Index = 0
  store: str = ''
  regenerate_every: config_lib.Index = 0
  starts: Annotated[str, config_lib.Bound(
      lambda x: x in histories_lib.STARTS,
      'one of ' + ', '.join(map(repr, histories_lib.STARTS)))] = 'uniform'

  def check(self) -> None:
    config_lib.check(
        'last_episodes', self.last_episodes,
        self.last_episodes <= self.episodes,
        f'from 0 to episodes={self.episodes}')
    config_lib.check(
        'regenerate_every', self.regenerate_every,
        not (self.regenerate_every and self.store),
        f'0 with store={self.store!r}, which keeps them')

  @property
  def selected_episodes(self) -> int:
    """Episodes of a history as it is trained on."""
    return self.last_episodes or self.episodes


@dataclasses.dataclass(frozen=True)
class Evaluate(config_lib.Checked):
  """In-context learning, weights frozen.

  Attributes:
    episodes: E, episodes of every evaluation.
    runs: runs on each validation and each of the training tasks, every epoch.
    train_tasks: the most training tasks that are evaluated on.
    held_out_runs: runs on each held-out task, once, at the end.
    reference_runs: runs of the source and the references on each of them.
    temperature: of the actions' distribution; 0 takes the likeliest.
  """
  episodes: config_lib.Count = 50
  runs: config_lib.Count = 4
  train_tasks: config_lib.Count = 10
  held_out_runs: config_lib.Count = 32
  reference_runs: config_lib.Count = 32
  temperature: config_lib.NonNegative = 1.0


@dataclasses.dataclass(frozen=True)
class Experiment(config_lib.Checked):
  """A whole run: a model trained by a method, and its evaluation.

  Attributes:
    tasks: the environment and its split.
    source: the learner that is distilled, and what the model is compared with;
      None for a method that needs none.
    data: its histories; None for a method that has none.
    model: the sequence model.
    method: how it is trained, and on what.
    evaluate: its evaluation.
    name: the preset it began as.
    seeds: training seeds; histories are shared.
    seed: of everything random but the split.
  """
  tasks: Tasks
  source: Source | None = None
  data: Data | None = Data()
  model: Model = transformer.Config()
  method: training.Method = distill.Config()
  evaluate: Evaluate = Evaluate()
  name: str = 'experiment'
  seeds: config_lib.Count = 1
  seed: Annotated[int, config_lib.Bound(
      lambda x: 0 <= x < 2**32, 'from 0 to 2**32 - 1')] = 0

  def check(self) -> None:
    config_lib.check_name('name', self.name)
    for name in ('tasks', 'source', 'model', 'method'):
      component = getattr(self, name)
      if component is not None or name in ('tasks', 'model', 'method'):
        config_lib.check_component(name, component, ('make',))
    for name, kind in (('data', Data), ('evaluate', Evaluate)):
      value = getattr(self, name)
      if not (isinstance(value, kind) or (value is None and name == 'data')):
        config_lib.check(name, value, False, f'an adjax.{kind.__name__}')
    if self.data is not None and self.data.store:
      files.folder('data.store', self.data.store)


# Where a bare name of a component is looked up.
_PACKAGES = {'tasks': 'adjax.envs', 'source': 'adjax.learners',
             'model': 'adjax.models', 'method': 'adjax.methods'}

# What fields and components were called before 0.2; the first that fits is
# said.
_RENAMED = {
    'distill.clip': 'method.max_grad_norm', 'rl2.clip': 'method.max_grad_norm',
    'rl2.trace': 'method.lambda_', 'distill': 'method', 'rl2': 'method',
    'method.clip': 'method.max_grad_norm', 'method.trace': 'method.lambda_',
    'data.every': 'data.episode_stride', 'data.tail': 'data.last_episodes',
    'data.refresh': 'data.regenerate_every', 'source.trace': 'source.lambda_',
    'source.clip_norm': 'source.max_grad_norm',
    'tasks.law': 'tasks.distribution', 'source=noise': 'source=annealed_oracle',
    'source=patrol': 'source=coverage_search'}


def override(
    experiment: Experiment, assignments: list[str]
) -> Experiment:
  """A copy of an experiment with fields replaced.

  Args:
    experiment: the experiment.
    assignments: strings 'a.b=value'. A whole component is chosen by
      'source=tabular_q', which is adjax.learners.tabular_q:Config, by
      'source=module:attribute' or 'source=file.py:attribute', a class or an
      instance; source and data also by 'none'. These apply before fields,
      which may be those that a class must be given.

  Raises:
    ValueError: on what cannot be set so; it names the field.
  """
  chosen: dict[str, str] = {}
  rest = []
  for assignment in assignments:
    name, equals, text = (x.strip() for x in assignment.partition('='))
    if equals and name in (*_PACKAGES, 'data') and '.' not in name:
      if name in chosen:
        raise ValueError(f'{name}: given twice')
      chosen[name] = text
    else:
      rest.append(assignment)
  experiment = dataclasses.replace(experiment, **{
      name: _component(name, text, _fields(name, rest))
      for name, text in chosen.items()})
  for assignment in rest:
    _check_renamed(experiment, assignment.partition('=')[0].strip())
  return config_lib.override(experiment, rest)


def _check_renamed(experiment: Experiment, path: str) -> None:
  name, _, field = path.partition('.')
  if hasattr(getattr(experiment, name, None), field.partition('.')[0] or '.'):
    return  # Somebody's own component has a field of that name.
  for old, new in _RENAMED.items():
    if path == old or path.startswith(old + '.'):
      raise ValueError(f'{path}: is now {new}{path[len(old):]}')


def _fields(component: str, assignments: list[str]) -> dict[str, str]:
  """{field: text} of the assignments to a component's own fields."""
  parts = [[x.strip() for x in text.partition('=')] for text in assignments]
  return {name.removeprefix(f'{component}.'): text for name, _, text in parts
          if re.fullmatch(rf'{component}\.\w+', name)}


def _component(name: str, text: str, given: dict[str, str]) -> Any:
  """The component that a text names.

  Args:
    name: the field it is for.
    text: the text.
    given: {field: text} of its own fields that are set besides.
  """
  if text == 'none' and name in ('source', 'data'):
    return None
  if name == 'data':
    if text == 'default':
      return Data()
    raise ValueError(f'data={text}: must be none or default; its fields are '
                     'set one by one')
  if ':' in text:
    return load(name, text, given)
  if f'{name}={text}' in _RENAMED:
    raise ValueError(f'{name}={text}: is now {_RENAMED[f"{name}={text}"]}')
  package = _PACKAGES[name]
  names = components(package)
  if text not in names:
    raise ValueError(f'{name}={text}: must be one of {", ".join(names)}, or '
                     'module:attribute, or file.py:attribute')
  return _instance(name, text, importlib.import_module(
      f'{package}.{text}').Config, given)


def components(package: str) -> list[str]:
  """The modules of a package that have a Config to make something of."""
  folder = pathlib.Path(importlib.import_module(package).__path__[0])
  return sorted(path.stem for path in folder.glob('*.py')
                if 'class Config(' in path.read_text(encoding='utf-8')
                and path.stem != 'sequence_model')


def load(field: str, text: str, given: dict[str, str] | None = None) -> Any:
  """What 'module:attribute' or 'path/to/file.py[:attribute]' names.

  Of a file, `experiment` by default.

  Args:
    field: what it is for, for the error.
    text: the name.
    given: {field: text} of what a class is called with.

  Raises:
    ValueError: if there is no such thing.
    Exception: what the module itself raises.
  """
  where, _, attribute = text.partition(':')
  attribute = attribute or 'experiment'
  if where.endswith('.py'):
    path = pathlib.Path(files.expand(where)).resolve()
    if not path.is_file():
      raise ValueError(f'{field}={text}: cannot be imported (no such file)')
    module = _file(path)
  else:
    if not _is_module(where):
      raise ValueError(
          f'{field}={text}: cannot be imported (no module {where})')
    module = importlib.import_module(where)
  if not hasattr(module, attribute):
    names = [name for name, value in vars(module).items()
             if dataclasses.is_dataclass(value) and not name.startswith('_')]
    raise ValueError(f'{field}={text}: {where} has no {attribute}; it has '
                     + (', '.join(names) or 'no dataclass'))
  return _instance(field, text, getattr(module, attribute), given or {})


def _is_module(name: str) -> bool:
  """Whether there is a module of that name; what it is in is imported."""
  parent = name.rpartition('.')[0]
  if not all(part.isidentifier() for part in name.split('.')):
    return False
  if parent and not _is_module(parent):
    return False
  if parent and not hasattr(importlib.import_module(parent), '__path__'):
    return False
  return name in sys.modules or importlib.util.find_spec(name) is not None


def _instance(field: str, text: str, found: Any, given: dict[str, str]) -> Any:
  """The instance that was found, or one of the class that was."""
  if not isinstance(found, type):
    return found
  fields = {x.name: x for x in (
      dataclasses.fields(found) if dataclasses.is_dataclass(found) else ())
            if x.init}
  hints = typing.get_type_hints(found) if fields else {}
  missing = [x.name for x in fields.values() if x.name not in given
             and x.default is x.default_factory is dataclasses.MISSING]
  if missing:
    raise ValueError(f'{field}={text}: must be given with ' + ' '.join(
        f'--set {field}.{name}=' + ('NAME' if hints[name] is str else 'VALUE')
        for name in missing))
  arguments = {
      name: config_lib.parse(f'{field}.{name}', value, hints[name])
      for name, value in given.items()
      if name in fields and not dataclasses.is_dataclass(fields[name].default)}
  try:
    return found(**arguments)
  except TypeError as error:
    raise ValueError(f'{field}={text}: cannot be made without arguments '
                     f'({error}); name an instance') from error
  except ValueError as error:
    of_field = str(error).partition('=')[0] in fields
    raise ValueError((f'{field}.' if of_field else f'{field}={text}: ')
                     + str(error)) from error


def _file(full: pathlib.Path) -> ModuleType:
  """The module of a file, imported once under its stem."""
  name = full.stem
  known = sys.modules.get(name)
  if known is not None and getattr(known, '__file__', None) == str(full):
    return known
  other = importlib.util.find_spec(name)
  if known is not None or (other and other.origin != str(full)):
    name = f'{name}_{hashlib.sha256(str(full).encode()).hexdigest()[:8]}'
    if name in sys.modules:
      return sys.modules[name]
  spec = importlib.util.spec_from_file_location(name, full)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # Dataclasses look themselves up there.
  # Beside it may stand what it imports, as when it is run itself.
  sys.path.insert(0, str(full.parent))
  try:
    spec.loader.exec_module(module)
  except BaseException:
    del sys.modules[name]
    raise
  finally:
    sys.path.remove(str(full.parent))
  return module


def describe(experiment: Experiment) -> dict[str, Any]:
  """An experiment as JSON; every component has its `kind`, module:class."""
  config = json.loads(json.dumps(dataclasses.asdict(experiment)))
  for name in _PACKAGES:
    component = getattr(experiment, name)
    if component is not None:
      config[name] = components_lib.to_data(component)
  return config


def digests(
    experiment: Experiment, names: Collection[str] = tuple(_PACKAGES)
) -> dict[str, str]:
  """{component: digest} of the sources of those that are not adjax's own.

  Of the file that defines a component's class, or of the class where there is
  no file, as in a notebook; of the classes of its fields, too.

  Args:
    experiment: whose components.
    names: which of them.
  """
  found = {}
  for name in names:
    own = [kind for kind in _kinds(getattr(experiment, name))
           if kind.__module__.split('.')[0] != 'adjax']
    if own:
      found[name] = ' '.join(_digest(kind) for kind in own)
  return found


def _kinds(value: Any) -> list[type]:
  """The classes of a component and of what is in its fields."""
  if isinstance(value, tuple):
    return [kind for x in value for kind in _kinds(x)]
  if not dataclasses.is_dataclass(value):
    return []
  return [type(value)] + [
      kind for field in dataclasses.fields(value)
      for kind in _kinds(getattr(value, field.name))]


def _digest(kind: type) -> str:
  path = getattr(sys.modules.get(kind.__module__), '__file__', None)
  if path and os.path.isfile(path):
    source = pathlib.Path(path).read_text(encoding='utf-8')
  else:
    source = _cell(kind)
  return hashlib.sha256(source.encode()).hexdigest()[:12]


def _cell(kind: type) -> str:
  """The source of a class without a file: out of its cell, or its code."""
  functions = [x for x in vars(kind).values() if inspect.isfunction(x)]
  for function in functions:
    text = ''.join(linecache.getlines(function.__code__.co_filename))
    for node in ast.walk(ast.parse(text)):
      if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
        return ast.get_source_segment(text, node) or text
  fields = [(field.name, str(field.type)) for field in dataclasses.fields(kind)]
  code = sorted((function.__name__, function.__code__.co_code.hex())
                for function in functions)
  return repr((fields, code))
