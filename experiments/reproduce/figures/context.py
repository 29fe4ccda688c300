"""Figure 4: how much a model can look back at, in Key-to-Door."""

import math

from experiments.reproduce import cells
from experiments.reproduce import figure
from experiments.reproduce.figures import varied

# A window of W steps reaches LAYERS * (W - 1) + 1 steps through all layers:
# these reach as far as contexts of the paper, and further.
_LAYERS, _EPISODE = 4, 50
# {window: what reaches as far in the paper}.
_WINDOWS = {6: '20', 13: '50', 26: '100', 50: '200', 100: '', 200: ''}


def _varied(window: int, theirs: str) -> varied.Varied:
  reach = _LAYERS * (window - 1) + 1
  return varied.Varied(
      f'{reach / _EPISODE:.1f}', f'{reach} steps',
      cells.cell('key_to_door', f'model.window={window}'),
      theirs and f'context/{theirs}')


_RUNS = {window: _varied(window, theirs) for window, theirs in _WINDOWS.items()}

FIGURE = figure.Figure(
    'context', 'How much context it takes: Dark Key-to-Door',
    'In-context learning needs a context longer than an episode; two '
    'to four episodes are necessary for nearly optimal returns.',
    'Contexts in steps, an episode being 50: a window of W steps reaches '
    '4 (W - 1) + 1 steps through four layers, which is what is counted here. '
    'Right: late returns; an open point is a context of the paper as long (up '
    'to a step), in episode 1000. From posterior sampling.',
    varied.panels(tuple(_RUNS.values()), 'context, in episodes'), 2,
    (varied.improves(_RUNS[6], '0.4 episodes of context do not learn',
                     -math.inf, 0.1),
     *(varied.improves(
         _RUNS[window], f'with {words} episodes of context it improves by more '
         'than .3', 0.3) for window, words in ((26, 'two'), (50, 'four'))),
     varied.better(_RUNS[50], _RUNS[13],
                   'four episodes of context are better than one'),
     varied.better(_RUNS[200], _RUNS[50],
                   'sixteen episodes of context are better than four')))
