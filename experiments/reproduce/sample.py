"""Returns of some learner in a row, as they are drawn and compared."""

import dataclasses
from typing import NamedTuple

import numpy as np

from experiments.reproduce import cells
from experiments.results import figures
from experiments.results import pack


@dataclasses.dataclass(frozen=True)
class Pick:
  """What is drawn and compared: some learner's returns in a row.

  Attributes:
    cell: whose row.
    kind: 'model'; 'source', an actor of it; 'summed', the source when the
      episodes of all actors are counted; 'random_walk_with_memory'; 'random'.
    tasks: a set of tasks.
    relative: 0 is random and 1 the source over all episodes, instead of shares
      of the optimum.
    paid: the share of runs that have had a reward by then, instead.
  """
  cell: cells.Cell
  kind: str = 'model'
  tasks: str = 'held_out'
  relative: bool = False
  paid: bool = False


class Sample(NamedTuple):
  """Returns of a pick.

  Attributes:
    returns: [seeds, N, R, E]; of a reference one seed, one run: its means.
    optimum: [N]; None where returns are no shares of it.
    scale: what a share, or a return, is multiplied by.
    offset: what is added then.
    block: so many episodes in a row have one mean.
  """
  returns: np.ndarray
  optimum: np.ndarray | None
  scale: float = 1.0
  offset: float = 0.0
  block: int = 1

  @property
  def episodes(self) -> int:
    return self.returns.shape[-1]

  def told(self, x: np.ndarray | float) -> np.ndarray | float:
    """What is told of a return."""
    unit = 1.0 if self.optimum is None else self.optimum.mean()
    return x / unit * self.scale + self.offset

  def over(self, span: figures.Span) -> np.ndarray:
    """Mean returns [seeds, N, R] over a span of episodes."""
    start, end = span[0] - 1, span[1]
    if start % self.block or end % self.block:
      raise cells.UnknownError(f'only sums over {self.block} episodes in a row')
    return figures.mean_known(self.returns[..., start:end], -1)


def sample(results: cells.Results, pick: Pick) -> Sample:
  """The returns of a pick.

  Raises:
    UnknownError: if there is no such row, or nothing of the kind in it.
  """
  curves = results.curves(pick.cell, pick.tasks)
  returns = curves.returns if pick.kind == 'model' else _reference(
      results, pick, curves)
  if pick.paid:
    if pick.kind == 'model':
      returns = np.maximum.accumulate(
          np.nan_to_num(returns) > 0, -1).astype(float)
    return Sample(returns, np.ones(returns.shape[1]), block=curves.block)
  scale, offset = 1.0, 0.0
  if pick.relative:
    random, source = (float(np.mean(curves.beside[kind])) / curves.unit
                      for kind in ('random', 'source'))
    scale, offset = 1 / (source - random), -random / (source - random)
  return Sample(returns, curves.optimum, scale, offset, curves.block)


def _reference(
    results: cells.Results, pick: Pick, curves: figures.Curves
) -> np.ndarray:
  """Mean returns of a reference [1, N, 1, E]."""
  row = results.row(pick.cell)
  kind = 'source' if pick.kind == 'summed' else pick.kind
  told = row['sets'][pick.tasks].get(kind)
  if told is None:
    raise cells.UnknownError(f'{row["name"]}: no {pick.kind}')
  if pick.paid:
    if 'paid_per_task' not in told:
      raise cells.UnknownError(f'{row["name"]}: not when its {kind} was paid')
    mean = pack.unpack(told['paid_per_task'])
  elif isinstance(told, dict) and 'per_task' in told:
    mean = pack.unpack(told['per_task'])
  else:
    # Of a mean alone, a task has its part by what can be earned there.
    share = (np.ones(curves.returns.shape[1]) if curves.optimum is None
             else curves.optimum / curves.optimum.mean())
    mean = share[:, None] * curves.beside[kind]
  if pick.kind == 'summed':
    mean = mean[:, np.arange(curves.episodes) // told.get('actors', 1)]
  return mean[None, :, None]
