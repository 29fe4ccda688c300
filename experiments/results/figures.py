"""What a row says of episodes and tasks, computed from its returns."""

from typing import Any
from typing import NamedTuple

import numpy as np

from adjax import metrics
from adjax.experiment import report
from adjax.page import data as page_data
from experiments.results import pack

Span = tuple[int, int]  # Episodes, the first and the last, from 1.


class Curves(NamedTuple):
  """What was earned on a set of tasks.

  Attributes:
    returns: [seeds, N, R, E].
    optimum: [N]; None where nobody knows it, or it is not above 0. Figures are
      shares of it, else returns.
    beside: {reference: its mean return [E]}; of one that does not learn, too.
    block: so many episodes in a row have one mean.
  """
  returns: np.ndarray
  optimum: np.ndarray | None
  beside: dict[str, np.ndarray]
  block: int = 1

  @property
  def episodes(self) -> int:
    return self.returns.shape[-1]

  @property
  def unit(self) -> float:
    """What a mean return is divided by."""
    return 1.0 if self.optimum is None else float(self.optimum.mean())


def of(row: dict[str, Any], name: str = 'held_out') -> Curves:
  """The curves of a row on one of its sets of tasks."""
  told = row['sets'][name]
  returns = pack.unpack(told['returns'])
  beside = {}
  for kind in ('source', 'random_walk_with_memory', 'random', 'oracle'):
    if kind in told:
      mean = (told[kind]['return_mean'] if isinstance(told[kind], dict)
              else [told[kind]] * returns.shape[-1])
      beside[kind] = np.array(mean, float)
  return Curves(returns, page_data.optimum_of(told), beside,
                told['returns']['block'])


def text(span: Span) -> str:
  """A span as it is written."""
  return '\N{EN DASH}'.join(map(str, dict.fromkeys(span)))


def known(curves: Curves, span: Span) -> bool:
  """Whether the mean over a span is told, and not one over more episodes."""
  start, end = span[0] - 1, span[1]
  return end <= curves.episodes and not (
      start % curves.block or end % curves.block)


def mean_known(x: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
  """A mean of what is not NaN; NaN, and no warning, where all is."""
  there = ~np.isnan(x)
  with np.errstate(invalid='ignore'):
    return np.where(there, x, 0).sum(axis) / there.sum(axis)


def _late(curves: Curves, span: Span) -> np.ndarray:
  """Mean returns [seeds, N, R] over a span of episodes."""
  return np.nanmean(curves.returns[..., span[0] - 1:span[1]], -1)


def mean(curves: Curves, span: Span) -> float:
  """What the model earns over a span of episodes."""
  by_episode = np.nanmean(curves.returns, (0, 1, 2))
  return _over(by_episode, span) / curves.unit


def interval(curves: Curves, span: Span) -> tuple[float, float]:
  """The 95 % interval of that mean; `over` says over what."""
  low, high = metrics.intervals(_late(curves, span), curves.optimum)[0]
  return float(low) / curves.unit, float(high) / curves.unit


def over(curves: Curves) -> str:
  """What intervals are over."""
  return metrics.over(curves.returns.shape)


def worst_task(curves: Curves, span: Span) -> float:
  """The least share of its own optimum that a task is at."""
  by_task = np.nanmean(_late(curves, span), (0, 2))
  return float(np.min(
      by_task / (1.0 if curves.optimum is None else curves.optimum)))


def beside(curves: Curves, kind: str, span: Span) -> float | None:
  """What a reference earns over the same episodes; None if there is none."""
  if kind not in curves.beside:
    return None
  return _over(curves.beside[kind], span) / curves.unit


def nauc(curves: Curves) -> float | None:
  """The area under the curve over the optimum's."""
  if curves.optimum is None:
    return None
  return mean(curves, (1, curves.episodes))


def episodes_to_90(curves: Curves) -> int | None:
  """As result.json has it: None where it does not get there, or none knows."""
  if curves.optimum is None:
    return None
  return report.first_to_stay(
      np.nanmean(curves.returns, (0, 1, 2)), 0.9 * curves.unit)


def of_source(curves: Curves) -> tuple[float, float, float]:
  """Over all episodes: mean and interval, 0 for random and 1 for the source.

  The interval takes these two to be known.
  """
  span = 1, curves.episodes
  random, source = (_over(curves.beside[kind], span) / curves.unit
                    for kind in ('random', 'source'))
  middle, low, high = (
      (x - random) / (source - random)
      for x in (mean(curves, span), *interval(curves, span)))
  return middle, low, high


def _over(by_episode: np.ndarray, span: Span) -> float:
  return float(np.nanmean(by_episode[span[0] - 1:span[1]]))
