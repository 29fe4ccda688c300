"""Cells: the runs that figures are made of, each a row of experiments.results.

A cell is a preset and what is set besides; a row of the same is its result, in
whatever figure. So figures share them.
"""

from collections.abc import Iterable
import dataclasses
import functools
import pathlib
import shlex
from typing import Any
from typing import NamedTuple

from adjax import presets
from adjax.experiment import specification
from experiments.reproduce import splits
from experiments.results import figures
from experiments.results import row as row_lib

Row = row_lib.Row


@dataclasses.dataclass(frozen=True)
class Cell:
  """A run.

  Attributes:
    preset: its name.
    fields: what is set besides, as '--set' has it.
  """
  preset: str
  fields: tuple[str, ...] = ()

  def experiment(self, size: str) -> specification.Experiment:
    """What is run."""
    return specification.override(
        presets.get(self.preset, size), list(self.fields))


def cell(preset: str, *fields: str) -> Cell:
  """A preset with fields set, as cell('quick', 'seeds=3')."""
  return Cell(preset, fields)


@functools.cache
def identity(which: Cell, size: str) -> Row:
  """What a row says of its run: `name`, `experiment`, `size`, `set`, `command`.
  """
  told = row_lib.identity(specification.describe(which.experiment(size)))
  return told | {'name': row_lib.default_name(told)}


class UnknownError(Exception):
  """Something that the rows at hand do not tell; says what is missing."""


class Results(NamedTuple):
  """The rows at hand of some cells.

  Attributes:
    size: of the presets.
    rows: {cell: row}; cells without a row are left out.
  """
  size: str
  rows: dict[Cell, Row]

  def row(self, which: Cell) -> Row:
    """The row of a cell."""
    if which not in self.rows:
      raise UnknownError(f'not run: {identity(which, self.size)["name"]}')
    return self.rows[which]

  def curves(self, which: Cell, name: str = 'held_out') -> figures.Curves:
    """What was earned on a set of tasks."""
    row = self.row(which)
    if name not in row['sets']:
      raise UnknownError(f'{row["name"]}: no tasks {name}')
    return figures.of(row, name)


def key(row: Row) -> Any:
  """What rows of the same experiment have in common."""
  return row['experiment'], row['size'], frozenset(
      item for item in row['set'].items() if item[0] not in row_lib.SPLIT)


def find(cells: Iterable[Cell], size: str, rows: dict[str, Row]) -> Results:
  """The rows of cells; not those whose preset has become another since.

  Args:
    cells: the cells, on whatever split of their tasks.
    size: of the presets.
    rows: all there are; of several of one cell and split the last counts.
  """
  known: dict[Any, dict[int | None, Row]] = {}
  for row in rows.values():
    known.setdefault(key(row), {})[splits.of(row)] = row
  found = {}
  for which in cells:
    usable = [row for row in known.get(key(identity(which, size)), {}).values()
              if not row_lib.differences(row)]
    if usable:
      found[which] = splits.merged(usable)
  return Results(size, found)


def minutes(which: Cell, size: str, rows: dict[str, Row]) -> float | None:
  """How long a cell may take: as long as others of its preset took.

  On a CPU, where that is the size: an accelerator's minutes tell nothing of it.
  """
  took = [row['seconds']['total'] / 60 for row in rows.values()
          if (row['experiment'], row['size']) == (which.preset, size)
          and (size != 'cpu' or ' cpu' in row['machine'])]
  return sum(took) / len(took) if took else None


def everything(workdir: str | None) -> dict[str, Row]:
  """{name: row} of all that are published, and of those made in a workdir."""
  published = row_lib.everything(row_lib.FOLDER)
  return published if workdir is None else published | row_lib.everything(
      own_rows(workdir))


def own_rows(workdir: str) -> pathlib.Path:
  """Where the rows of what is trained in a workdir are."""
  return pathlib.Path(workdir) / 'rows'


def command(which: Cell, size: str) -> str:
  """That makes the run."""
  words: list[Any] = shlex.split(identity(which, size)['command'])
  return shlex.join(words[:-1])
