"""Seconds from nothing to .95 of the optimum on goals never trained on.

  python -m experiments.speedrun [--seeds=5] [--experiment=quick] [--set ...]

From before the process of a run is there until the first epoch is saved whose
mean return over episodes 41 to 50 on validation tasks is .95 of the optimum:
imports, compilation, histories, training and all evaluations count. Each seed
runs with an empty compilation cache, and again with what that run left in it.
Off the clock the weights are evaluated anew, 32 runs a task with a key of their
own: below .95 then, the run was never there. Their share on held-out tasks is
told beside it and decides nothing. The exit code is 1 if a median is above its
bar.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from absl import flags
import numpy as np

from adjax import config
from adjax.cli import launcher
from adjax.experiment import progress

SHARE, FIRST, LAST, RUNS = 0.95, 41, 50, 32
# {phase: the event that ends it}, in order.
PHASES = {'start': 'begun', 'compile': 'compiled', 'generate': 'generated',
          'train': 'epoch'}
_MARK = 'speedrun: '


class Told(progress.Progress):
  """Tells when a stage has ended, and ends the run at the crossing."""

  def say(self, text: str) -> None:
    if text.startswith('compiled in'):
      tell('compiled')

  @contextlib.contextmanager
  def epochs(self, done: int, epochs: int) -> Iterator[None]:
    tell('generated')
    yield

  def epoch(
      self, line: dict[str, Any], epochs: int, seconds_left: float
  ) -> None:
    found = line['validation']
    reached = share(found['return_mean'], found['optimum'])
    tell('epoch', number=line['epoch'], share=reached)
    if reached >= SHARE:
      raise KeyboardInterrupt


def share(curve: Any, optimum: Any) -> float:
  """The mean of returns [E] that count, in parts of the optimum [N]."""
  return float(np.mean(curve[FIRST - 1:LAST]) / np.mean(optimum))


def tell(event: str, **more: Any) -> None:
  """Tells the process that has the clock."""
  print(_MARK + json.dumps({'event': event} | more), flush=True)


def run(experiment: Any, workdir: str, mesh: str = '') -> None:
  """The run that is timed, and what its last saved weights are worth."""
  import jax

  from adjax import devices
  from adjax.experiment import clock as clock_lib
  from adjax.experiment import report
  from adjax.experiment import run as run_lib
  from adjax.experiment import setup as setup_lib
  from adjax.methods import training
  from adjax.storage import checkpoint
  tell('begun')
  with contextlib.suppress(KeyboardInterrupt):
    run_lib.run(experiment, workdir, Told(), mesh=mesh, held_out=False)
  setup = setup_lib.make(experiment, mesh)
  clock = clock_lib.Clock(setup.mesh)
  saved = checkpoint.Checkpoints(os.path.join(workdir, 'checkpoints')).restore(
      run_lib.init_states(setup, clock), progress.Progress().say)
  assert saved is not None
  sets = {'validation': setup.tasks.validation,
          'held_out': setup.tasks.held_out}
  # The key after all those of a run.
  key = jax.random.fold_in(jax.random.key(experiment.seed), len(setup.keys))
  evaluation = setup.evaluation._replace(tasks=sets, key=key, num_runs=RUNS)
  program = clock.compile(
      lambda params: training.learning_curves(
          setup.trainer, jax.tree.map(lambda x: x[0], params), evaluation),
      saved[1].params)
  curves = devices.fetch(clock.run('evaluate', program, saved[1].params))
  tell('confirmed', number=saved[0], **{
      name: share(curves[name].mean((0, 1)),
                  report.optimum(setup.tasks, tasks))
      for name, tasks in sets.items()})


def measure(command: Sequence[str]) -> dict[str, Any]:
  """The outcome of a run in a process of its own, which this one times."""
  environment = os.environ.copy()
  environment.pop('JAX_COMPILATION_CACHE_DIR', None)  # It comes before flags.
  start, told = time.perf_counter(), []
  with subprocess.Popen(
      command, env=environment, stdout=subprocess.PIPE, text=True) as process:
    for line in process.stdout or ():
      seconds = time.perf_counter() - start
      if line.startswith(_MARK):
        told.append((seconds, json.loads(line.removeprefix(_MARK))))
  if process.returncode:  # It has said why.
    raise RuntimeError(f'a run ended with exit code {process.returncode}')
  return outcome(told)


def outcome(told: Sequence[tuple[float, dict[str, Any]]]) -> dict[str, Any]:
  """The figures of a run of which (seconds, event) were told, in order."""
  at = {event['event']: (seconds, event) for seconds, event in told}
  ends = [at[event][0] for event in PHASES.values()]
  epoch, anew = at['epoch'][1], at['confirmed'][1]
  there = (epoch['number'] == anew['number'] and epoch['share'] >= SHARE
           and anew['validation'] >= SHARE)
  return {
      'seconds': ends[-1] if there else math.inf,
      'phases': dict(zip(PHASES, np.diff(ends, prepend=0.0).tolist())),
      'epoch': epoch['number'], 'share': epoch['share'],
      'confirmed': anew['validation'], 'held_out': anew['held_out']}


def shown(found: dict[str, Any]) -> str:
  """An outcome in a few words."""
  phases = ', '.join(f'{x} {y:.1f}' for x, y in found['phases'].items())
  return ('{seconds:.1f} s ({0}; epoch {epoch}: {share:.3f}, confirmed '
          '{confirmed:.3f}, held out {held_out:.3f})').format(phases, **found)


def command(seed: int, folder: str, name: str) -> list[str]:
  """What starts a run of a seed, in a folder that it shares its programs in."""
  told = flags.FLAGS.get_flags_for_module(launcher.__name__)
  given = '\n'.join(flag.serialize() for flag in told if flag.present)
  return [
      sys.executable, '-m', 'experiments.speedrun', *given.splitlines(),
      f'--set=seed={seed}', '--set=seeds=1', f'--workdir={folder}/{name}',
      f'--compilation_cache={folder}/cache']


def race(seeds: Sequence[int]) -> dict[str, Any]:
  """Runs all seeds and prints a line for each: medians and outcomes."""
  found: dict[str, list[dict[str, Any]]] = {'cold': [], 'warm': []}
  for seed in seeds:
    with tempfile.TemporaryDirectory(prefix='adjax-') as folder:
      for name, outcomes in found.items():
        outcomes.append(measure(command(seed, folder, name)))
    print(f'seed {seed} ', *(f'{name} {shown(outcomes[-1])} '
                            for name, outcomes in found.items()), flush=True)
  return {name: statistics.median(x['seconds'] for x in outcomes)
          for name, outcomes in found.items()} | {'runs': found}


def check(experiment: Any) -> None:
  """Refuses what cannot be timed."""
  from adjax.experiment import report
  from adjax.experiment import setup as setup_lib
  episodes = experiment.evaluate.episodes
  config.check('evaluate.episodes', episodes, episodes >= LAST,
               f'at least {LAST}, the last that counts')
  tasks = setup_lib.make(experiment).tasks
  optimum = report.optimum(tasks, tasks.validation)
  config.check('tasks', type(experiment.tasks).__module__,
               optimum is not None and min(optimum) > 0,
               'some of which the optimal return is known, and above 0')


def records(path: str) -> list[dict[str, Any]]:
  """What a file holds that another record is to be added to."""
  found: Any = None if os.path.exists(path) else []
  with contextlib.suppress(OSError, ValueError):
    found = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  folder = os.path.dirname(path) or '.'
  config.check('--output', path,
               isinstance(found, list) and os.access(folder, os.W_OK),
               'a JSON list, or none yet, in a folder that can be written')
  return found


def main() -> int:
  """Times runs, or is one of them: the exit code."""
  given, experiment = flags.FLAGS, launcher.experiment()
  if given.workdir:
    run(experiment, given.workdir)
    return 0
  # Runs want the memory of an accelerator, too.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  from adjax.experiment import again
  from adjax.experiment import specification
  from adjax.experiment import workdir
  from adjax.storage import files
  from experiments.results import row
  check(experiment)
  before, first = records(given.output), experiment.seed
  record = {
      'date': str(datetime.date.today()), 'brought': given.brought,
      'command': again.command(specification.describe(experiment)),
      'commit': row.commit_of(),
  } | workdir.machine() | race(range(first, first + given.seeds))
  bars = {'cold': given.cold_bar, 'warm': given.warm_bar}
  print('median  ' + '  '.join(f'{name} {record[name]:.1f} s, at most {bar:g}'
                               for name, bar in bars.items()))
  if given.output:
    files.write_json(given.output, [*before, record])
  return int(any(record[name] > bar for name, bar in bars.items()))


def start(argv: Sequence[str] | None = None) -> None:
  """The program. Flags are made here, since others have some of their names."""
  flags.DEFINE_integer('seeds', 5, 'How many, from the experiment\'s on.', 1)
  flags.DEFINE_float('cold_bar', 45.0, 'The most seconds with no programs.')
  flags.DEFINE_float('warm_bar', 30.0, 'The most with compiled ones.')
  flags.DEFINE_string('output', '', 'A JSON list that a record is added to.')
  flags.DEFINE_string('brought', '', 'For the record: what made it faster.')
  flags.DEFINE_string('workdir', '', 'Of a run that is being timed.')
  launcher.start(main, argv)


if __name__ == '__main__':
  start()
