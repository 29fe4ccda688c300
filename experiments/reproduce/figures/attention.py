"""Figure 13: what a model looks at while it learns."""

from experiments.reproduce import attention
from experiments.reproduce import cells
from experiments.reproduce import figure
from experiments.reproduce import measure

_CELLS = {'Dark Key-to-Door, from tabular Q': cells.cell('key_to_door_q'),
          'Dark Room, from tabular Q': cells.cell('dark_room_q')}
# {set: (style, what is written at its curve)}.
_DRAWN = {'attention_reward': ('ad', 'after rewards'),
          'attention_restart': ('ed', 'restarts'),
          'attention_before': ('source', 'earlier episodes')}


def _panel(title: str) -> figure.Curves:
  return figure.Curves(title, tuple(
      figure.Curve(label, style, measure.Pick(_CELLS[title], tasks=name))
      for name, (style, label) in _DRAWN.items()))


def _claim(title: str, name: str) -> figure.Claim:
  return figure.Claim(
      f'{title}: steps {attention.KINDS[name]} get more attention than others',
      'its maps show that rewards and restarts stand out',
      'multiple of uniform attention, late, more than 1.1', lambda results: (
          measure.level(results, measure.Pick(_CELLS[title], tasks=name))),
      above=1.1)


FIGURE = figure.Figure(
    'attention', 'What the model looks at',
    'Attention goes to several episodes back; episode restarts and rewards '
    'stand out.',
    'Attention to a kind of steps, as a multiple of uniform attention to all '
    'that can be seen: 1 is none in particular. A mean over layers and heads '
    'of a model each, on held-out tasks. Where almost every step that can be '
    'seen was rewarded, as late in Dark Room, none can stand out.',
    tuple(map(_panel, _CELLS)), 2,
    tuple(_claim(title, name) for title in _CELLS
          for name in ('attention_reward', 'attention_restart')),
    'multiple of uniform attention')
