"""Runs in processes of their own, to be hit by faults and compared."""

from collections.abc import Iterable
from collections.abc import Mapping
import hashlib
import json
import os
import pathlib
import random
import shutil
import statistics
import tempfile
import threading
from typing import Any

from experiments.faults_process import Process
from experiments.faults_process import ROOT

# The preset quick, so small that starting it takes longer than running it.
EPOCHS = 40
UPDATES = 4
TINY = {
    'data.histories': 2, 'data.episodes': 4, 'model.layers': 1,
    'model.width': 16, 'model.window': 40, 'model.feed_forward': 32,
    'distill.epochs': EPOCHS, 'distill.updates_per_epoch': UPDATES,
    'distill.batch_size': 4, 'distill.length': 60, 'evaluate.episodes': 5,
    'evaluate.runs': 1, 'evaluate.train_tasks': 3,
    'evaluate.held_out_runs': 2, 'evaluate.reference_runs': 3, 'seeds': 2,
    'tasks.num_validation': 7}


class Bench:
  """Where runs are made and compared with what they are without a fault.

  Attributes:
    folder: for everything.
    cache: where compiled programs are kept.
    generator: of all that is random about the faults.
    undisturbed: the workdir of the run without a fault, once prepared.
    states: its, as of Process.
    lengths: the usual seconds of each of its stages.
    exact: whether runs here are bitwise reproducible: on a CPU, or with
      deterministic operations.
  """

  def __init__(self, folder: str, cache: str, seed: int = 0):
    self.folder, self.cache = pathlib.Path(folder), cache
    self.generator = random.Random(seed)
    self._processes = []
    self._lock = threading.Lock()

  def fresh(self) -> pathlib.Path:
    """An empty folder."""
    return pathlib.Path(tempfile.mkdtemp(dir=self.folder))

  def start(
      self, workdir: Any, *args: str, inject: Iterable[str] = (),
      settings: Mapping[str, Any] | None = None, cache: Any = None,
  ) -> Process:
    """Starts a tiny run, or takes one up.

    Args:
      workdir: of the run.
      *args: of the program; in place of those given here if the same.
      inject: faults of experiments/faults_child.py.
      settings: fields in place of TINY's.
      cache: where compiled programs are kept, if not where all are.
    """
    return self.process(
        'experiments.faults_child', *self.flags(settings or {}, cache),
        f'--workdir={workdir}', *(f'--inject={fault}' for fault in inject),
        *args)

  def flags(self, settings: Mapping[str, Any], cache: Any = None) -> list[str]:
    """Of a tiny run, with these fields in place of TINY's."""
    sets = TINY | dict(settings)
    return ['--experiment=quick', '--cpu_devices=2',
            f'--compilation_cache={cache or self.cache}',
            *(f'--set={name}={value}' for name, value in sets.items())]

  def process(self, *args: str, cwd: Any = ROOT) -> Process:
    """Starts a module, which does not outlive the bench."""
    process = Process(['-m', *args], cwd)
    self._processes.append(process)
    return process

  def run(self, workdir: Any, *args: str, **kwargs: Any) -> Process:
    """As start, and waits for its end."""
    process = self.start(workdir, *args, **kwargs)
    process.end()
    return process

  def close(self) -> None:
    for process in self._processes:
      process.stop()

  def prepare(self) -> None:
    """Makes the run that all others are compared with.

    Raises:
      RuntimeError: if it fails.
    """
    workdir = self.fresh()
    process = self.run(workdir)
    if process.code:
      raise RuntimeError(f'the undisturbed run fails: {process.error[-500:]}')
    self.undisturbed, self.states = workdir, process.states
    found, begun = {}, 0.0
    for seconds, line in process.heard('@'):
      if line.startswith('@begin'):
        begun = seconds
      elif line.startswith('@end'):
        found.setdefault(line.split()[1], []).append(seconds - begun)
    last = process.heard('@begin evaluate')[0][0]
    self.lengths = {stage: statistics.median(x) for stage, x in found.items()}
    self.lengths |= {
        'start': process.heard('@begin')[0][0],
        # Short of the end, at which there would be nothing left to hit.
        'evaluate': 0.7 * (process.lines[-1][0] - last)}
    device = json.loads((workdir / 'result.json').read_text())['device']
    self.exact = ' x cpu,' in device or 'deterministic_ops=true' in (
        os.environ.get('XLA_FLAGS', ''))

  def unfinished(self, back: int = 0, into: Any = None) -> pathlib.Path:
    """A copy of the undisturbed run that has yet to write its result.

    Args:
      back: so many of its epochs were computed, but not saved.
      into: a folder for it that is not there yet; default: a fresh one.
    """
    folder = pathlib.Path(into) if into else self.fresh() / 'run'
    shutil.copytree(self.undisturbed, folder, ignore=lambda at, names: [
        name for name in names if name in ('result.json', 'lock')
        or name.endswith('.png')
        or (pathlib.Path(at).name == 'checkpoints' and name.isdigit()
        and int(name) > EPOCHS - back)])
    return folder

  def same(self, process: Process, workdir: Any) -> bool:
    """Whether a run has ended, and bitwise as the undisturbed one."""
    return (process.code == 0
            and timeless(workdir) == timeless(self.undisturbed)
            # One that finds its result there already restores nothing.
            and process.states.get(EPOCHS, self.states[EPOCHS])
            == self.states[EPOCHS])



def timeless(workdir: Any) -> tuple[list[Any], dict[str, Any]]:
  """What a run has written into its workdir, but for its clocks."""
  workdir = pathlib.Path(workdir)
  lines = [json.loads(line) for line in
           (workdir / 'metrics.jsonl').read_text().splitlines()]
  result = json.loads((workdir / 'result.json').read_text())
  drop = ('seconds', 'throughput', 'transitions_per_s', 'device')
  return ([{k: x for k, x in line.items() if k not in drop} for line in lines],
          {k: x for k, x in result.items() if k not in drop})


def steps(workdir: Any) -> list[pathlib.Path]:
  """The folders of a run's checkpoints, oldest first."""
  return sorted((p for p in (pathlib.Path(workdir) / 'checkpoints').iterdir()
                 if p.name.isdigit()), key=lambda p: int(p.name))


def contents(folder: Any) -> dict[str, str]:
  """{name: digest} of all that is in a folder; links are not followed."""
  return {
      str(path.relative_to(folder)):
          os.readlink(path) if path.is_symlink() else
          hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file()
          else ''
      for path in pathlib.Path(folder).rglob('*')}
