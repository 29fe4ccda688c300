"""Figure 14: tasks unlike those trained on, in the water maze."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

_CELLS = {'random': cells.cell('watermaze'),
          'sector': cells.cell('watermaze_sector'),
          'rim': cells.cell('watermaze', 'tasks.split=rim')}


def _claim(split: str, words: str) -> figure.Claim:
  return claims.improves(f'held-out {words}: AD improves in context',
                         'not shown', measure.Pick(_CELLS[split]))


def _panel(split: str) -> figure.Curves:
  cell = _CELLS[split]
  return figure.Curves(f'Held out: {split}', (
      figure.Curve('AD', 'ad', measure.Pick(cell)),
      figure.Curve('its source', 'source', measure.Pick(cell, 'source')),
      figure.Curve('random', 'random', measure.Pick(cell, 'random'))))


FIGURE = figure.Figure(
    'extrapolation', 'Platforms unlike those trained on: Watermaze',
    'Only for bandits: AD generalises to arms that are good the other way '
    'round.',
    'Held out are platforms anywhere, of a sector, or at the rim; those '
    'trained on are elsewhere. From the coverage search, which finds them all.',
    tuple(map(_panel, _CELLS)), 2,
    (_claim('random', 'platforms anywhere'),
     _claim('sector', 'platforms of a sector'),
     _claim('rim', 'platforms at the rim'),
     claims.better(
         'held-out platforms of a sector cost less than .1 beside platforms '
         'anywhere', 'not shown', measure.Pick(_CELLS['sector']),
         measure.Pick(_CELLS['random']), -.1)))
