"""Figure 14: tasks unlike those trained on, and tasks that change."""

from typing import Any
from typing import NamedTuple

from experiments.reproduce import cells
from experiments.reproduce import changes
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

_SPLITS = {'anywhere': cells.cell('watermaze'),
           'sector': cells.cell('watermaze_sector'),
           'rim': cells.cell('watermaze', 'tasks.split=rim')}
_PERMUTED = {'Dark Room, from tabular Q': cells.cell('dark_room_q')}


class _Moved(NamedTuple):
  """A run whose goals move.

  Attributes:
    cell: it.
    adapts: its source gives up what it knows where that pays no more.
  """
  cell: cells.Cell
  adapts: bool = False

  @property
  def window(self) -> int:
    """How many episodes its model can look back at."""
    experiment: Any = self.cell.experiment('cpu')
    return int(experiment.model.window // experiment.tasks.episode_length)


_MOVED = {
    'Dark Room, from posterior sampling': _Moved(cells.cell('quick')),
    'Dark Key-to-Door, from tabular Q': _Moved(
        cells.cell('key_to_door_q'), True)}
_OLD_GOALS = measure.at(changes.BEFORE - 9, changes.BEFORE)
_AT_ONCE = measure.at(changes.BEFORE + 1, changes.BEFORE + 1)


def _split(name: str) -> figure.Curves:
  cell = _SPLITS[name]
  return figure.Curves(f'Watermaze, held out: {name}', (
      figure.Curve('AD', 'ad', measure.Pick(cell)),
      figure.Curve('its source', 'source', measure.Pick(cell, 'source')),
      figure.Curve('random', 'random', measure.Pick(cell, 'random'))))


def _permuted(title: str) -> figure.Curves:
  cell = _PERMUTED[title]
  return figure.Curves(f'Other actions: {title}', (
      figure.Curve('AD, as trained', 'ad_paper', measure.Pick(cell)),
      figure.Curve('AD, permuted', 'ad', measure.Pick(cell, tasks='permuted')),
      figure.Curve('its source', 'source', measure.Pick(cell, 'source')),
      figure.Curve('random', 'random', measure.Pick(cell, 'random'))))


def _moved(title: str) -> figure.Curves:
  pick = lambda kind: measure.Pick(_MOVED[title].cell, kind, 'moved')
  return figure.Curves(f'Goals move: {title}', (
      figure.Curve('AD', 'ad', pick('model')),
      figure.Curve('its source', 'source', pick('source')),
      figure.Curve('walk + memory', 'walk', pick('random_walk_with_memory'))),
                       edge=changes.BEFORE)


def _improves(split: str, words: str) -> figure.Claim:
  return claims.improves(f'held-out {words}: AD improves in context',
                         'not shown', measure.Pick(_SPLITS[split]))


def _learns_permuted(title: str) -> figure.Claim:
  return claims.improves(f'actions permuted, {title}: AD improves in context',
                         'not shown', measure.Pick(
                             _PERMUTED[title], tasks='permuted'))


def _after_they_moved(title: str) -> tuple[figure.Claim, ...]:
  run = _MOVED[title]
  pick = lambda kind='model': measure.Pick(run.cell, kind, 'moved')
  against = lambda when, then: lambda results: measure.difference(
      results, pick(), pick(), when, then)
  left = changes.BEFORE + run.window
  again = lambda words, when: figure.Claim(
      f'{title}: after its goals have moved, AD learns again {words}',
      'not shown', 'those episodes minus the first after that, more than '
      f'{claims.LEARNT:g}', against(when, _AT_ONCE), claims.LEARNT)
  return (
      again('while its window holds old goals',
            measure.at(left - run.window // 2 + 1, left)),
      again('once its window holds none', measure.late),
      figure.Claim(f'{title}: it is back where it was', 'not shown',
                   'late minus before they moved, less than .05 below',
                   against(measure.late, _OLD_GOALS), -.05),
      *((claims.better(f'{title}: then it is above its source', 'not shown',
                       pick(), pick('source')),) if run.adapts else ()))


FIGURE = figure.Figure(
    'extrapolation', 'Tasks unlike those trained on, and tasks that change',
    'Only for bandits: AD generalises to arms that are good the other way '
    'round.',
    'Held-out platforms are anywhere, where some 30 of training overlap each '
    'of them, or of a sector or at the rim, where none does; headings are '
    'fixed. Other actions: each held-out task has a '
    'permutation of its actions in which none is what it was; neither tabular '
    'Q nor a random policy knows what they were. Goals move: from episode '
    f'{changes.BEFORE + 1} on (the line) they are those of another held-out '
    'task, and nobody is told. Posterior sampling and the walk never give up '
    'what they know. The window holds ten episodes in Dark Room and eight in '
    'Key-to-Door: after as many no old goal can be seen any more.',
    (*map(_split, _SPLITS), *map(_permuted, _PERMUTED), *map(_moved, _MOVED)),
    2,
    (_improves('anywhere', 'platforms anywhere'),
     _improves('sector', 'platforms of a sector'),
     _improves('rim', 'platforms at the rim'),
     claims.better(
         'held-out platforms of a sector cost less than .1 beside platforms '
         'anywhere', 'not shown', measure.Pick(_SPLITS['sector']),
         measure.Pick(_SPLITS['anywhere']), -.1),
     *map(_learns_permuted, _PERMUTED),
     *(claim for title in _MOVED for claim in _after_they_moved(title))))
