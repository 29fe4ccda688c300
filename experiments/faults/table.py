"""What came of each injection of a fault, and the table of them all."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import statistics
from typing import Any


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
    who: whose work it was; only adjax is held to the promises.
    may_lose: epochs that may be lost.
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

  def broken(self, exact: bool = True) -> list[str]:
    """The promises that were not kept; exact: whether `same` is one."""
    if self.who != 'adjax':
      return []
    found = [name for name in ('survived', 'same', 'detected')
             if getattr(self, name) is False and (exact or name != 'same')]
    if self.lost is not None and self.lost > self.may_lose:
      found.append(f'loses at most {self.may_lose}')
    return found + [name for name, kept in self.kept.items() if not kept]


Job = Callable[[], Sequence[Trial]]
Jobs = Iterator[Job]
Row = dict[str, Any]


def rows(
    fault: str, trials: Sequence[Trial], exact: bool = True
) -> list[Row]:
  """A row for each case and whose it was, in order of their first trial.

  Args:
    fault: the kind of fault.
    trials: all of it.
    exact: whether arithmetic here is such that all must be the same.
  """
  grouped: dict[tuple[str, str], list[Trial]] = {}
  for trial in trials:
    grouped.setdefault((trial.case, trial.who), []).append(trial)
  return [_row(fault, some, exact) for some in grouped.values()]


def _row(fault, trials, exact):
  """Shares, medians and the most of what there is to tell."""
  row = {'fault': fault, 'case': trials[0].case, 'who': trials[0].who,
         'injections': len(trials)}
  for name, key, function in (
      ('survived', 'survived', statistics.mean),
      ('lost', 'lost_median', statistics.median), ('lost', 'lost_max', max),
      ('same', 'same', statistics.mean),
      ('detected', 'detected', statistics.mean),
      ('seconds', 'seconds', statistics.median)):
    told = [getattr(trial, name) for trial in trials
            if getattr(trial, name) is not None]
    row[key] = function(told) if told else None
  return row | {'broken': sorted(
      {name for trial in trials for name in trial.broken(exact)})}


_LINE = '{:42} {:6} {:>4} {:>8} {:>8} {:>5} {:>8} {:>7}'
HEADER = _LINE.format('fault', 'who', 'hits', 'survived', 'lost', 'same',
                      'detected', 'seconds')


def line(row: Row) -> str:
  """A row as it is printed."""
  def told(text, *names):
    return '' if row[names[0]] is None else text.format(
        *(row[name] for name in names))

  return _LINE.format(
      row['case'], row['who'], row['injections'], told('{:.0%}', 'survived'),
      told('{:g} / {}', 'lost_median', 'lost_max'), told('{:.0%}', 'same'),
      told('{:.0%}', 'detected'), told('{:.1f}', 'seconds')) + ''.join(
          f'\n  BROKEN: {name}' for name in row['broken'])


def summary(found: Sequence[Row]) -> str:
  """One line on all rows."""
  ours = [row for row in found if row['who'] == 'adjax']
  broken = [row['case'] for row in ours if row['broken']]
  count = sum(row['injections'] for row in ours)
  if broken:
    return (f'{count} injections: promises are BROKEN in {len(broken)} of '
            f'{len(ours)} rows: {"; ".join(broken)}')
  return f'{count} injections: every promise was kept in {len(ours)} rows'
