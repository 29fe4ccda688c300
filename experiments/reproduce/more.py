"""Adds what some figures show besides returns to a run's row.

  python -m experiments.reproduce.more WORKDIR

To the published row of the finished run in a workdir; runs that
experiments.reproduce trains itself have it.
"""

import os

from adjax import config as config_lib
from adjax.cli import own
from adjax.storage import files


def main(arguments: list[str]) -> int:
  """Adds the sets to the rows of a run."""
  from adjax.cli import launcher
  config_lib.check('arguments', ' '.join(arguments), len(arguments) == 1,
                   'a WORKDIR')
  launcher.prepare()
  from experiments.reproduce import sets
  from experiments.results import row as row_lib
  workdir = files.folder('workdir', arguments[0])
  config = files.read_json(os.path.join(workdir, 'config.json'))['config']
  rows = [row for row in row_lib.everything(row_lib.FOLDER).values()
          if row['configuration'] == config]
  config_lib.check('workdir', workdir, bool(rows), 'of a run that has a row')
  found = sets.more(workdir, config)
  for row in rows:
    row['sets'] |= found
    path = row_lib.write(row, row_lib.FOLDER, replace=True)
    print(f'{path}: {", ".join(found) or "nothing more"}')
  return 0


if __name__ == '__main__':
  own.start(main)
