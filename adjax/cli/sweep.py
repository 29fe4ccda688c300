"""adjax run --sweep: several experiments, one after another.

  adjax run --sweep=method.learning_rate=1e-3,2e-3 --sweep=seed=0..2
"""

from collections.abc import Callable
import dataclasses
import os
import re
import shlex
import sys
import traceback
from typing import NamedTuple
from typing import TYPE_CHECKING

from adjax.cli import launcher
from adjax.cli import own

if TYPE_CHECKING:
  from adjax.cli import console
  from adjax.experiment import specification
  from adjax.experiment import stopping
  from adjax.experiment import sweep as sweep_lib


class Asked(NamedTuple):
  """What the flags of sweeps say.

  Attributes:
    sweep: the assignments.
    cell: the one to run; None for that of Slurm, or all.
    best: the best is to meet the held-out tasks.
    dry_run: what would be run is to be said alone.
  """
  sweep: list[str]
  cell: int | None = None
  best: bool = False
  dry_run: bool = False


# Trains an experiment in a folder, and meets its held-out tasks or not.
RunCell = Callable[
    ['specification.Experiment', str, 'stopping.Stop', bool], None]


def main(
    run_cell: RunCell, asked: Asked, workdir: str | None, seeds: int | None,
    mesh: str, shown: 'console.Console',
) -> int:
  """Runs what the flags tell; returns the exit code.

  Args:
    run_cell: runs one experiment.
    asked: which.
    workdir: the sweep's folder; None for the default.
    seeds: training seeds of each experiment, if told.
    mesh: as of run.
    shown: is told of each.
  """
  from adjax.experiment import stopping
  from adjax.experiment import sweep
  from adjax.experiment import sweep_table
  from adjax.storage import files
  cells = sweep.cells(asked.sweep, lambda texts: _experiment(texts, seeds))
  folder = files.folder(
      'workdir', f'runs/{cells[0].experiment.name}_sweep'
      if workdir is None else workdir)
  if asked.dry_run:
    shown.say(_plan(folder, cells, sweep.epochs(folder, cells, mesh)))
    return 0
  chosen = _chosen(cells, asked)
  epochs = sweep.claim(folder, cells, mesh)
  failed: dict[str, str] = {}
  path = lambda name: os.path.join(folder, name)

  def work(stop: 'stopping.Stop') -> None:
    for cell in chosen:
      one(cell, False, stop)
    found = sweep_table.rows(folder, cells, epochs, failed)
    if asked.best:
      experiments = {cell.name: cell for cell in cells}
      best = sweep_table.best(found)
      for name in best:
        one(experiments[name], True, stop)
      if not best:
        shown.say('best: none; no configuration is done in all its seeds')
    sweep_table.write(folder, found)
    shown.say(sweep_table.text(found))
    shown.say(f'{folder}/table.txt, table.md, table.json')

  def one(
      cell: 'sweep_lib.Cell', held_out: bool, stop: 'stopping.Stop'
  ) -> None:
    stop.check()
    shown.say(f'cell {cell.name}, of {len(cells)}' + (
        ', on held-out tasks' if held_out else ''))
    try:
      run_cell(cell.experiment, path(cell.name), stop, held_out)
    except stopping.Stopped:
      raise
    except Exception as error:
      if launcher.is_lost(error):
        raise  # Another process, without which no cell can be run.
      failed[cell.name] = _said(error)
      shown.say(f'cell {cell.name} failed: {failed[cell.name]}')

  code = stopping.run(work)
  if failed:
    raise RuntimeError(f'{len(failed)} of {len(cells)} cells failed: '
                       + '; '.join(f'{name}: {text}'
                                   for name, text in failed.items()))
  return code


def _said(error: Exception) -> str:
  """What is wrong in one line; of a bug, its traceback before."""
  line = own.line_of(error)
  if not (line or isinstance(error, own.SAID)):
    traceback.print_exception(error, file=sys.stderr)
  return line or str(error).strip().partition('\n')[0] or repr(error)


def _experiment(
    texts: dict[str, str], seeds: int | None
) -> 'specification.Experiment':
  """What --experiment, --size and --set tell, and these fields besides."""
  try:
    found = launcher.experiment(texts.get('experiment'), [
        f'{field}={text}' for field, text in texts.items()
        if field != 'experiment'])
  except ValueError as error:
    fields = '|'.join(map(re.escape, texts))
    raise ValueError(re.sub(
        rf'^--(set )?(?=({fields})\b)', '--sweep=', str(error))) from error
  return found if seeds is None else dataclasses.replace(found, seeds=seeds)


def _chosen(
    cells: list['sweep_lib.Cell'], asked: Asked
) -> list['sweep_lib.Cell']:
  """The cells that this process is to run."""
  from adjax import config
  if asked.cell is not None:
    name, text = '--cell', str(asked.cell)
  else:
    name = 'SLURM_ARRAY_TASK_ID'
    text = os.environ.get(name, '')
  if not text:
    return cells
  config.check(name, text, text.isdecimal() and int(text) < len(cells),
               f'from 0 to {len(cells) - 1}, a cell of the sweep')
  config.check(name, text, not asked.best,
               'left out with --best, which compares all cells')
  return [cells[int(text)]]


def _plan(
    folder: str, cells: list['sweep_lib.Cell'], epochs: list[int]
) -> str:
  """The cells, what they need, and the line that has Slurm run them."""
  from adjax.experiment import memory
  from adjax.experiment import sweep
  from adjax.experiment import sweep_table
  found = sweep_table.rows(folder, cells, epochs)
  states = {row['name']: row['state'] for row in found}
  seconds = [row['seconds'] for row in found if row['state'] == 'done']
  left = len(cells) - len(seconds)
  minutes = (f'minutes: about {left * sum(seconds) / len(seconds) / 60:.1f} of '
             f'epochs for the {left} cells that are left, if they take as long '
             'as those that are done, and compiling besides' if seconds else
             'minutes: unknown until a cell is done; --cell=0 does the first')
  words = [word for word in sys.argv[1:]
           if not re.fullmatch(r'--?(dry_run|best|cell)(=.*)?', word)]
  array = shlex.join([
      'sbatch', f'--array=0-{len(cells) - 1}%{min(4, len(cells))}',
      'experiments/launch/slurm_array.sh', *words])
  return '\n'.join([
      *(f'{cell.name}  {states[cell.name]}' for cell in cells),
      f'memory: at least {sweep.least_memory(cells) / 1e6:.1f} MB for '
      f'histories and weights of the largest; {memory.available() / 1e9:.2f} '
      'GB are there', minutes, array])

