"""What a sweep has found: its cells, ranked by validation tasks alone."""

from collections.abc import Collection
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np

from adjax import metrics
from adjax.experiment import markdown as markdown_lib
from adjax.experiment import sweep
from adjax.page import data as page_data
from adjax.storage import files

Row = dict[str, Any]


def rows(
    folder: str, cells: list[sweep.Cell], epochs: list[int],
    failed: Collection[str] = (),
) -> list[Row]:
  """A row for each cell, the best first, read from its metrics.jsonl.

  Cells that differ in nothing but `seed` are ranked together, by the mean over
  them: the best of several seeds is only the luckiest. What has a cell that is
  not done has no rank.

  Args:
    folder: the sweep's.
    cells: its cells.
    epochs: of each cell.
    failed: the names of those that have failed.
  """
  lines, damaged = [], set(failed)
  for cell in cells:
    try:
      lines.append(_lines(os.path.join(folder, cell.name)))
    except ValueError:  # The cell itself says what of it is wrong.
      lines.append([])
      damaged.add(cell.name)
  # Shares of the optimum, or returns where one of them does not know it.
  shares = all(page_data.optimum_of(told[-1]['validation']) is not None
               for told in lines if told)
  found = []
  for cell, told, number in zip(cells, lines, epochs):
    done = told[-1]['epoch'] if told else 0
    state = ('failed' if cell.name in damaged else
             'done' if done == number else f'epoch {done} of {number}')
    row: Row = {'name': cell.name, 'fields': cell.values, 'state': state}
    found.append(row | (_figures(told, shares) if told else {}))
  groups: dict[str, list[Row]] = {}
  for row in found:
    groups.setdefault(json.dumps(_but_seed(row)), []).append(row)
  scores = {key: _score(group) for key, group in groups.items()}
  ranked = sorted(groups, key=lambda key: -scores[key])
  for rank, key in enumerate(ranked, 1):
    for row in groups[key]:
      row['rank'] = rank if np.isfinite(scores[key]) else None
  return [row for key in ranked for row in groups[key]]


def best(found: list[Row]) -> list[str]:
  """The names of the cells of the first rank."""
  return [row['name'] for row in found if row['rank'] == 1]


def _but_seed(row: Row) -> dict[str, Any]:
  return {field: value for field, value in row['fields'].items()
          if field != 'seed'}


def _score(group: list[Row]) -> float:
  if any(row['state'] != 'done' or not np.isfinite(row['last_10'])
         for row in group):
    return -np.inf
  return float(np.mean([row['last_10'] for row in group]))


def _lines(workdir: str) -> list[dict[str, Any]]:
  path = os.path.join(workdir, 'metrics.jsonl')
  if not os.path.exists(path):
    return []
  # What follows the last line break is being written.
  *whole, _ = pathlib.Path(path).read_bytes().split(b'\n')
  lines = [files.parse_json(path, line) for line in whole]
  if not all(line.keys() >= {'epoch', 'seconds', 'validation'}
             for line in lines):
    raise ValueError(f'{path}: must have lines as a run writes them')
  return lines


def _figures(lines: list[dict[str, Any]], shares: bool) -> Row:
  """What the last epoch's model does on validation tasks."""
  told = lines[-1]['validation']
  curve = np.array(told['return_mean'], float)
  last = np.array(told['last_10_per_task'], float)
  known = np.array(told['optimum'], float) if shares else None
  optima = np.ones(len(last)) if known is None else known
  best = optima.mean()
  ci95, _ = metrics.intervals(last[None, :, None], known)  # Over tasks.
  return {
      'unit': 'share of the optimum' if shares else 'return',
      'episode_1': curve[0] / best,
      'episode_10': curve[9] / best if len(curve) > 9 else None,
      'last_10': last.mean() / best,
      'ci95': (ci95 / best).tolist() if len(last) > 1 else None,
      'worst_task': (last / optima).min(),
      'seconds': sum(line['seconds'] for line in lines)}


_HEAD = ['episode 1', 'episode 10', 'last 10', '95 %', 'worst task', 'seconds']


def _texts(found: list[Row]) -> list[list[str]]:
  """The table's texts, its head first."""
  number = lambda x: '' if x is None else f'{x:.3f}'
  table = [['rank', 'cell', *found[0]['fields'], *_HEAD, 'state']]
  for row in found:
    figures = [''] * len(_HEAD)
    if 'last_10' in row:
      figures = [
          *(number(row[name]) for name in (
              'episode_1', 'episode_10', 'last_10')),
          ' to '.join(map(number, row['ci95'] or [])),
          number(row['worst_task']), f'{row["seconds"]:.0f}']
    table.append([
        str(row['rank'] or ''), row['name'].partition('_')[0],
        *map(str, row['fields'].values()), *figures, row['state']])
  return table


def _caption(found: list[Row]) -> str:
  unit = next((row['unit'] for row in found if 'unit' in row), 'return')
  return (f'Validation tasks, {unit}; 95 % over tasks. Ranked by the last 10 '
          'episodes, the mean over `seed`. Seconds are those of the epochs.')


def text(found: list[Row]) -> str:
  """The table as lines of text."""
  table = _texts(found)
  widths = [max(map(len, column)) for column in zip(*table)]
  return '\n'.join([_caption(found), *(
      '  '.join(x.rjust(width) for x, width in zip(line, widths)).rstrip()
      for line in table)])


def markdown(found: list[Row]) -> str:
  """The table in Markdown."""
  return f'{_caption(found)}\n\n{markdown_lib.table(_texts(found))}'


def write(folder: str, found: list[Row]) -> None:
  """Writes table.json, table.txt and table.md.

  Of several processes the first alone does.
  """
  if jax.process_index() > 0:
    return
  path = lambda suffix: os.path.join(folder, f'table.{suffix}')
  with sweep.locked(folder):
    files.write_json(path('json'), {
        'format': files.FORMAT, 'fields': list(found[0]['fields']),
        'best': best(found), 'cells': found})
    files.write(path('txt'), text(found) + '\n')
    files.write(path('md'), markdown(found) + '\n')
