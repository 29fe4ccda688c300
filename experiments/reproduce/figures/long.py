"""Figure 15: a thousand episodes: is what was learnt kept?"""

from experiments.reproduce import cells
from experiments.reproduce import figure
from experiments.reproduce import measure

_EPISODES = 1000
_CELLS = {window: cells.cell(
    'dark_room_q', f'evaluate.episodes={_EPISODES}', f'model.window={window}',
    'evaluate.runs=1') for window in (50, 100, 200)}
_FAR = measure.at(91, 100)


def _keeps(window: int) -> figure.Claim:
  pick = measure.Pick(_CELLS[window])
  return figure.Claim(
      f'a window of {window} steps keeps what it has learnt by episode 100',
      'its curves of 1000 episodes do not fall', 'late against then, less than '
      '.05 below', lambda results: measure.difference(
          results, pick, pick, measure.late, _FAR), above=-.05)


FIGURE = figure.Figure(
    'long', 'A thousand episodes: Dark Room',
    'AD was evaluated over 1000 episodes, and its curves do not fall.',
    'From tabular Q, whose histories are shorter. Windows in steps, of which '
    'an episode has 20: what is further back is known through layers alone.',
    (figure.Curves('Dark Room', (
        *(figure.Curve(f'window {window}', f'step{2 * i}', measure.Pick(cell))
          for i, (window, cell) in enumerate(_CELLS.items())),
        figure.Curve('Q, one stream', 'source', measure.Pick(
            _CELLS[200], 'source')),
        figure.Curve('walk + memory', 'walk', measure.Pick(
            _CELLS[200], 'random_walk_with_memory')),
        figure.Known('AD of the paper', 'their_ad', 'dark_room/AD'))),), 1,
    tuple(map(_keeps, _CELLS)))
