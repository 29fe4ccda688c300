"""What happens to a run that something happens to.

  python -m experiments.faults [--quick] [--fault=NAME] [--json=FILE]

Injects faults into real runs, each in processes of their own, and prints what
came of them, one row a fault, beside a plain file and Orbax where these have
something to say. Exit code 1 if a promise is broken.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import dataclasses
import json
import os
import tempfile
from typing import NamedTuple

from absl import app
from absl import flags

from experiments import cli  # noqa: F401 Its flag is used here.
from experiments import faults_beside
from experiments import faults_disk
from experiments import faults_memory
from experiments import faults_numbers
from experiments import faults_refusals
from experiments import faults_runs
from experiments import faults_stops
from experiments import faults_table

Trial = faults_table.Trial


class Fault(NamedTuple):
  """A kind of faults, and what is promised of a run that meets them.

  Attributes:
    promise: for whom reads the table.
    ours: (bench, quick) -> functions of no arguments -> trials.
    peers: the same for other ways of saving, which promise nothing.
  """
  promise: str
  ours: Callable[..., faults_table.Jobs]
  peers: Callable[..., faults_table.Jobs] | None = None


FAULTS = {
    'kill': Fault(
        'it always resumes, loses at most one epoch, and ends bitwise the same',
        faults_stops.kills, faults_beside.kills),
    'signal': Fault(
        'all that was computed is saved within 30 s, exit code 143 or 130; a '
        'second signal does no harm',
        faults_stops.requests),
    'long_epoch': Fault(
        'it leaves within 30 s from an epoch that takes minutes',
        faults_stops.long_epochs),
    'damage': Fault(
        'always found and named; the newest good checkpoint is used; an error '
        'if there is none',
        faults_disk.damage, faults_beside.damage),
    'disk': Fault(
        'exit code 1, the last good checkpoint kept; the same in the end',
        faults_disk.disk_full, faults_beside.disk_full),
    'save': Fault(
        'noticed in its own epoch; the last good checkpoint kept',
        faults_disk.failing_save),
    'gradient': Fault(
        'the update is skipped and counted, weights and moments bitwise '
        'unchanged; after 10 in a row it stops; other seeds are untouched',
        faults_numbers.gradients),
    'learner': Fault(
        'dropped and named; training goes on with the others',
        faults_numbers.sick_learner),
    'config': Fault(
        'refused, the fields named, nothing changed',
        faults_refusals.other_config),
    'version': Fault(
        'refused and named; or, if allowed, told and recorded',
        faults_refusals.other_versions),
    'lines': Fault(
        'metrics.jsonl is cut back to the checkpoint; no line twice',
        faults_refusals.lines_ahead),
    'lock': Fault(
        'the second run is refused, the first unharmed',
        faults_refusals.two_runs),
    'devices': Fault(
        'the same losses to 1e-5 on other devices',
        faults_numbers.devices),
    'name': Fault(
        'refused; nothing is made anywhere',
        faults_refusals.names),
    'crafted': Fault(
        'refused or passed over by name; nothing outside the workdir touched',
        faults_refusals.crafted),
    'memory': Fault(
        'what is needed is said before, to 20 %; too much is refused, with '
        'what to lower',
        faults_memory.estimates),
}

_QUICK = flags.DEFINE_bool(
    'quick', False, 'Every kind of fault, but few of each: minutes.')
_FAULT = flags.DEFINE_multi_enum(
    'fault', [], list(FAULTS), 'Only this kind. May be repeated.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of all that is random here.')
_PROCESSES = flags.DEFINE_integer(
    'processes', 2, 'So many runs at the same time.', 1)
_JSON = flags.DEFINE_string('json', None, 'A file for the rows.')


def attempt(
    fault: str, job: faults_table.Job
) -> tuple[list[Trial], str]:
  """A job's trials, and why there are none where the machine forbids them.

  What goes wrong with a job is a promise broken, too: a run that hangs, say.
  """
  try:
    return job(), ''
  except faults_table.NotPossible as error:
    return [], str(error)
  except Exception as error:
    return [Trial(fault, kept={f'{type(error).__name__}: {error}': False})], ''


def inject(
    bench: faults_runs.Bench, names: Sequence[str], quick: bool, processes: int
) -> Iterator[faults_table.Row | str]:
  """All trials of these faults.

  Args:
    bench: where runs are made.
    names: of FAULTS.
    quick: few injections of each kind.
    processes: so many trials at the same time.

  Yields:
    Rows, as soon as all trials of a fault are there, or a line on what is not
    possible here.
  """
  with futures.ThreadPoolExecutor(processes) as pool:
    try:
      waiting = {name: [
          pool.submit(attempt, name, job)
          for make in (FAULTS[name].ours, FAULTS[name].peers) if make
          for job in make(bench, quick)] for name in names}
      for name, jobs in waiting.items():
        done = [job.result() for job in jobs]
        for reason in sorted({reason for _, reason in done if reason}):
          yield f'{name}: not possible here ({reason})'
        yield from faults_table.rows(name, [
            dataclasses.replace(trial, exact=bench.exact)
            for trials, _ in done for trial in trials])
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      bench.close()
      raise


def write(found: Sequence[faults_table.Row]) -> None:
  """Writes the rows so far to the file asked for, if one is."""
  if _JSON.value:
    with open(_JSON.value, 'w', encoding='utf-8') as file:
      json.dump([row._asdict() for row in found], file, indent=1)


def main(argv: Sequence[str]) -> int:
  """Prints the table."""
  del argv
  names = _FAULT.value or list(FAULTS)
  folder = tempfile.TemporaryDirectory(prefix='adjax-faults-')
  with folder as path:
    cache = os.path.expanduser(flags.FLAGS.compilation_cache)
    bench = faults_runs.Bench(path, os.path.abspath(cache), _SEED.value)
    try:
      bench.prepare()
      print(faults_table.HEADER, flush=True)
      found = []
      for text in inject(bench, names, _QUICK.value, _PROCESSES.value):
        print(text, flush=True)
        if isinstance(text, faults_table.Row):
          found.append(text)
          write(found)
    finally:
      bench.close()
  print(faults_table.summary(found))
  return any(row.broken for row in found)


if __name__ == '__main__':
  app.run(main)
