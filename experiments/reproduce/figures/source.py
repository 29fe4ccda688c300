"""Figure 6: one model, distilled from every source: what it inherits."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

# What is told most, first.
_SOURCES = {
    'posterior': cells.cell('dark_room'),
    'annealed oracle': cells.cell('dark_room_noise'),
    'R-max': cells.cell('dark_room_rmax'),
    'tabular Q': cells.cell('dark_room_q'),
    'A2C': cells.cell('dark_room_a2c')}
_KNOWS_NOTHING = 'R-max', 'tabular Q', 'A2C'
_START, _FIFTH = measure.at(1, 10), measure.at(5, 5)


def _panel(name: str) -> figure.Curves:
  cell = _SOURCES[name]
  return figure.Curves(f'Distilled from {name}', (
      figure.Curve('AD', 'ad', measure.Pick(cell)),
      figure.Curve('its source', 'source', measure.Pick(cell, 'source')),
      figure.Curve('walk + memory', 'walk', measure.Pick(
          cell, 'random_walk_with_memory'))))


def _all(title: str, kind: str, paid: bool) -> figure.Curves:
  return figure.Curves(title, tuple(
      figure.Curve(name, f'step{i}', measure.Pick(cell, kind, paid=paid))
      for i, (name, cell) in enumerate(_SOURCES.items())),
                       unit='share of runs' if paid else '')


def _ahead(name: str) -> figure.Claim:
  of = lambda kind: measure.Pick(_SOURCES[name], kind)
  return claims.better(
      f'AD from {name} is ahead of an actor of it', 'not shown', of('model'),
      of('source'), claims.SEEDS_EARLY, _START)


def _explores(name: str) -> figure.Claim:
  of = lambda kind: measure.Pick(_SOURCES[name], kind, paid=True)
  return claims.better(
      f'AD from {name} has found the goal by episode 5 as often as its source '
      '(share of runs, within .1)', 'not shown', of('model'), of('source'),
      -.1, _FIFTH, .1)


def _more(a: str, b: str, kind: str = 'model') -> figure.Claim:
  what = 'AD from ' if kind == 'model' else ''
  return claims.better(
      f'{what}{a} earns more over its first ten episodes than {what}{b}',
      'not shown', measure.Pick(_SOURCES[a], kind),
      measure.Pick(_SOURCES[b], kind), claims.SEEDS_EARLY, _START)


FIGURE = figure.Figure(
    'source', 'What is distilled decides how it explores: Dark Room',
    'Not in the paper, which has one kind of source in each environment.',
    'The same room, the same kind of model, five sources: posterior sampling '
    'is told the rules, the annealed oracle the goal; the others know nothing. '
    'Goals held out, updates and regularisers are those of each preset, and '
    'differ. What is distilled has the pace of its histories, and they keep '
    'one episode in some: a model is ahead of a source that is slow and '
    'beside one that is fast. Below: the share of runs that have met the goal.',
    (*map(_panel, _SOURCES), _all('All models', 'model', False),
     _all('Goal found by then: models', 'model', True),
     _all('Goal found by then: sources', 'source', True)), 2,
    (*map(_ahead, _KNOWS_NOTHING), *map(_explores, _SOURCES),
     _more('posterior', 'A2C'), _more('R-max', 'A2C'),
     _more('posterior', 'A2C', 'source'), _more('R-max', 'A2C', 'source')))
