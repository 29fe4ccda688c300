"""Numbers that are not finite, and the same numbers on other devices."""

import functools
import json
import signal

import numpy as np

from experiments.faults_runs import Bench
from experiments.faults_runs import EPOCHS
from experiments.faults_runs import UPDATES
from experiments.faults_table import Jobs
from experiments.faults_table import Trial


def gradients(bench: Bench, quick: bool) -> Jobs:
  """NaN in the loss and all gradients; infinity in that of one weight."""
  # Each is a program of its own, which takes its time to compile.
  yield functools.partial(_one_seed, bench, 'inf')
  if not quick:
    yield functools.partial(_one_seed, bench, 'nan')
    for kind in ('nan', 'inf'):
      yield functools.partial(_ten_in_a_row, bench, kind)
      yield functools.partial(_skipped, bench, kind)


def _skipped(bench, kind):
  """All updates of the last epoch but one are hit, in both seeds."""
  workdir = bench.unfinished(back=2)
  first = UPDATES * (EPOCHS - 2)
  process = bench.run(
      workdir, inject=[f'gradient:{kind}:{first}:{UPDATES}:-1'])
  before, hit, last = (_learnt(process, EPOCHS - back) for back in (2, 1, 0))
  return [Trial(
      f'{kind} in the gradients of some updates', survived=process.code == 0,
      same=before == hit != last,
      detected=skipped(workdir)[-2:] == [2 * UPDATES, 0])]


def _learnt(process, epoch):
  """Digests of all that updates change in a state, seed by seed."""
  return [(digest['params'], digest['opt_state'])
          for digest in process.states.get(epoch, [])]


def skipped(workdir) -> list[int]:
  """How many updates were skipped in each epoch, all seeds together."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [int(np.sum(json.loads(line)['skipped'])) for line in lines]


def _one_seed(bench, kind):
  workdir = bench.unfinished(back=2)
  first = UPDATES * (EPOCHS - 2)
  process = bench.run(workdir, inject=[f'gradient:{kind}:{first}:2:0'])
  ill, well = process.states.get(EPOCHS, [None, None])
  ill_before, well_before = bench.states[EPOCHS]
  return [Trial(
      f'{kind} in the gradients of one seed', survived=process.code == 0,
      same=well == well_before, detected=skipped(workdir)[-2:] == [2, 0],
      kept={'the seed is hit': ill != ill_before})]


def _ten_in_a_row(bench, kind):
  workdir = bench.fresh()
  process = bench.run(
      workdir, inject=[f'gradient:{kind}:{2 * UPDATES}:1000:-1'])
  return [Trial(
      f'{kind} in all gradients from some update on',
      detected='10 updates in a row' in process.error,
      same=_learnt(process, process.computed) == _learnt(process, 2) != [],
      kept={'exits 1': process.code == 1,
            'after 10 updates': process.computed <= 2 + -(-10 // UPDATES)})]


def sick_learner(bench: Bench, quick: bool) -> Jobs:
  for task in (5,) if quick else (5, 17, 40):
    yield functools.partial(_sick_learner, bench, task)


def _sick_learner(bench, task):
  workdir = bench.fresh()
  # Whose state is a table of numbers; the undisturbed run's has none.
  process = bench.run(
      workdir, '--experiment=dark_room_q', inject=[f'sick_learner:{task}:30'],
      settings={'distill.epochs': 2, 'data.every': 1})
  return [Trial(
      'NaN in the source learners of one task', survived=process.code == 0,
      detected=any(f'of task {task}' in line
                   for _, line in process.heard('dropped 2 ')),
      kept={'nothing is skipped': process.code != 0
                                  or sum(skipped(workdir)) == 0})]


# Devices.

TOLERANCE = 1e-5


def devices(bench: Bench, quick: bool) -> Jobs:
  """Beside the undisturbed run, and one of single updates on one device."""
  if not quick:
    yield functools.partial(_devices, bench, {}, 19, lambda: bench.undisturbed)
    single = {'distill.epochs': 102, 'distill.updates_per_epoch': 1}

    def straight():
      workdir = bench.fresh()
      bench.run(workdir, '--cpu_devices=1', settings=single)
      return workdir

    yield functools.partial(_devices, bench, single, 50, straight)


def _devices(bench, settings, length, straight):
  """Two epochs on 1 device, so many on 4 and on 2, beside another run."""
  workdir, codes = bench.fresh(), []
  for count, until in ((1, 2), (4, 2 + length), (2, 2 + 2 * length)):
    process = bench.start(
        workdir, f'--cpu_devices={count}', settings=settings)
    process.wait(f'@end save {until}')
    process.send(signal.SIGTERM)
    codes.append(process.end())
  a, b = (np.array([json.loads(line)['loss_per_seed'] for line in
                    (folder / 'metrics.jsonl').read_text().splitlines()])
          for folder in (straight(), workdir))
  same = a.shape == b.shape and bool(
      (np.abs(a - b) <= TOLERANCE * np.maximum(1, np.abs(a))).all())
  return [Trial('devices 1 -> 4 -> 2', survived=codes == [143] * 3,
                kept={f'losses agree to {TOLERANCE:.0e}': same})]
