"""Runs the cells that no row is there of, as ordinary runs in a workdir."""

from collections.abc import Iterable
import os

from adjax.cli import console
from adjax.cli import own
from adjax.experiment import run
from adjax.experiment import specification
from adjax.experiment import stopping
from experiments.reproduce import cells
from experiments.reproduce import sets
from experiments.results import pack
from experiments.results import row as row_lib

# A bandit of many pulls is too large pull by pull.
_BLOCKS = 1, 10, 50


def train(missing: Iterable[cells.Cell], size: str, workdir: str,
          commit: str = '') -> dict[str, str]:
  """Runs cells, each in a folder of its own, and writes their rows.

  A run that was stopped, or is finished, is gone on with. One that fails stops
  no other.

  Args:
    missing: the cells.
    size: of the presets.
    workdir: the folder for all of them.
    commit: of a clone, whose rows the new ones become; '' for those of the
      workdir.

  Returns:
    {name: why} of those that failed.
  """
  shown = console.Console()
  failed: dict[str, str] = {}

  def work(stop: stopping.Stop) -> None:
    for which in missing:
      name = cells.identity(which, size)['name']
      stop.check()
      shown.say(f'{name}: {cells.command(which, size)}')
      try:
        run.run(which.experiment(size), _folder(which, size, workdir), shown,
                stop)
        _add(which, size, workdir, commit)
      except stopping.Stopped:
        raise
      except own.SAID as error:
        failed[name] = str(error).partition('\n')[0]
        shown.say(f'{name} failed: {failed[name]}')

  stopping.run(work)
  return failed


def _folder(which: cells.Cell, size: str, workdir: str) -> str:
  return os.path.join(workdir, 'cells', cells.identity(which, size)['name'])


def _add(which: cells.Cell, size: str, workdir: str, commit: str) -> None:
  """Writes the row of a finished run, as fine as is allowed."""
  rows = row_lib.FOLDER if commit else cells.own_rows(workdir)
  folder, experiment = _folder(which, size, workdir), which.experiment(size)
  found = sets.more(folder, specification.describe(experiment))
  row: row_lib.Row = {}
  for block in _BLOCKS:
    if experiment.evaluate.episodes % block == 0:
      row = row_lib.make(folder, block=block, commit=commit)
      row['sets'] |= found
      if len(pack.text(row)) <= row_lib.MOST:
        break
  row_lib.write(row, rows, replace=True)
