"""Figure 15: a thousand episodes: is what was learnt kept?"""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

_CELLS = {window: cells.cell('quick', f'model.window={window}')
          for window in (10, 50, 200)}
_EPISODE = 20
_FAR = measure.at(91, 100)


def _pick(window: int) -> measure.Pick:
  return measure.Pick(_CELLS[window], tasks='long')


def _learns(window: int) -> figure.Claim:
  return claims.improves(
      f'a window of {window / _EPISODE:g} episodes learns',
      'it shows contexts of Key-to-Door alone: four episodes do', _pick(window))


def _keeps(window: int) -> figure.Claim:
  pick = _pick(window)

  def kept(results: cells.Results) -> measure.Effect:
    learnt = measure.difference(results, pick, pick, _FAR, measure.first)
    if learnt.low <= claims.LEARNT:
      raise cells.UnknownError('it has learnt too little by then')
    return measure.difference(results, pick, pick, measure.late, _FAR)

  return figure.Claim(
      f'a window of {window / _EPISODE:g} episodes keeps what it has learnt by '
      'episode 100', 'its curves of 1000 episodes do not fall',
      'late against then, less than .05 below', kept, above=-.05)


FIGURE = figure.Figure(
    'long', 'A thousand episodes: Dark Room',
    'AD was evaluated over 1000 episodes, and its curves do not fall.',
    'From posterior sampling, of whose learning 15 episodes are distilled. '
    'A window is what a step can look back at, an episode being '
    f'{_EPISODE} steps; what is further back is known through layers alone.',
    (figure.Curves('Dark Room', (
        *(figure.Curve(f'{window / _EPISODE:g} episodes', f'step{2 * i}',
                       _pick(window)) for i, window in enumerate(_CELLS)),
        figure.Known('AD of the paper', 'their_ad', 'dark_room/AD'))),), 1,
    (*map(_learns, _CELLS), *map(_keeps, _CELLS)))
