"""The documents that have tables of results, and whether they are right."""

import pathlib

from adjax import presets
from experiments.results import marked
from experiments.results import row as row_lib
from experiments.results import tables

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = 'docs/results.md', 'README.md'


def remade(text: str, rows: tables.Rows) -> str:
  """A document with its tables made anew."""
  def table(marker: str) -> str:
    name = marker.removeprefix('results: ')
    if name not in tables.NAMES:
      raise ValueError(f'{marker}: must be one of ' + ', '.join(tables.NAMES))
    return tables.of(name, rows)
  return marked.remade(text, r'results: \w+', table)


def rewrite(rows: tables.Rows, root: pathlib.Path = ROOT) -> None:
  """Makes the tables of all documents anew."""
  for name in DOCUMENTS:
    marked.rewrite(root / name, lambda text: remade(text, rows))


def wrong(rows: tables.Rows, root: pathlib.Path = ROOT) -> list[str]:
  """Lines on rows that are no longer their preset's, on presets without a row
  or a reason, and on documents that say something else."""
  found = []
  for name, row in rows.items():
    try:
      different = '; '.join(row_lib.differences(row))
    except ValueError as error:
      different = str(error)
    if different:
      found.append(f'{name}: must have the configuration of its preset; run '
                   f'it again, or delete it: {different}')
  run = {row['experiment'] for row in rows.values()}
  found += [f'{name}: must have a row, or a reason in NOT_RUN'
            for name in presets.PRESETS if name not in run | {*tables.NOT_RUN}]
  found += [f'{name}: must not be in NOT_RUN, as it is no preset'
            for name in tables.NOT_RUN if name not in presets.PRESETS]
  for name in DOCUMENTS:
    found += marked.wrong(root / name, lambda text: remade(text, rows))
  return found
