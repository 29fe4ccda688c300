"""Figures of one thing that is varied: curves, and late returns beside them."""

import math
from typing import NamedTuple

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure
from experiments.reproduce import paper

# What a setting of the model is worth shows before all is learnt: such runs
# have half the updates of the preset. One training seed differs then from
# another by more than most settings do, so there are three.
SEEDS = 'seeds=3'
# Of captions.
HALF = ('Half the updates of the preset, or fewer at the gpu size, and three '
        'seeds: how fast it is learnt, and not where that ends.')


def half(*fields: str) -> cells.Cell:
  """Half of Key-to-Door from posterior sampling, with fields set."""
  return cells.cell(
      'key_to_door', SEEDS, 'method.updates_per_epoch=100', *fields)


class Varied(NamedTuple):
  """One of the runs that differ.

  Attributes:
    place: its place below the axis.
    label: at the end of its curve.
    cell: the run.
    theirs: the paper's curve of the same, or of what is near; or ''.
  """
  place: str
  label: str
  cell: cells.Cell
  theirs: str = ''

  @property
  def pick(self) -> measure.Pick:
    return measure.Pick(self.cell)


def panels(
    varied: tuple[Varied, ...], xlabel: str
) -> tuple[figure.Curves, figure.Places]:
  """The curves of ours and of the paper, and where they end."""
  return figure.Curves('By episode', (
      *(figure.Curve(one.label, f'step{i}', one.pick, one.theirs)
        for i, one in enumerate(varied)),
      *(figure.Known(f'{one.theirs.rpartition("/")[2]}, the paper',
                     f'their_step{i}', one.theirs)
        for i, one in enumerate(varied) if one.theirs))), figure.Places(
            'Late episodes', tuple(one.place for one in varied), (
                figure.Points('AD', 'ad', tuple(one.pick for one in varied)),
                figure.Points('AD of the paper', 'their_ad', tuple(
                    paper.last(one.theirs) if one.theirs else None
                    for one in varied))), measure.late, xlabel, True)


def improves(
    one: Varied, claim: str, above: float, below: float = math.inf
) -> figure.Claim:
  """That one improves in context by as much, or not."""
  theirs, name = paper.curve(one.theirs)[1], one.theirs.rpartition('/')[2]
  return claims.improves(
      claim, f'{theirs[0]:.2f} to {theirs[-1]:.2f} of the optimum, with {name}',
      one.pick, above, below)


def better(a: Varied, b: Varied, claim: str) -> figure.Claim:
  """That one ends above another."""
  names = [one.theirs.rpartition('/')[2] for one in (a, b)]
  theirs = ' against '.join(
      f'{paper.last(one.theirs):.2f}' for one in (a, b) if one.theirs)
  return claims.better(
      claim, f'{theirs}, with {names[0]} and {names[1]}' if all(names)
      else 'not shown', a.pick, b.pick)
