"""Figure 7: against the best that any learner could do, by episode."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure
from experiments.reproduce import paper
from experiments.reproduce.figures import rooms

_WALK = 'random_walk_with_memory'
# {environment: AD from posterior sampling}.
_TOLD = {rooms.DARK_ROOM: cells.cell('dark_room'),
         rooms.HARD: cells.cell('dark_room_hard'),
         rooms.KEY_TO_DOOR: cells.cell('key_to_door')}
_BANDIT = measure.Pick(cells.cell('bandit'), tasks='uniform')
_LEARNERS = {'Gittins': 'finite_horizon_gittins', 'Thompson': 'thompson',
             'greedy': 'greedy', 'random': 'random'}


def _panel(room: rooms.Room) -> figure.Curves:
  return figure.Curves(room.title, (
      figure.Known('no learner above', 'limit', room.name, limit=True),
      figure.Curve('AD (posterior)', 'ad_paper', measure.Pick(_TOLD[room])),
      figure.Curve(f'AD ({room.best_kind})', 'ad', measure.Pick(room.best),
                   f'{room.name}/AD'),
      figure.Curve('walk + memory', 'walk', measure.Pick(room.best, _WALK)),
      figure.Known('AD of the paper', 'their_ad', f'{room.name}/AD')))


def _claims(room: rooms.Room) -> tuple[figure.Claim, ...]:
  told, best = measure.Pick(_TOLD[room]), measure.Pick(room.best)
  theirs = paper.last(f'{room.name}/AD')
  part = lambda kind, pick, when, words, above: figure.Claim(
      f'{room.title}: AD from {kind} earns at least {above} of the limit '
      f'{words}', f'{theirs:.2f} of it in episode 1000',
      'part of the upper bound', lambda results: measure.of_limit(
          results, pick, room.name, when), above)
  return (
      part('posterior sampling', told, measure.at(5, 5), 'in episode 5', .5),
      part('posterior sampling', told, measure.late, 'late', .9),
      part(room.best_kind, best, measure.at(9, 10), 'in episodes 9 and 10', .5),
      part(room.best_kind, best, measure.late, 'late', .9),
      claims.better(
          f'{room.title}: AD from {room.best_kind} is above the random walk '
          'with memory in episodes 9 and 10', 'not compared', best,
          measure.Pick(room.best, _WALK), claims.SEEDS_EARLY,
          measure.at(9, 10)))


FIGURE = figure.Figure(
    'limit', 'Against the best that any learner could do',
    'Not in the paper; its AD is far below these limits and, in episode 100, '
    'below a random walk that goes back to where it was paid.',
    'Dashes: an upper bound of what any learner can earn in an episode (over '
    'all tasks, in parts of their optimum; a curve of the eight goals that '
    'Dark Room holds out may be above it). Bandits: uniform arms, which no '
    'model was trained on, over 100 pulls, in parts of what the best arm pays; '
    'finite-horizon Gittins is as good as optimal.',
    (*map(_panel, rooms.GRIDS), figure.Places(
        'Bandits, uniform', ('AD', 'UCB1', *_LEARNERS), (
            figure.Points('ours', 'ad', (
                _BANDIT, None, *[None] * len(_LEARNERS))),
            figure.Points('source', 'source', (
                None, measure.Pick(_BANDIT.cell, 'source', 'uniform'),
                *[None] * len(_LEARNERS))),
            figure.Points('known', 'limit', (None, None, *(
                round(paper.bandit_mean(name), 4)
                for name in _LEARNERS.values())))), measure.every)), 2,
    (*(claim for room in rooms.GRIDS for claim in _claims(room)),
     figure.Claim(
         'Bandits, uniform: AD earns at least .85 of what Gittins does',
         'not compared', 'part of it, all pulls',
         lambda results: measure.level(
             results, _BANDIT, measure.every,
             paper.bandit_mean('finite_horizon_gittins')), .85)))
