"""Figure 16: actions sampled, or the likeliest taken."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import evaluations
from experiments.reproduce import figure
from experiments.reproduce import measure

_CELLS = {'Dark Room, from tabular Q': cells.cell('dark_room_q'),
          'Dark Key-to-Door, from tabular Q': cells.cell('key_to_door_q')}
# At temperature 0 models differ by far more than at 1, where claims.SEEDS was
# measured.
_MARGIN = 0.1
# {temperature: a set of a row; a run's own returns are at 1}.
_SETS = {x: evaluations.name_of(x) for x in evaluations.TEMPERATURES} | {
    1: 'held_out'}
_STYLES = 'step0', 'step2', 'step4', 'step5'


def _pick(title: str, temperature: float) -> measure.Pick:
  return measure.Pick(_CELLS[title], tasks=_SETS[temperature])


def _panel(title: str) -> figure.Curves:
  return figure.Curves(title, tuple(
      figure.Curve(f'temperature {x:g}', style, _pick(title, x))
      for x, style in zip(_SETS, _STYLES, strict=True)))


def _claim(title: str) -> figure.Claim:
  return claims.better(
      f'{title}: sampled actions earn more than the likeliest',
      'it samples; that the likeliest fail is said by others',
      _pick(title, 1), _pick(title, 0), _MARGIN)


FIGURE = figure.Figure(
    'greedy', 'Actions sampled, or the likeliest taken',
    'Its actions are sampled; at which temperature it does not say.',
    'At 0 the likeliest action is taken, at 1 actions are sampled as the model '
    'has them. The same weights on the same tasks: below 1 with four runs a '
    'task, and at 0 all runs of a task are the same unless the environment '
    'draws.',
    tuple(map(_panel, _CELLS)), 2, tuple(map(_claim, _CELLS)))
