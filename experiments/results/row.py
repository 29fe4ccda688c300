"""A published row: one JSON, made from the workdir of a finished run."""

import datetime
import os
import pathlib
import platform
import re
import shlex
import subprocess
from typing import Any

import numpy as np

from adjax import config as config_lib
from adjax import presets
from adjax.experiment import again
from adjax.experiment import specification
from adjax.storage import files
from experiments.results import pack

Row = dict[str, Any]

FOLDER = pathlib.Path(__file__).parent / 'rows'
# Bytes of one; all of them are a part of every clone.
MOST = 300_000
# Fields in which rows of one experiment may differ: other tasks, other weights.
SPLIT = 'tasks.split_seed', 'seed'
_REFERENCES = ('source', 'random_walk_with_memory', 'random', 'oracle')


def everything(folder: pathlib.Path = FOLDER) -> dict[str, Row]:
  """{name: row} of all that are in a folder."""
  found = {}
  for path in sorted(folder.glob('*.json')):
    found[path.stem] = files.read_json(str(path))
    files.check_format(str(path), found[path.stem])
    config_lib.check(str(path), found[path.stem].get('name'),
                     found[path.stem].get('name') == path.stem,
                     'called as its row is')
  return found


def write(
    row: Row, folder: pathlib.Path = FOLDER, replace: bool = False
) -> str:
  """Writes a row's file, a line for each of its keys; returns its path."""
  path = str(folder / f'{row["name"]}.json')
  config_lib.check('name', row['name'], replace or not os.path.exists(path),
                   'one that no row has, unless with --replace')
  text = pack.text(row)
  config_lib.check(
      'name', row['name'], len(text) <= MOST, f'of at most {MOST} bytes, not '
      f'{len(text)}; --block=10 keeps sums over ten episodes in a row')
  folder.mkdir(exist_ok=True)
  files.write(path, text)
  return path


def make(
    workdir: str, name: str = '', note: str = '', machine: str = '',
    block: int = 1, commit: str = '',
) -> Row:
  """The row of a finished run.

  Args:
    workdir: its folder.
    name: of the row; by default that of the preset and of what was set.
    note: what a reader should know, as 'beside other work'.
    machine: in words; by default what it ran on, and this processor.
    block: as in pack.
    commit: that it was made with.

  Raises:
    ValueError: if the run is not finished, or not one that its preset, its size
      and assignments make again.
  """
  workdir = files.folder('workdir', workdir)
  result, saved, arrays = _read(workdir)
  config = saved['config']
  episodes = config['evaluate']['episodes']
  config_lib.check('block', block, episodes % block == 0,
                   f'a divisor of the {episodes} episodes')
  row: Row = {'format': files.FORMAT, 'name': name, 'note': note}
  row |= identity(config) | {
      'commit': commit, 'date': _date(os.path.join(workdir, 'result.json')),
      'machine': machine or _machine(result['device']),
      'versions': saved['versions'], 'seconds': result['seconds'],
      'seeds': result['seeds'], 'configuration': config}
  different = differences(row)
  config_lib.check('workdir', workdir, not different, 'a run of a preset with '
                   f'what --set can set; it differs: {"; ".join(different)}')
  row['name'] = name or default_name(row)
  config_lib.check_name('name', row['name'])
  sets = {'held_out': result['held_out'] | {
      key: result[key] for key in _REFERENCES if key in result}}
  sets |= result.get('shifted', {})
  for key, found in sets.items():
    mean = np.nanmean(arrays[f'{key}/model'], (0, 1, 2), np.float64)
    config_lib.check('workdir', workdir, np.allclose(
        mean, np.array(found['return_mean'], float), atol=1e-3, equal_nan=True),
        'with the returns that its result.json has the means of')
  row['sets'] = {key: {
      'optimum': _rounded(found['optimum']),
      'returns': pack.pack(arrays[f'{key}/model'], block)} | {
          kind: _reference(found[kind], arrays.get(f'{key}/{kind}'), block)
          for kind in _REFERENCES if kind in found}
                 for key, found in sets.items()}
  return row | {key: {
      'optimum': _rounded(result[key]['optimum']),
      'return_mean': _rounded(result[key]['return_mean'])}
                for key in ('train', 'validation')}


def _reference(told: Any, curves: np.ndarray | None, block: int) -> Any:
  """What a row keeps of a reference: its means, and by task what it earns.

  Args:
    told: as result.json has it.
    curves: its returns [N, R, E], if they are kept.
    block: as in pack.

  Returns:
    The same; of what learns also, packed, `per_task`, means [N, E], and
    `paid_per_task` [N, E], the share of runs that have had a reward by then.
  """
  if isinstance(told, dict) and curves is not None:
    paid = np.maximum.accumulate(np.nan_to_num(curves) > 0, -1)
    told = told | {
        'per_task': pack.pack(np.nanmean(curves, 1, np.float64), block),
        'paid_per_task': pack.pack(paid.mean(1), block)}
  return _rounded(told)


def _read(workdir: str) -> tuple[Row, Row, dict[str, np.ndarray]]:
  """result.json, config.json and the returns of a finished run."""
  path = lambda name: os.path.join(workdir, name)
  for name, what in {
      'result.json': 'of a finished run', 'config.json': 'of a run',
      'returns.npz': 'of a run that keeps its returns'}.items():
    config_lib.check('workdir', workdir, os.path.exists(path(name)),
                     f'{what}, with a {name}')
  _, arrays = files.read_npz(path('returns.npz'), 'the returns of a run')
  return (files.read_json(path('result.json')),
          files.read_json(path('config.json')), arrays)


def differences(row: Row) -> list[str]:
  """How a row's configuration differs from its preset's with what was set.

  So does one in which a field is missing that came since: whoever knows what it
  was before there was a field adds that to the row's configuration.

  Raises:
    ValueError: if there is no such preset any more, or it has no such field.
  """
  return config_lib.differences(
      row['configuration'], specification.describe(experiment(row)))


def experiment(told: Row) -> specification.Experiment:
  """What is run today, of a row or of what `identity` tells."""
  return specification.override(
      presets.get(told['experiment'], told['size']),
      [f'{field}={text}' for field, text in told['set'].items()])


def commit_of(folder: pathlib.Path = FOLDER.parent) -> str:
  """The commit of a clone; '-dirty' after it, if the package was changed."""
  def git(*words: str) -> str:
    done = subprocess.run(['git', '-C', str(folder), *words], text=True,
                          capture_output=True, check=False)
    if done.returncode:
      raise ValueError(f'{folder}: must be of a clone; git says: '
                       + (done.stderr.strip().splitlines() or [''])[0])
    return done.stdout.strip()
  top = git('rev-parse', '--show-toplevel')
  changed = git('status', '--porcelain', '--', f'{top}/adjax')
  return git('rev-parse', 'HEAD') + '-dirty' * bool(changed)


def clean_commit(allow_dirty: bool) -> str:
  """That of this clone; refused if the package was changed, unless allowed."""
  commit = commit_of()
  config_lib.check('commit', commit,
                   allow_dirty or not commit.endswith('-dirty'),
                   'of a clone whose package is as committed, or with '
                   '--allow_dirty')
  return commit


def identity(config: dict[str, Any]) -> Row:
  """The command that makes a configuration, and what it says."""
  name = config['name']
  config_lib.check('experiment', name, name in presets.PRESETS, 'a preset')
  words = shlex.split(again.command(config), comments=True)
  row: Row = {'experiment': name, 'size': 'cpu', 'set': {}}
  for word in words[3:]:
    field, _, text = word.removeprefix('--').removeprefix('set=').partition('=')
    if field == 'size':
      row['size'] = text
    else:
      row['set'][field] = text
  return row | {'command': shlex.join([*words, '--workdir=DIR'])}


def default_name(row: Row) -> str:
  """Of a row: its preset, and what was set."""
  parts = [row['experiment'], *['gpu'] * (row['size'] == 'gpu'), *(
      f'{field.rpartition(".")[2]}_{text}'
      for field, text in row['set'].items())]
  return re.sub(r'[^\w.-]', '-', '_'.join(parts), flags=re.ASCII)


def _date(path: str) -> str:
  return datetime.datetime.fromtimestamp(
      os.path.getmtime(path), datetime.UTC).date().isoformat()


def _machine(device: str) -> str:
  """What a run ran on, with the processor where that is the device."""
  if ' cpu' not in device:
    return device
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8')
  except OSError:
    text = ''
  named = re.search(r'^model name\s*: (.*)', text, re.MULTILINE)
  return f'{device}, {named[1] if named else platform.processor()}'


def _rounded(value: Any) -> Any:
  """JSON with six digits of every number."""
  if isinstance(value, dict):
    return {key: _rounded(x) for key, x in value.items()}
  if isinstance(value, list):
    return [_rounded(x) for x in value]
  return float(np.format_float_positional(
      value, 6, fractional=False)) if isinstance(value, float) else value
