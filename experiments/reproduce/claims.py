"""Claims that several figures make."""

import math

import numpy as np

from experiments.reproduce import cells
from experiments.reproduce import figure
from experiments.reproduce import measure

Pick = measure.Pick

# By less what is earned in Dark Room differs from one training seed to
# another, late and in the first ten episodes (experiments/README.md). Of that
# an interval over tasks alone knows nothing, and who is better by less is not
# called better.
SEEDS, SEEDS_EARLY = 0.02, 0.04
# What is learnt in context is more than this, and what is flat is less.
LEARNT = 0.1


def improves(
    claim: str, paper: str, pick: Pick, above: float = LEARNT,
    below: float = math.inf,
) -> figure.Claim:
  """That what is earned late is above the first episode, by so much."""
  return figure.Claim(
      claim, paper, f'late minus the first episode{_bounds(above, below)}',
      lambda results: measure.difference(
          results, pick, pick, measure.late, measure.first), above, below)


def flat(
    claim: str, paper: str, pick: Pick, below: float = LEARNT
) -> figure.Claim:
  """That it is not."""
  return improves(claim, paper, pick, -math.inf, below)


def better(
    claim: str, paper: str, a: Pick, b: Pick, above: float = SEEDS,
    when: measure.Episodes = measure.late, below: float = math.inf,
) -> figure.Claim:
  """That one earns more than another, by so much."""
  return figure.Claim(
      claim, paper, f'difference{_bounds(above, below)}',
      lambda results: measure.difference(results, a, b, when), above, below)


def near(
    claim: str, paper: str, a: Pick, b: Pick, by: float
) -> figure.Claim:
  """That one earns at most so much less than another that has learnt.

  If the other earns less than half of its own training tasks, nobody can tell.
  """
  found = better(claim, paper, a, b, -by)

  def measured(results: cells.Results) -> measure.Effect:
    train = results.row(b.cell)['train']
    share = train['return_mean'][-1] / float(np.mean(train['optimum']))
    if share < 0.5:
      raise cells.UnknownError(
          f'{cells.identity(b.cell, results.size)["name"]} earns {share:.2f} '
          'of the tasks it was trained on')
    return found.measure(results)
  return found._replace(measure=measured)


def _bounds(above: float, below: float) -> str:
  told = [f'{word} than {x:g}' for word, x in (
      ('more', above), ('less', below)) if math.isfinite(x)]
  return f', {" and ".join(told)}'
