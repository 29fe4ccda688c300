"""Sweeps: experiments that differ in some fields, each in a folder of its own.

  seed=0..2 model.width/model.heads=64/2,128/4   ->   6 cells
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import itertools
import json
import math
import os
import re
from typing import Any
from typing import NamedTuple

import jax

from adjax import config
from adjax import histories
from adjax.experiment import memory
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.storage import files

# As many as Slurm takes into one array by default.
MOST = 1000
_FORM = ('FIELD=V,V,… or FIELD/FIELD=V/V,V/V,…, with a..b for integers from a '
         'to b')
# A string or a tuple, in which nothing is cut, or a character.
_TOKEN = re.compile(r'''\([^()]*\)|'[^']*'|"[^"]*"|.''', re.DOTALL)
_WHOLE = re.compile(r'''\(([^()]*)\)|'([^']*)'|"([^"]*)"''', re.DOTALL)
_RANGE = re.compile(r'(-?\d{1,10})\.\.(-?\d{1,10})')


class Cell(NamedTuple):
  """One of a sweep's experiments.

  Attributes:
    name: of its folder.
    values: {field: value} of the fields that are swept.
    experiment: what it runs.
  """
  name: str
  values: dict[str, Any]
  experiment: specification.Experiment


def cells(
    assignments: list[str],
    make: Callable[[dict[str, str]], specification.Experiment],
) -> list[Cell]:
  """The cells of a sweep: the product of its assignments, the last fastest.

  Args:
    assignments: strings 'field=value,value'. Several fields that change
      together are 'a/b=1/2,3/4'; 'a..b' are the integers from a to b; what is
      in quotes or parentheses is one value.
    make: {field: text} -> the experiment with these fields.

  Raises:
    ValueError: on what is no sweep, or what `make` refuses.
  """
  parts = [_parse(text) for text in assignments]
  fields = [field for part in parts for field in part[0]]
  config.check('sweep', ' '.join(assignments), len(set(fields)) == len(fields),
               'of different fields, each of them once')
  number = math.prod(map(len, parts))
  config.check('sweep', ' '.join(assignments), 1 <= number <= MOST,
               f'of 1 to {MOST} cells; these are {number}')
  found = []
  for index, chosen in enumerate(itertools.product(*parts)):
    texts = {field: text for part in chosen for field, text in part.items()}
    experiment = make(texts)
    flat = config.flatten(experiment)
    values = {field: flat.get(field, text) for field, text in texts.items()}
    found.append(Cell(_name(index, values), values, experiment))
  _check_different(found)
  return found


def _parse(text: str) -> list[dict[str, str]]:
  """{field: text} for each of the values of an assignment."""
  left, equals, right = text.partition('=')
  fields = [field.strip() for field in left.split('/')]
  ok = bool(equals) and all(fields)
  found = []
  for item in _split(right, ','):
    parts = _split(item, '/') if len(fields) > 1 else [item]
    ok = ok and len(parts) == len(fields) and all(parts)
    span = _RANGE.fullmatch(item)
    if span and len(fields) == 1:
      first, last = map(int, span.groups())
      config.check('sweep', text, 0 <= last - first < MOST,
                   f'with a..b from low to high, of at most {MOST} integers')
      found += [{fields[0]: str(i)} for i in range(first, last + 1)]
    else:
      found.append(dict(zip(fields, map(_unquoted, parts))))
  config.check('sweep', text, ok, _FORM)
  return found


def _split(text: str, separator: str) -> list[str]:
  """The parts of a text between separators outside of quotes and parentheses.
  """
  parts = ['']
  for token in _TOKEN.findall(text):
    if token == separator:
      parts.append('')
    else:
      parts[-1] += token
  return [part.strip() for part in parts]


def _unquoted(text: str) -> str:
  found = _WHOLE.fullmatch(text)
  return next(x for x in found.groups() if x is not None) if found else text


def _name(index: int, values: dict[str, Any]) -> str:
  """'003_learning_rate=0.002_seed=1', safe as that of a folder."""
  last = [field.rpartition('.')[2] for field in values]
  words = [f'{index:03}']
  for short, (field, value) in zip(last, values.items()):
    text = ('-'.join(map(str, value)) if isinstance(value, tuple)
            else str(value))
    text = re.sub(r'[^\w.+-]+', '-', text, flags=re.ASCII) or 'empty'
    words.append(f'{short if last.count(short) == 1 else field}={text}')
  return '_'.join(words)[:100]


def _check_different(found: list[Cell]) -> None:
  first: dict[str, str] = {}
  for cell in found:
    key = json.dumps(specification.describe(cell.experiment), sort_keys=True)
    other = first.setdefault(key, cell.name)
    config.check('sweep', cell.name, other == cell.name,
                 f'another experiment than {other}')


def claim(folder: str, found: list[Cell], mesh: str = '') -> list[int]:
  """Has sweep.json in a folder tell of these cells.

  Args:
    folder: the sweep's; made if it is not there.
    found: its cells.
    mesh: as of run.

  Returns:
    The epochs of each cell.

  Raises:
    ValueError: if the folder holds another sweep, or a run; if a cell's sizes
      do not fit together; nothing is written then.
  """
  held = epochs(folder, found, mesh)
  path = os.path.join(folder, 'sweep.json')
  if jax.process_index() == 0:
    with locked(folder):
      if os.path.exists(path):  # Somebody may have written it since.
        return epochs(folder, found, mesh)
      files.write_json(path, {
          'format': files.FORMAT, 'epochs': held} | _specification(found))
  return held


def epochs(folder: str, found: list[Cell], mesh: str = '') -> list[int]:
  """As claim, but changes nothing."""
  path = os.path.join(folder, 'sweep.json')
  if not os.path.exists(path):
    traces = [name for name in ('config.json', 'metrics.jsonl', 'checkpoints')
              if os.path.exists(os.path.join(folder, name))]
    if traces:
      raise ValueError(f'workdir={folder} holds {", ".join(traces)} of a run; '
                       'choose another folder for a sweep')
    return [_made(cell, mesh).trainer.epochs for cell in found]
  saved = files.read_json(path)
  files.check_format(path, saved)
  told = saved.pop('epochs', None)
  different = config.differences(
      saved, {'format': files.FORMAT} | _specification(found))
  if different:
    raise ValueError(
        f'workdir={folder} holds another sweep; choose another folder, or set '
        'these as they were: ' + '; '.join(different[:20]))
  if not isinstance(told, list) or list(map(type, told)) != [int] * len(found):
    raise ValueError(f'{path}: must have \'epochs\' as a sweep writes it; it '
                     'was damaged or changed from outside')
  return told


def _made(cell: Cell, mesh: str) -> setup_lib.Setup:
  try:
    return setup_lib.make(cell.experiment, mesh)
  except ValueError as error:
    raise ValueError(f'sweep: {cell.name}: {error}') from error


def _specification(found: list[Cell]) -> dict[str, Any]:
  """What the configurations have in common, and what each has of its own."""
  flat = {cell.name: config.flatten(specification.describe(cell.experiment))
          for cell in found}
  missing = object()
  first = next(iter(flat.values()))
  common = {name: value for name, value in first.items()
            if all(other.get(name, missing) == value
                   for other in flat.values())}
  return {'common': common, 'cells': {
      name: {field: value for field, value in own.items()
             if field not in common} for name, own in flat.items()}}


def least_memory(found: list[Cell]) -> int:
  """Bytes that the largest cell has at least, in histories and weights.

  They are told by shapes alone. What programs need besides is known once they
  are compiled.
  """
  sizes: dict[str, int] = {}
  for cell in found:
    described = specification.describe(cell.experiment)
    key = json.dumps([described[name] for name in (
        'tasks', 'source', 'data', 'model', 'seeds')], sort_keys=True)
    if key not in sizes:
      sizes[key] = _least_memory(cell.experiment)
  return max(sizes.values())


def _least_memory(experiment: specification.Experiment) -> int:
  setup = setup_lib.make(experiment)
  need = experiment.seeds * memory.size(
      jax.eval_shape(setup.trainer.init, setup.keys.train))
  data, source = experiment.data, setup.source
  if data is None or data.store or source is None:
    return need
  steps = data.episodes * data.episode_stride * setup.tasks.episode_length
  history, _ = jax.eval_shape(
      lambda tasks, key: histories.run(source, *histories.repeat(
          tasks, key, data.histories), steps),
      setup.tasks.train, setup.keys.data)
  return need + memory.size(history)


@contextlib.contextmanager
def locked(folder: str) -> Iterator[None]:
  """Waits for whoever else writes files of a sweep, and keeps them waiting."""
  try:
    os.makedirs(folder, exist_ok=True)
    lock = os.open(os.path.join(folder, 'lock'), os.O_RDWR | os.O_CREAT, 0o644)
  except OSError as error:
    raise ValueError(f'workdir={folder}: must be a folder that can be '
                     f'written ({error.strerror})') from None
  try:
    files.lock(lock, wait=True)
    yield
  finally:
    os.close(lock)
