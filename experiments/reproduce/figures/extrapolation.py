"""Figure 14: tasks unlike those trained on, and tasks that change."""

from experiments.reproduce import cells
from experiments.reproduce import changes
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

_SPLITS = {'random': cells.cell('watermaze'),
           'sector': cells.cell('watermaze_sector'),
           'rim': cells.cell('watermaze', 'tasks.split=rim')}
# {what it is: a run whose row has a set of such tasks besides}.
PERMUTED = {'Dark Room, from tabular Q': cells.cell('dark_room_q')}
MOVED = {'Dark Room, from posterior sampling': cells.cell('quick'),
         'Dark Key-to-Door, from tabular Q': cells.cell('key_to_door_q')}
_THEN = measure.at(changes.BEFORE - 9, changes.BEFORE)
_AT_ONCE = measure.at(changes.BEFORE + 1, changes.BEFORE + 1)


def _split(name: str) -> figure.Curves:
  cell = _SPLITS[name]
  return figure.Curves(f'Watermaze, held out: {name}', (
      figure.Curve('AD', 'ad', measure.Pick(cell)),
      figure.Curve('its source', 'source', measure.Pick(cell, 'source')),
      figure.Curve('random', 'random', measure.Pick(cell, 'random'))))


def _permuted(title: str) -> figure.Curves:
  cell = PERMUTED[title]
  return figure.Curves(f'Other actions: {title}', (
      figure.Curve('AD, as trained', 'ad_paper', measure.Pick(cell)),
      figure.Curve('AD, permuted', 'ad', measure.Pick(cell, tasks='permuted')),
      figure.Curve('its source', 'source', measure.Pick(cell, 'source')),
      figure.Curve('random', 'random', measure.Pick(cell, 'random'))))


def _moved(title: str) -> figure.Curves:
  pick = lambda kind: measure.Pick(MOVED[title], kind, 'moved')
  return figure.Curves(f'Goals move: {title}', (
      figure.Curve('AD', 'ad', pick('model')),
      figure.Curve('its source', 'source', pick('source')),
      figure.Curve('walk + memory', 'walk', pick('random_walk_with_memory'))))


def _improves(split: str, words: str) -> figure.Claim:
  return claims.improves(f'held-out {words}: AD improves in context',
                         'not shown', measure.Pick(_SPLITS[split]))


def _learns_permuted(title: str) -> figure.Claim:
  return claims.improves(f'actions permuted, {title}: AD improves in context',
                         'not shown', measure.Pick(
                             PERMUTED[title], tasks='permuted'))


def _after_it_moved(title: str) -> tuple[figure.Claim, ...]:
  pick = lambda kind='model': measure.Pick(MOVED[title], kind, 'moved')
  of_itself = lambda then: lambda results: measure.difference(
      results, pick(), pick(), measure.late, then)
  return (
      figure.Claim(f'{title}: after its goals have moved, AD learns again',
                   'not shown', 'late minus the first episode after that, more '
                   'than 0.1', of_itself(_AT_ONCE), claims.LEARNT),
      figure.Claim(f'{title}: it is back where it was', 'not shown',
                   'late minus before they moved, less than .05 below',
                   of_itself(_THEN), -.05),
      *(claims.better(f'{title}: then it is above {words}', 'not shown',
                      pick(), pick(kind)) for kind, words in (
                          ('source', 'its source'), (
                              'random_walk_with_memory', 'the random walk that '
                              'goes back to where it was paid'))))


FIGURE = figure.Figure(
    'extrapolation', 'Tasks unlike those trained on, and tasks that change',
    'Only for bandits: AD generalises to arms that are good the other way '
    'round.',
    'Held-out platforms are anywhere, of a sector, or at the rim; those '
    'trained on are elsewhere. Other actions: each held-out task has a '
    'permutation of its actions in which none is what it was; neither tabular '
    'Q nor a random policy knows what they were. Goals move: from episode '
    f'{changes.BEFORE + 1} on they are those of another held-out task, and '
    'nobody is told.',
    (*map(_split, _SPLITS), *map(_permuted, PERMUTED), *map(_moved, MOVED)), 2,
    (_improves('random', 'platforms anywhere'),
     _improves('sector', 'platforms of a sector'),
     _improves('rim', 'platforms at the rim'),
     claims.better(
         'held-out platforms of a sector cost less than .1 beside platforms '
         'anywhere', 'not shown', measure.Pick(_SPLITS['sector']),
         measure.Pick(_SPLITS['random']), -.1),
     *map(_learns_permuted, PERMUTED),
     *(claim for title in MOVED for claim in _after_it_moved(title))))
