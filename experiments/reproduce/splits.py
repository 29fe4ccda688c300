"""One run on several splits of its tasks, as one row of all of them.

A split of Dark Room holds eight tasks out, which is few to say anything about
others. Rows that differ in their split and seed alone are one experiment on
more.
"""

from typing import Any

import numpy as np

from experiments.results import pack
from experiments.results import row as row_lib


def of(row: row_lib.Row) -> int | None:
  """The split of a row; None where there is nothing to be split."""
  return row['configuration']['tasks'].get('split_seed')


def merged(rows: list[row_lib.Row]) -> row_lib.Row:
  """Rows as one, with the held-out tasks of all, and `splits`, which these are.

  A seed is then as many models as there are splits.
  """
  rows = sorted(rows, key=lambda row: of(row) or 0)
  splits = [of(row) for row in rows]
  if len(rows) == 1:
    return rows[0] | {'splits': splits}
  config = rows[0]['configuration']
  return rows[0] | {
      'splits': splits,
      'commit': ', '.join(dict.fromkeys(row['commit'] for row in rows)),
      'configuration': config | {
          'tasks': config['tasks'] | {'split_seed': splits}},
      'sets': {name: _set([row['sets'][name] for row in rows])
               for name in rows[0]['sets']
               if all(name in row['sets'] for row in rows)}}


def _set(parts: list[dict[str, Any]]) -> dict[str, Any]:
  """What was earned on the tasks of all parts."""
  told: dict[str, Any] = {
      'optimum': None if parts[0]['optimum'] is None else [
          x for part in parts for x in part['optimum']],
      'returns': _joined([part['returns'] for part in parts], 1)}
  for kind in sorted(set.intersection(*map(set, parts)) - told.keys()):
    told[kind] = _reference([part[kind] for part in parts])
  return told


def _reference(parts: list[Any]) -> Any:
  """A reference on as many tasks of each part: its means, and those by task."""
  if not isinstance(parts[0], dict):
    return float(np.mean(parts))
  told = {'actors': parts[0]['actors']} if 'actors' in parts[0] else {}
  for key in set.intersection(*map(set, parts)) - told.keys():
    values = [part[key] for part in parts]
    told[key] = (_joined(values, 0) if key.endswith('per_task') else
                 np.mean(values, 0).tolist())
  return told


def _joined(parts: list[dict[str, Any]], axis: int) -> dict[str, Any]:
  return pack.pack(np.concatenate(list(map(pack.unpack, parts)), axis))
