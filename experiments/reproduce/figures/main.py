"""Figure 1: all environments, what is distilled, and what it is compared with.
"""

from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure
from experiments.reproduce import paper
from experiments.reproduce.figures import rooms

Pick = measure.Pick
_WALK = 'random_walk_with_memory'


def _ours(room: rooms.Room) -> figure.Curves:
  name = room.name
  return figure.Curves(f'{room.title}: ours', (
      figure.Curve(f'AD ({room.best_kind})', 'ad', Pick(room.best),
                   f'{name}/AD'),
      figure.Curve(f'AD ({room.kind})', 'ad_paper', Pick(room.theirs),
                   f'{name}/AD'),
      figure.Curve('ED', 'ed', Pick(room.ed), f'{name}/ED'),
      figure.Curve('RL²', 'rl2', Pick(room.rl2), f'{name}/RL2'),
      figure.Curve(f'{room.kind}, per actor', 'source',
                   Pick(room.theirs, 'source'), f'{name}/source'),
      figure.Curve(f'{room.kind}, summed', 'summed',
                   Pick(room.theirs, 'summed'), f'{name}/source_summed'),
      *(() if room is rooms.WATERMAZE else (
          figure.Curve('walk + memory', 'walk', Pick(room.best, _WALK)),)),
      figure.Known('AD of the paper', 'their_ad', f'{name}/AD')))


def _theirs(room: rooms.Room) -> figure.Curves:
  source = 'DQN' if room is rooms.WATERMAZE else 'A3C'
  return figure.Curves(f'{room.title}: the paper', tuple(
      figure.Known(label, f'their_{style}', f'{room.name}/{name}')
      for label, style, name in (
          ('AD', 'ad', 'AD'), ('ED', 'ed', 'ED'),
          ('RL², at its end', 'rl2', 'RL2'),
          (f'{source}, per actor', 'source', 'source'),
          (f'{source}, summed', 'summed', 'source_summed'))))


def _claims(room: rooms.Room) -> tuple[figure.Claim, ...]:
  best, theirs = Pick(room.best), Pick(room.theirs)
  ed, rl2 = Pick(room.ed), Pick(room.rl2)
  percent = lambda name: f'{100 * paper.last(f"{room.name}/{name}"):.0f} %'
  said = f'{room.title}: '
  late = measure.at(max(1, room.tenth - 9), room.tenth)
  learns = lambda name: (
      f'{100 * paper.curve(f"{room.name}/{name}")[1, 0]:.0f} to '
      f'{percent(name)} of the optimum')
  sooner = lambda counted: lambda results: measure.speed_up(
      results, theirs, Pick(room.theirs, 'source'), room.share, counted)
  return (
      *(claims.improves(f'{said}AD from {kind} improves in context',
                        learns('AD'), pick)
        for kind, pick in ((room.kind, theirs), (room.best_kind, best))),
      claims.flat(f'{said}ED improves by less than {room.flat:g} in context',
                  learns('ED'), ed, room.flat),
      claims.better(f'{said}AD from {room.kind} is above ED',
                    f'{percent("AD")} against {percent("ED")}', theirs, ed),
      claims.near(f'{said}AD from {room.kind} is at most .15 below RL²',
                  f'{percent("AD")} against {percent("RL2")}', theirs, rl2,
                  .15),
      figure.Claim(
          f'{said}AD from {room.kind} needs fewer episodes than its source, '
          'those of all actors counted',
          f'{room.fewer} times fewer', 'how many times fewer', sooner(True),
          above=1),
      figure.Claim(
          f'{said}AD from {room.kind} needs fewer episodes than an actor of '
          'its source', f'{room.fewer / room.actors:.2g} times, by its curves',
          'how many times fewer', sooner(False), above=1),
      figure.Claim(
          f'{said}AD from {room.best_kind} is, in a tenth of its episodes, '
          'above where the AD of the paper ends', f'{percent("AD")}',
          f'share, more than {room.final:.3f}',
          lambda results: measure.level(results, best, late),
          above=room.final),
      *(() if room is rooms.WATERMAZE else (claims.better(
          f'{said}AD from {room.best_kind} is above a random walk that goes '
          'back to where it was paid', 'not compared', best,
          Pick(room.best, _WALK)),)))


FIGURE = figure.Figure(
    'main', 'In-context learning of tasks never trained on',
    'AD learns in context in all environments, and expert distillation does '
    'not; it comes within a few percent (in the water maze 13) of RL², which '
    'is trained online on a billion steps, and learns in fewer steps than its '
    'source, whose steps are summed over all actors.',
    'Left ours, right those of the paper, dotted in the same colours. Sources '
    'by the episodes of one actor and, as the paper draws them, by those of '
    'all actors together. AD in blue: dark from our best source that knows '
    'nothing (the search of the water maze can swim), light and dashed from '
    'the kind of source that the paper has. The walk is on the tasks of the '
    'dark curve. A2C has 8 actors in Dark Room, 32 elsewhere, DQN 4 (the '
    'paper 100 and 16); RL² has had 1 to 8 million steps, that of the paper a '
    'billion. A curve that ends early was evaluated on fewer episodes.',
    tuple(panel for room in rooms.ROOMS for panel in (_ours(room),
                                                      _theirs(room))), 2,
    tuple(claim for room in rooms.ROOMS for claim in _claims(room)))
