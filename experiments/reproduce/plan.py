"""Which runs figures need, which of them are there, and how long others take.
"""

from experiments.reproduce import cells
from experiments.reproduce import figure as figure_lib

Figures = dict[str, figure_lib.Figure]


def missing(
    chosen: Figures, size: str, rows: dict[str, cells.Row]
) -> list[cells.Cell]:
  """The runs without a row, each of them once."""
  needed = runs(chosen, size)
  found = cells.find(needed, size, rows).rows
  return [which for which in needed if which not in found]


def runs(chosen: Figures, size: str) -> list[cells.Cell]:
  """The runs of figures, each once, however it is said what is set."""
  return list({cells.identity(which, size)['name']: which
               for figure in chosen.values() for which in figure.cells
               }.values())


def text(
    chosen: Figures, size: str, rows: dict[str, cells.Row],
    missing_only: bool = False,
) -> str:
  """The figures and their runs, and how many minutes are left.

  Args:
    chosen: the figures.
    size: of the presets.
    rows: all there are.
    missing_only: names the runs alone that are missing.
  """
  left = missing(chosen, size, rows)
  name_of = lambda which: cells.identity(which, size)['name']
  names, lines = {name_of(which) for which in left}, []
  for name, figure in chosen.items():
    lines.append(f'{name}: {figure.title}')
    lines += [f'  {name_of(which)}: ' + (
        _time(which, size, rows) if name_of(which) in names else 'there')
              for which in figure.cells
              if name_of(which) in names or not missing_only]
  known = [x for x in (cells.minutes(which, size, rows) for which in left)
           if x is not None]
  return '\n'.join([
      *lines, f'{len(runs(chosen, size))} runs, {len(left)} of them missing'
      + (f': about {sum(known):.0f} minutes for {len(known)} of these'
         if known else '')
      + (f', unknown for {len(left) - len(known)}'
         if len(left) > len(known) else '')])


def _time(which: cells.Cell, size: str, rows: dict[str, cells.Row]) -> str:
  minutes = cells.minutes(which, size, rows)
  return 'missing, ' + ('time unknown' if minutes is None
                        else f'about {minutes:.0f} minutes')
