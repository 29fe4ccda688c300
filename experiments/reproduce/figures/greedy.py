"""Figure 16: actions sampled, or the likeliest taken."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import evaluations
from experiments.reproduce import figure
from experiments.reproduce import measure

CELLS = {'Dark Room, from tabular Q': cells.cell('dark_room_q'),
         'Dark Key-to-Door, from tabular Q': cells.cell('key_to_door_q')}
# {temperature: a set of a row; a run's own returns are at 1}.
_SETS = {x: evaluations.name_of(x) for x in evaluations.TEMPERATURES} | {
    1: 'held_out'}


def _pick(title: str, temperature: float) -> measure.Pick:
  return measure.Pick(CELLS[title], tasks=_SETS[temperature])


def _panel(title: str) -> figure.Curves:
  return figure.Curves(title, tuple(
      figure.Curve(f'temperature {x:g}', f'step{2 * i - (i > 2)}',
                   _pick(title, x)) for i, x in enumerate(_SETS)))


def _claim(title: str) -> figure.Claim:
  return claims.better(
      f'{title}: sampled actions earn more than the likeliest',
      'it samples; that the likeliest fail is said by others',
      _pick(title, 1), _pick(title, 0))


FIGURE = figure.Figure(
    'greedy', 'Actions sampled, or the likeliest taken',
    'Its actions are sampled; at which temperature it does not say.',
    'At 0 the likeliest action is taken, at 1 actions are sampled as the model '
    'has them. The same weights on the same tasks.',
    tuple(map(_panel, CELLS)), 2, tuple(map(_claim, CELLS)))
