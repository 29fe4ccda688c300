"""Runs that are ended from outside: kill -9, SIGTERM, SIGINT."""

import dataclasses
import functools
import signal
import time
from typing import NamedTuple

from experiments.faults.harness import Harness
from experiments.faults.process import Process
from experiments.faults.table import Jobs
from experiments.faults.table import Trial

# start: what comes before all others. evaluate: all that comes after training.
STAGES = ('start', 'generate', 'compile', 'train', 'save', 'evaluate')
# Seconds within which a run that is asked to has saved its state and left.
PROMPT = 30.0
# Kills in each stage of one run, which has epochs enough to meet them all.
_MOST = 6


class End(NamedTuple):
  """How a process is ended, and when.

  Attributes:
    case: what the table calls it.
    stage: it comes while the run does this.
    signals: what it is sent, with 0.2 s between.
    code: the exit code promised.
    may_lose: epochs that it may cost.
  """
  case: str
  stage: str
  signals: tuple[int, ...]
  code: int
  may_lose: int


def kill(stage: str) -> End:
  """kill -9 in a stage."""
  return End(f'kill -9 in {stage}', stage, (signal.SIGKILL,), 137, 1)


def ask(number: int, times: int, stage: str) -> End:
  """A signal that asks a run to stop, once or twice, in a stage."""
  name = signal.Signals(number).name
  return End(f'{name} {"twice" if times == 2 else "once"}', stage,
             (number,) * times, 128 + number, 0)


def inject(harness: Harness, process: Process, end: End) -> Trial | None:
  """Ends a process: what there is to tell yet; None if it ended by itself."""
  delay = harness.generator.uniform(0, max(0.03, harness.lengths[end.stage]))
  if end.stage == 'start':
    process.wait('@begin', seconds=delay)
  else:
    # Of many epochs, the first or the second: a run is to meet many of these.
    times = harness.generator.randint(1, 1 + (end.stage in ('train', 'save')))
    if not process.wait(f'@begin {end.stage}', times):
      process.end()
      return None
    time.sleep(delay)
  begin = time.monotonic()
  process.send(end.signals[0])
  for number in end.signals[1:]:
    time.sleep(0.2)
    process.send(number)
  code, spent = process.end(), time.monotonic() - begin
  if end.code == 137:
    return Trial(end.case) if code == 137 else None
  return Trial(end.case, may_lose=end.may_lose, kept={
      f'exits {end.code}, not {code}': code == end.code,
      f'within {PROMPT:.0f} s': spent < PROMPT})


def chain(harness: Harness, ends: list[End], cold: bool = False) -> list[Trial]:
  """One run is ended, resumed, ended again, until it is left to its own end.

  Args:
    harness: where.
    ends: in this order.
    cold: nothing is compiled at first, and programs are kept as it goes.

  Returns:
    A trial of each end that met a living process.
  """
  workdir = harness.new_folder()
  cache = harness.new_folder() if cold else None
  trials, untold, computed = [], [], 0
  for end in [*ends, None]:
    process = harness.start(workdir, cache=cache)
    trial = inject(harness, process, end) if end else None
    if end is None:
      process.end()
    # Where it resumed is only said once programs are compiled; what was lost by
    # then is the first end's.
    if process.heard('@state') or process.heard('@begin train'):
      for index in untold:
        trials[index] = dataclasses.replace(
            trials[index], survived=True, seconds=process.at_work(),
            lost=computed - process.resumed if index == untold[0] else 0)
      untold, computed = [], process.computed
    if trial is None:
      break
    untold.append(len(trials))
    trials.append(trial)
  same = harness.same(process, workdir)
  if process.code:
    error = process.error.strip()[-200:]
    trials[-1] = dataclasses.replace(
        trials[-1], survived=False, kept={f'says {error!r}': False})
  return [dataclasses.replace(trial, same=same) for trial in trials]


def kills(harness: Harness, quick: bool, number: int = 0) -> Jobs:
  """Chains that meet every stage equally often, evaluation at the end.

  Args:
    harness: where.
    quick: every stage once.
    number: of kills, up to a multiple of the stages; 0 for 6 or 324.
  """
  each = -(-(number or (6 if quick else 324)) // len(STAGES))
  for begin in range(0, each, _MOST):
    share = min(_MOST, each - begin)
    early = [kill(stage) for stage in STAGES[:-1]] * share
    harness.generator.shuffle(early)
    yield functools.partial(
        chain, harness, early + [kill(STAGES[-1])] * share,
        cold=not (begin or quick))


def requests(harness: Harness, quick: bool) -> Jobs:
  """SIGTERM and SIGINT, once and twice, in every stage."""
  if quick:
    yield functools.partial(chain, harness, [
        ask(signal.SIGTERM, 1, 'train'), ask(signal.SIGINT, 2, 'train')])
    return
  for number in (signal.SIGTERM, signal.SIGINT):
    yield functools.partial(chain, harness, [
        ask(number, times, stage) for stage in STAGES for times in (1, 2)])


def long_epochs(harness: Harness, quick: bool) -> Jobs:
  """A run whose epochs take longer than it may stay."""
  if not quick:
    yield functools.partial(_long_epoch, harness)


def _long_epoch(harness):
  workdir = harness.new_folder()
  # Minutes, on any processor.
  settings = {'method.updates_per_epoch': 200_000}
  process = harness.start(workdir, settings=settings)
  process.wait('@begin train')
  found = inject(harness, process, ask(signal.SIGTERM, 1, 'train'))
  again = harness.start(workdir, settings=settings)
  survived = again.wait('@begin train')
  again.stop()
  return [dataclasses.replace(
      found, case='SIGTERM in a long epoch', survived=survived,
      seconds=again.at_work())]
