"""Runs that are ended from outside: kill -9, SIGTERM, SIGINT."""

import dataclasses
import functools
import signal
import time
from typing import NamedTuple

from experiments.faults_process import Process
from experiments.faults_runs import Bench
from experiments.faults_table import Jobs
from experiments.faults_table import Trial

# start: what comes before all others. evaluate: all that comes after training.
STAGES = ('start', 'generate', 'compile', 'train', 'save', 'evaluate')
# Seconds within which a run that is asked to has saved its state and left.
PROMPT = 30.0


class Blow(NamedTuple):
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


def kill(stage: str) -> Blow:
  return Blow(f'kill -9 in {stage}', stage, (signal.SIGKILL,), 137, 1)


def ask(number: int, times: int, stage: str) -> Blow:
  name = signal.Signals(number).name
  return Blow(f'{name} {"twice" if times == 2 else "once"}', stage,
              (number,) * times, 128 + number, 0)


def strike(
    bench: Bench, process: Process, blow: Blow | None
) -> Trial | None:
  """Ends a process: what there is to tell yet; None if it ended by itself."""
  if blow is None:
    process.end()
    return None
  delay = bench.generator.uniform(0, max(0.03, bench.lengths[blow.stage]))
  if blow.stage == 'start':
    process.wait('@begin', seconds=delay)
  else:
    # Of many epochs, the first or the second: a run is to meet many blows.
    times = bench.generator.randint(1, 1 + (blow.stage in ('train', 'save')))
    if not process.wait(f'@begin {blow.stage}', times):
      process.end()
      return None
    time.sleep(delay)
  begin = time.monotonic()
  process.send(blow.signals[0])
  for number in blow.signals[1:]:
    time.sleep(0.2)
    process.send(number)
  code, spent = process.end(), time.monotonic() - begin
  if blow.code == 137:
    return Trial(blow.case) if code == 137 else None
  return Trial(blow.case, may_lose=blow.may_lose, kept={
      f'exits {blow.code}, not {code}': code == blow.code,
      f'within {PROMPT:.0f} s': spent < PROMPT})


def chain(bench: Bench, blows: list[Blow], cold: bool = False) -> list[Trial]:
  """One run is hit, taken up, hit again, until it is left to end.

  Args:
    bench: where.
    blows: in this order.
    cold: nothing is compiled at first, and programs are kept as it goes.

  Returns:
    A trial of each blow that met a living process.
  """
  workdir, cache = bench.fresh(), bench.fresh() if cold else None
  trials, untold, computed = [], [], 0
  for blow in [*blows, None]:
    process = bench.start(workdir, cache=cache)
    trial = strike(bench, process, blow)
    # Where it took up is only said once histories are made again; what was lost
    # by then is the first blow's.
    if process.heard('@state') or process.heard('@begin train'):
      for index in untold:
        trials[index] = dataclasses.replace(
            trials[index], survived=True, seconds=process.at_work(),
            lost=computed - process.taken_up if index == untold[0] else 0)
      untold, computed = [], process.computed
    if trial is None:
      break
    untold.append(len(trials))
    trials.append(trial)
  same = bench.same(process, workdir)
  if process.code:
    error = process.error.strip()[-200:]
    trials[-1] = dataclasses.replace(
        trials[-1], survived=False, kept={f'says {error!r}': False})
  return [dataclasses.replace(trial, same=same) for trial in trials]


def kills(
    bench: Bench, quick: bool
) -> Jobs:
  """Chains that meet every stage equally often, evaluation at the end."""
  chains, each = (2, 1) if quick else (6, 9)
  for index in range(chains):
    early = [kill(stage) for stage in STAGES[:-1]] * each
    bench.generator.shuffle(early)
    late = [kill(STAGES[-1])] * each
    yield functools.partial(
        chain, bench, early + late, cold=index == 0 and not quick)


def requests(
    bench: Bench, quick: bool
) -> Jobs:
  """SIGTERM and SIGINT, once and twice, in every stage."""
  for number in (signal.SIGTERM, signal.SIGINT):
    yield functools.partial(chain, bench, [
        ask(number, times, stage)
        for stage in (('train',) if quick else STAGES) for times in (1, 2)])


def long_epochs(
    bench: Bench, quick: bool
) -> Jobs:
  """A run whose epochs take longer than it may stay."""
  if not quick:
    yield functools.partial(long_epoch, bench)


def long_epoch(bench: Bench) -> list[Trial]:
  workdir = bench.fresh()
  # Minutes, on any processor.
  settings = {'distill.updates_per_epoch': 200_000}
  process = bench.start(workdir, settings=settings)
  process.wait('@begin train')
  found = strike(bench, process, ask(signal.SIGTERM, 1, 'train'))
  again = bench.start(workdir, settings=settings)
  survived = again.wait('@begin train')
  again.stop()
  return [dataclasses.replace(
      found, case='SIGTERM in a long epoch', survived=survived,
      seconds=again.at_work())]
