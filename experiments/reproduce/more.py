"""What some figures show besides returns: more sets of a run's row.

  python -m experiments.reproduce.more WORKDIR

Adds them to the published row of the finished run in a workdir; runs that
experiments.reproduce trains itself have them.
"""

import os
from typing import Any

from adjax import config as config_lib
from adjax.cli import own
from adjax.storage import files


def sets(folder: str, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
  """{name: set} of a run's row that figures ask for; {} if none does.

  Args:
    folder: of the finished run.
    config: its configuration, as config.json has it.
  """
  from adjax import presets
  from adjax.experiment import specification
  from experiments.reproduce import attention
  from experiments.reproduce import cells
  from experiments.reproduce import changes
  from experiments.reproduce import evaluations
  from experiments.reproduce import prompt
  from experiments.reproduce import trained
  from experiments.reproduce.figures import attention as attention_figure
  from experiments.reproduce.figures import extrapolation
  from experiments.reproduce.figures import greedy
  from experiments.reproduce.figures import long
  from experiments.reproduce.figures import prompt as prompt_figure
  from experiments.results import row as row_lib
  told = row_lib.identity(config)
  # Runs that a figure asks for more of, and what makes that.
  asked = ((prompt_figure.CELLS, prompt.sets),
           (attention_figure.CELLS, attention.sets),
           (greedy.CELLS, evaluations.temperatures),
           (long.CELLS, evaluations.long),
           (extrapolation.PERMUTED, changes.permuted),
           (extrapolation.MOVED, changes.moved))
  makers = [make for wanted, make in asked if cells.key(told) in {
      cells.key(cells.identity(which, told['size']))
      for which in wanted.values()}]
  if not makers:
    return {}
  run = trained.load(folder, specification.override(
      presets.get(told['experiment'], told['size']),
      [f'{field}={text}' for field, text in told['set'].items()]))
  return {name: found for make in makers for name, found in make(run).items()}


def main(arguments: list[str]) -> int:
  """Adds the sets to the rows of a run."""
  from adjax.cli import launcher
  config_lib.check('arguments', ' '.join(arguments), len(arguments) == 1,
                   'a WORKDIR')
  launcher.prepare()
  from experiments.results import row as row_lib
  workdir = files.folder('workdir', arguments[0])
  config = files.read_json(os.path.join(workdir, 'config.json'))['config']
  rows = [row for row in row_lib.everything(row_lib.FOLDER).values()
          if row['configuration'] == config]
  config_lib.check('workdir', workdir, bool(rows), 'of a run that has a row')
  found = sets(workdir, config)
  for row in rows:
    row['sets'] |= found
    path = row_lib.write(row, row_lib.FOLDER, replace=True)
    print(f'{path}: {", ".join(found) or "nothing more"}')
  return 0


if __name__ == '__main__':
  own.start(main)
