"""Tiny runs in processes of their own, to be disturbed and compared."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import tempfile
from typing import Any

from experiments.faults import table
from experiments.faults.process import Process
from experiments.faults.process import ROOT

# Of a tiny run.
EPOCHS = 24
UPDATES = 4

Path = str | os.PathLike[str]


class Harness:
  """Where runs are made and compared with what they are without a fault.

  Attributes:
    tiny: the file of the run that is disturbed.
    folder: for everything.
    cache: where compiled programs are kept.
    generator: of all that is random about the faults.
    undisturbed: the workdir of the run without a fault, once prepared.
    states: its, as of Process.
    lengths: the usual seconds of each of its stages.
    exact: whether runs here are bitwise reproducible: on a CPU, or with
      deterministic operations.
  """
  tiny = ROOT / 'experiments' / 'faults' / 'tiny.py'

  def __init__(self, folder: Path, cache: Path, seed: int = 0):
    self.folder, self.cache = pathlib.Path(folder), cache
    self.generator = random.Random(seed)
    self._processes: list[Process] = []

  def new_folder(self) -> pathlib.Path:
    """An empty folder."""
    return pathlib.Path(tempfile.mkdtemp(dir=self.folder))

  def start(
      self, workdir: Path, *args: str, inject: Iterable[str] = (),
      settings: Mapping[str, Any] | None = None, cache: Path | None = None,
  ) -> Process:
    """Starts a tiny run, or resumes one.

    Args:
      workdir: of the run.
      *args: of the program; in place of those given here if the same.
      inject: faults of `child`.
      settings: fields in place of those of `tiny`.
      cache: where compiled programs are kept, if not where all are.
    """
    sets = [f'--set={name}={x}' for name, x in (settings or {}).items()]
    faults = [f'--inject={fault}' for fault in inject]
    return self.process(
        'experiments.faults.child', f'--experiment={self.tiny}',
        '--cpu_devices=2', f'--compilation_cache={cache or self.cache}',
        f'--workdir={workdir}', *sets, *faults, *args)

  def run(self, workdir: Path, *args: str, **kwargs: Any) -> Process:
    """As start, and waits for its end."""
    process = self.start(workdir, *args, **kwargs)
    process.end()
    return process

  def process(self, *args: str, cwd: Path = ROOT) -> Process:
    """Starts a module, which does not outlive the harness."""
    process = Process(['-m', *args], cwd)
    self._processes.append(process)
    return process

  def close(self) -> None:
    """Ends all processes."""
    for process in self._processes:
      process.stop()

  def prepare(self) -> None:
    """Makes the run that all others are compared with.

    Raises:
      RuntimeError: if it fails.
    """
    self.undisturbed = self.new_folder()
    process = self.run(self.undisturbed)
    if process.code:
      raise RuntimeError(f'the undisturbed run fails: {process.error[-500:]}')
    self.states = process.states
    found: dict[str, list[float]] = {}
    begun = 0.0
    for seconds, line in process.heard('@'):
      if line.startswith('@begin'):
        begun = seconds
      elif line.startswith('@end'):
        found.setdefault(line.split()[1], []).append(seconds - begun)
    last = process.heard('@begin evaluate')[0][0]
    self.lengths = {stage: statistics.median(x) for stage, x in found.items()}
    self.lengths |= {
        'start': process.heard('@begin')[0][0],
        # Short of the end, at which there would be nothing left to disturb.
        'evaluate': 0.7 * (process.lines[-1][0] - last)}
    device = json.loads(
        (self.undisturbed / 'result.json').read_text())['device']
    self.exact = ' x cpu,' in device or 'deterministic_ops=true' in (
        os.environ.get('XLA_FLAGS', ''))

  def unfinished(self, back: int = 0, into: Path | None = None) -> pathlib.Path:
    """A copy of the undisturbed run that has yet to write its result.

    Args:
      back: so many of its epochs were computed, but not saved.
      into: a folder for it that is not there yet; a new one by default.
    """
    folder = pathlib.Path(into) if into else self.new_folder() / 'run'
    shutil.copytree(self.undisturbed, folder, ignore=lambda at, names: [
        name for name in names if name in ('result.json', 'lock')
        or name.endswith('.png')
        or (pathlib.Path(at).name == 'checkpoints' and name.isdigit()
            and int(name) > EPOCHS - back)])
    return folder

  def same(self, process: Process, workdir: Path) -> bool:
    """Whether a run has ended, and bitwise as the undisturbed one."""
    return (process.code == 0
            and timeless(workdir) == timeless(self.undisturbed)
            # One that finds its result there already restores nothing.
            and process.states.get(EPOCHS, self.states[EPOCHS])
            == self.states[EPOCHS])


def refuse(
    harness: Harness, case: str, named: Iterable[str],
    change: Callable[[pathlib.Path], Any], back: int = 1, **kwargs: Any,
) -> list[table.Trial]:
  """A run that must exit with 1, name these in one line, and change nothing.

  Args:
    harness: where.
    case: what the table calls it.
    named: what its error must say.
    change: what is done to the workdir before.
    back: as of Harness.unfinished.
    **kwargs: of Harness.start.
  """
  workdir = harness.unfinished(back)
  change(workdir)
  before = contents(workdir)
  process = harness.run(workdir, **kwargs)
  after = contents(workdir)
  after.pop('lock', None)
  return [table.Trial(
      case, detected=all(name in process.error for name in named), kept={
          'exits 1': process.code == 1, 'nothing is changed': after == before,
          f'one line, not {process.error[-300:]!r}':
              process.error.strip().count('\n') == 0})]


def resume(
    harness: Harness, case: str, named: str,
    change: Callable[[pathlib.Path], Any], back: int = 1,
    args: Iterable[str] = (),
    kept: Callable[[pathlib.Path], dict[str, bool]] = lambda workdir: {},
) -> list[table.Trial]:
  """A run that must go on to the same end, and say this of what was done to it.

  Args:
    harness: where.
    case: what the table calls it.
    named: a pattern of what it must say.
    change: what is done to the workdir before.
    back: as of Harness.unfinished.
    args: of the run.
    kept: workdir -> what else was promised.
  """
  workdir = harness.unfinished(back)
  change(workdir)
  process = harness.run(workdir, *args)
  return [table.Trial(
      case, survived=process.code == 0, same=harness.same(process, workdir),
      lost=EPOCHS - process.resumed, seconds=process.at_work(),
      detected=bool(re.search(named, process.said, re.M)) if named else None,
      kept=kept(workdir))]


def timeless(workdir: Path) -> list[dict[str, Any]]:
  """What a run has written into its workdir, but for its clocks."""
  workdir = pathlib.Path(workdir)
  written = [json.loads(line) for line in (
      *(workdir / 'metrics.jsonl').read_text().splitlines(),
      (workdir / 'result.json').read_text())]
  drop = ('seconds', 'throughput', 'transitions_per_s', 'device')
  return [{name: x for name, x in value.items() if name not in drop}
          for value in written]


def steps(workdir: Path) -> list[pathlib.Path]:
  """The folders of a run's checkpoints, oldest first."""
  return sorted((p for p in (pathlib.Path(workdir) / 'checkpoints').iterdir()
                 if p.name.isdigit()), key=lambda p: int(p.name))


def contents(folder: Path) -> dict[str, str]:
  """{name: digest} of all that is in a folder."""
  return {str(path.relative_to(folder)):
          hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file()
          else '' for path in pathlib.Path(folder).rglob('*')}
