"""What came of each injection of a fault, and the table of them all."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import statistics
from typing import NamedTuple


class NotPossible(Exception):
  """The machine does not let this fault be made; no promise is broken."""


@dataclasses.dataclass(frozen=True)
class Trial:
  """One injection and what came of it; None where there is nothing to tell.

  Attributes:
    case: which fault it was.
    survived: the work went on afterwards, or ended as it should.
    lost: epochs that had been computed and were not there afterwards.
    same: all that was left is bitwise that of the undisturbed run.
    detected: the fault was named.
    seconds: from the start of the next process until it was at work.
    kept: {what else was promised: whether it was kept}.
    who: whose work it was; only ours is held to the promises.
    may_lose: epochs that may be lost.
    exact: whether arithmetic here is such that all must be same.
  """
  case: str
  survived: bool | None = None
  lost: int | None = None
  same: bool | None = None
  detected: bool | None = None
  seconds: float | None = None
  kept: Mapping[str, bool] = dataclasses.field(default_factory=dict)
  who: str = 'adjax'
  may_lose: int = 1
  exact: bool = True

  @property
  def broken(self) -> list[str]:
    """The promises that were not kept."""
    found = [name for name in ('survived', 'same', 'detected')
             if getattr(self, name) is False
             and (self.exact or name != 'same')]
    if self.lost is not None and self.lost > self.may_lose:
      found.append(f'loses at most {self.may_lose}')
    return found + [name for name, kept in self.kept.items() if not kept]


Job = Callable[[], list[Trial]]
Jobs = Iterator[Job]


class Row(NamedTuple):
  """All trials of one case; shares are of those in which there is one to tell.

  Attributes:
    fault: of FAULTS.
    case: which of its cases.
    who: adjax, or a peer.
    injections: trials.
    survived: the share of them.
    lost_median: epochs.
    lost_max: epochs.
    same: the share that ended bitwise as an undisturbed run.
    detected: the share.
    seconds: to recover, the median.
    broken: the promises that were not kept.
  """
  fault: str
  case: str
  who: str
  injections: int
  survived: float | None
  lost_median: float | None
  lost_max: int | None
  same: float | None
  detected: float | None
  seconds: float | None
  broken: list[str]

  def __str__(self):
    share = lambda x: '' if x is None else f'{x:.0%}'
    lost = ('' if self.lost_max is None
            else f'{self.lost_median:g} / {self.lost_max}')
    seconds = '' if self.seconds is None else f'{self.seconds:.1f}'
    text = (f'{self.case:46} {self.who:6} {self.injections:>4} '
            f'{share(self.survived):>8} {lost:>8} {share(self.same):>5} '
            f'{share(self.detected):>8} {seconds:>7}')
    return text + ''.join(f'\n  BROKEN: {name}' for name in self.broken)


HEADER = (f'{"fault":46} {"who":6} {"hits":>4} {"survived":>8} {"lost":>8} '
          f'{"same":>5} {"detected":>8} {"seconds":>7}')


def rows(fault: str, trials: Sequence[Trial]) -> list[Row]:
  """A row for each case and whose it was, in order of their first trial."""
  grouped = {}
  for trial in trials:
    grouped.setdefault((trial.case, trial.who), []).append(trial)
  return [_row(fault, case, who, some) for (case, who), some in grouped.items()]


def _row(fault, case, who, trials):
  told = lambda name: [getattr(trial, name) for trial in trials
                       if getattr(trial, name) is not None]
  some = lambda function, values: function(values) if values else None
  # Only ours was promised anything.
  broken = sorted({name for trial in trials for name in trial.broken
                   if who == 'adjax'})
  return Row(fault, case, who, len(trials),
             some(statistics.mean, told('survived')),
             some(statistics.median, told('lost')), some(max, told('lost')),
             some(statistics.mean, told('same')),
             some(statistics.mean, told('detected')),
             some(statistics.median, told('seconds')), broken)


def summary(found: Sequence[Row]) -> str:
  """One line on all rows."""
  ours = [row for row in found if row.who == 'adjax']
  broken = [row.case for row in ours if row.broken]
  count = sum(row.injections for row in ours)
  if broken:
    return (f'{count} injections: promises are BROKEN in {len(broken)} of '
            f'{len(ours)} rows: {"; ".join(broken)}')
  return f'{count} injections: every promise was kept in {len(ours)} rows'
