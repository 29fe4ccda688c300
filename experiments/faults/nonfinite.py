"""Numbers that are not finite, and the same numbers on other devices."""

import functools
import json
import pathlib
import signal

import numpy as np

from experiments.faults.harness import EPOCHS
from experiments.faults.harness import Harness
from experiments.faults.harness import UPDATES
from experiments.faults.table import Jobs
from experiments.faults.table import Trial

# By which losses on other devices may differ.
TOLERANCE = 1e-5


def gradients(harness: Harness, quick: bool) -> Jobs:
  """NaN in the loss and all gradients; infinity in that of one weight."""
  # Each is a program of its own, which takes its time to compile.
  yield functools.partial(_one_seed, harness, 'inf')
  if not quick:
    yield functools.partial(_one_seed, harness, 'nan')
    for kind in ('nan', 'inf'):
      yield functools.partial(_ten_in_a_row, harness, kind)


def _one_seed(harness, kind):
  """All updates of one of two seeds, in the last epoch but one."""
  workdir = harness.unfinished(back=2)
  first = UPDATES * (EPOCHS - 2)
  process = harness.run(
      workdir, inject=[f'gradient:{kind}:{first}:{UPDATES}:0'])
  before, during, after = (
      _learnt(process, EPOCHS - back) or [None] * 2 for back in (2, 1, 0))
  return [Trial(
      f'{kind} in the gradients of one seed', survived=process.code == 0,
      same=process.states.get(EPOCHS, [0, 0])[1] == harness.states[EPOCHS][1],
      detected=skipped(workdir)[-2:] == [UPDATES, 0], kept={
          'weights and moments are unchanged': before[0] == during[0],
          'it learns on': during[0] != after[0]})]


def _ten_in_a_row(harness, kind):
  workdir = harness.new_folder()
  process = harness.run(
      workdir, inject=[f'gradient:{kind}:{2 * UPDATES}:1000:-1'])
  return [Trial(
      f'{kind} in all gradients from some update on',
      detected='10 updates in a row' in process.error,
      same=_learnt(process, process.computed) == _learnt(process, 2) != [],
      kept={'exits 1': process.code == 1,
            'after 10 updates': process.computed <= 2 + -(-10 // UPDATES)})]


def _learnt(process, epoch):
  """Digests of all that updates change in a state, seed by seed."""
  return [(digest['params'], digest['opt_state'])
          for digest in process.states.get(epoch, [])]


def skipped(workdir: pathlib.Path) -> list[int]:
  """How many updates were skipped in each epoch, all seeds together."""
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [int(np.sum(json.loads(line)['skipped'])) for line in lines]


def diverging_learners(harness: Harness, quick: bool) -> Jobs:
  """Source learners of one task get NaN into their state."""
  for task in (5,) if quick else (0, 5, 17):
    yield functools.partial(_diverging_learner, harness, task)


def _diverging_learner(harness, task):
  workdir = harness.new_folder()
  process = harness.run(workdir, settings={
      'source': f'{harness.tiny}:Diverging', 'source.task': task,
      'method.epochs': 2})
  return [Trial(
      'NaN in the source learners of one task', survived=process.code == 0,
      detected=any(f'of task {task}' in line
                   for _, line in process.heard('left out 2 ')),
      kept={'nothing is skipped': process.code != 0
                                  or sum(skipped(workdir)) == 0})]


def devices(harness: Harness, quick: bool) -> Jobs:
  """Two epochs on 1 device, half of the others on 4, the rest on 2."""
  if not quick:
    yield functools.partial(_devices, harness)


def _devices(harness):
  workdir, codes = harness.new_folder(), []
  for count, until in ((1, 2), (4, EPOCHS // 2), (2, EPOCHS)):
    process = harness.start(workdir, f'--cpu_devices={count}')
    process.wait(f'@end save {until}')
    if until < EPOCHS:
      process.send(signal.SIGTERM)
    codes.append(process.end())
  a, b = (np.array([json.loads(line)['loss_per_seed'] for line in
                    (folder / 'metrics.jsonl').read_text().splitlines()])
          for folder in (harness.undisturbed, workdir))
  same = a.shape == b.shape and bool(
      (np.abs(a - b) <= TOLERANCE * np.maximum(1, np.abs(a))).all())
  return [Trial('devices 1 -> 4 -> 2', survived=codes == [143, 143, 0],
                kept={f'losses agree to {TOLERANCE:.0e}': same})]
