"""Figure 16: actions sampled, or the likeliest taken."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

_TEMPERATURES = 0, 0.3, 0.6, 1


def _cell(preset: str, temperature: float) -> cells.Cell:
  return cells.cell(preset, f'evaluate.temperature={temperature}')


def _panel(title: str, preset: str) -> figure.Curves:
  return figure.Curves(title, tuple(
      figure.Curve(f'temperature {x}', f'step{2 * i - (i > 2)}',
                   measure.Pick(_cell(preset, x)))
      for i, x in enumerate(_TEMPERATURES)))


def _claim(title: str, preset: str) -> figure.Claim:
  sampled, greedy = (measure.Pick(_cell(preset, x)) for x in (1, 0))
  return claims.better(
      f'{title}: sampled actions earn more than the likeliest',
      'it samples; that the likeliest fail is said by others', sampled, greedy)


_WHERE = {'Dark Room, from tabular Q': 'dark_room_q',
          'Dark Key-to-Door, from tabular Q': 'key_to_door_q'}

FIGURE = figure.Figure(
    'greedy', 'Actions sampled, or the likeliest taken',
    'Its actions are sampled; at which temperature it does not say.',
    'At 0 the likeliest action is taken, at 1 actions are sampled as the model '
    'has them. The same training; each temperature is a run of its own.',
    tuple(_panel(*x) for x in _WHERE.items()), 2,
    tuple(_claim(*x) for x in _WHERE.items()))
