"""Effects that claims are about, with 95 % intervals.

They are for other tasks and, where there are several, other training seeds:
half-widths of Student's t over each, added in squares, as adjax.metrics does
for a mean. What shares tasks is compared task by task.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from adjax import metrics
from experiments.reproduce import cells
from experiments.reproduce import paper
from experiments.reproduce import sample as sample_lib
from experiments.results import figures

Span = figures.Span
Pick = sample_lib.Pick
Sample = sample_lib.Sample
sample = sample_lib.sample
# Of how many episodes there are -> which are meant.
Episodes = Callable[[int], Span]
_RESAMPLES, _WINDOW = 1000, 5


class Effect(NamedTuple):
  """A number and its interval; `over` says over what it is, `text` of what."""
  value: float
  low: float
  high: float
  over: str
  text: str = ''


def first(episodes: int) -> Span:
  """The first episode."""
  del episodes
  return 1, 1


def late(episodes: int) -> Span:
  """The last ten episodes, or the last quarter of fewer than forty."""
  return episodes - max(1, min(10, episodes // 4)) + 1, episodes


def every(episodes: int) -> Span:
  """All episodes."""
  return 1, episodes


def at(start: int, end: int) -> Episodes:
  """Episodes by their numbers, from 1."""
  def of(episodes: int) -> Span:
    if end > episodes:
      raise cells.UnknownError(f'only {episodes} episodes')
    return start, end
  return of


def level(results: cells.Results, pick: Pick, when: Episodes = late,
          unit: float = 1.0) -> Effect:
  """What is earned in some episodes, in units of something known."""
  found = sample(results, pick)
  span = when(found.episodes)
  x = found.over(span)
  low, high = (found.told(bound) / unit
               for bound in metrics.intervals(x, found.optimum)[0])
  value = float(found.told(float(np.nanmean(x)))) / unit
  return Effect(value, float(low), float(high), metrics.over(x.shape),
                f'episodes {figures.text(span)}')


def of_limit(
    results: cells.Results, pick: Pick, name: str, when: Episodes
) -> Effect:
  """What is earned in some episodes, in parts of an upper bound then."""
  start, end = when(sample(results, pick).episodes)
  bound = paper.limit(name, end)[start - 1:].mean()
  return level(results, pick, when, float(bound))


def difference(
    results: cells.Results, a: Pick, b: Pick, when: Episodes = late,
    then: Episodes | None = None,
) -> Effect:
  """How much more is earned by a than by b, or by a learner than before.

  Args:
    results: the rows.
    a: the one.
    b: the other.
    when: which episodes of a.
    then: which episodes of b, if others.
  """
  left, right = sample(results, a), sample(results, b)
  spans = when(left.episodes), (then or when)(right.episodes)
  told, rest = zip(*(_residuals(x, span)
                     for x, span in zip((left, right), spans)))
  tasks = [results.row(pick.cell)['configuration']['tasks'] for pick in (a, b)]
  # Weights that are compared with themselves are the same for each seed.
  by_seed = [x.mean(1) for x in rest]
  if (a.cell, a.kind) == (b.cell, b.kind):
    by_seed = [by_seed[0] - by_seed[1]]
  by_task = [x.mean(0) for x in rest]
  if tasks[0] == tasks[1] and len(by_task[0]) == len(by_task[1]):
    by_task = [by_task[0] - by_task[1]]
  half = np.sqrt(sum(_half_width(x)**2 for x in [
      *by_task, *(x for x in by_seed if len(x) > 1)]))
  value = told[0] - told[1]
  models = [x for x, pick in zip(rest, (a, b)) if pick.kind == 'model']
  over = ('seeds and tasks' if models and all(len(x) > 1 for x in models)
          else 'tasks')
  episodes = ' against '.join(dict.fromkeys(map(figures.text, spans)))
  return Effect(value, value - half, value + half, over,
                f'episodes {episodes}')


def _residuals(found: Sample, span: Span) -> tuple[float, np.ndarray]:
  """The mean of a span, and how seeds and tasks [S, N] differ from it.

  Which tasks are hard by nature is no part of it, as in metrics.intervals.
  """
  x = np.nanmean(found.over(span), 2)
  unit = 1.0 if found.optimum is None else found.optimum.mean()
  ratio = (np.ones(x.shape[1]) if found.optimum is None
           else found.optimum / unit)
  rest = (x - x.mean() * ratio) / unit * found.scale
  return float(found.told(float(x.mean()))), rest


def _half_width(x: np.ndarray) -> float:
  """Of the mean of x [n], for others like these."""
  low, high = metrics.intervals(x.reshape(-1, 1, 1))[0]
  return float(high - low) / 2


def speed_up(
    results: cells.Results, fast: Pick, slow: Pick, share: float | None = None,
    counted: bool = False,
) -> Effect:
  """In how many times fewer episodes one gets as far as another.

  To a share of the optimum, or to what the other earns late: the first mean of
  five episodes in a row that is as much. Of a curve that is not there by its
  end it is only known that it would need more, and the interval is as wide as
  that: from 0, or without an end. Otherwise it is a percentile interval, tasks
  and seeds drawn anew, the same for both.

  Args:
    results: the rows.
    fast: the one.
    slow: the other, a reference.
    share: of the optimum; None for what the other earns late.
    counted: the episodes of all its actors are.
  """
  told = results.row(slow.cell)['sets'][slow.tasks].get(slow.kind, {})
  actors = told.get('actors', 1) if counted else 1
  optimum = sample(results, fast).optimum
  one, other = (np.nanmean(sample(results, pick).returns, 2)
                for pick in (fast, slow))
  (seeds, tasks, _), there = one.shape, late(other.shape[-1])
  if other.shape[1] != tasks:
    raise cells.UnknownError('not of the same tasks')
  unit = np.ones(tasks) if optimum is None else optimum

  def reached(of_seeds: np.ndarray, of_tasks: np.ndarray) -> np.ndarray:
    """Episodes [2, B] of both, of weights [B, S] and [B, N]."""
    ours = np.einsum('bs,bn,sne->be', of_seeds, of_tasks, one)
    theirs = np.einsum('bn,ne->be', of_tasks, other[0])
    goal = (theirs[:, there[0] - 1:].mean(1) if share is None
            else share * of_tasks @ unit)
    return np.stack([_reached(ours, goal), _reached(theirs, goal)])

  # The least that one which is not there would need.
  least = np.array([[x.shape[-1] - _WINDOW + 2] for x in (one, other)])
  rng = np.random.default_rng(0)
  drawn = lambda n: rng.multinomial(n, np.full(n, 1 / n), _RESAMPLES) / n
  evenly = lambda n: np.full((1, n), 1 / n)
  whole = reached(evenly(seeds), evenly(tasks))
  found = reached(drawn(seeds), drawn(tasks))
  at_least = np.minimum(found, least)
  # What another earns late it does earn, whatever a mean of five says.
  slowest = at_least[1] if share is None else found[1]
  ours, theirs = np.minimum(whole, least)[:, 0]
  value = theirs / ours
  low = np.percentile(at_least[1] / found[0], 2.5, method='lower')
  high = np.percentile(slowest / at_least[0], 97.5, method='higher')
  goal = (f'{share:g} of the optimum' if share is not None else
          f'what it earns in episodes {figures.text(there)}')
  ends = '' if np.isfinite(whole).all() else ', which one is never at'
  return Effect(
      float(actors * value), float(actors * min(low, value)),
      float(actors * max(high, value)), metrics.over((seeds, tasks, 1)),
      f'to {goal}{ends}')


def _reached(curves: np.ndarray, goal: np.ndarray) -> np.ndarray:
  """The first episode [B] of a mean of five that is at a goal [B], or inf."""
  window = min(_WINDOW, curves.shape[1])
  sums = np.cumsum(np.pad(curves, ((0, 0), (1, 0))), 1)
  # What is rounded is not above.
  there = (sums[:, window:] - sums[:, :-window]) / window >= (
      goal[:, None] - 1e-9)
  return np.where(there.any(1), there.argmax(1) + 1.0, np.inf)
