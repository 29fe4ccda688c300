"""What happens to a run that something happens to.

  python -m experiments.faults [--quick] [--fault=NAME] [--kills=N]

Injects faults into real runs, each in processes of their own, and prints what
came of them, one row a fault, beside a plain file and Orbax where these have
something to say. Exit code 1 if a promise is broken.

Whoever can write to a workdir can do worse than craft links and pipes in it;
these are no threat that a run would be guarded against.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import functools
import os
import tempfile
from typing import NamedTuple

from absl import app
from absl import flags

from adjax.cli import launcher  # noqa: F401 Its flag is used here.
from experiments.faults import disk
from experiments.faults import harness as harness_lib
from experiments.faults import memory
from experiments.faults import nonfinite
from experiments.faults import peers
from experiments.faults import refusals
from experiments.faults import stops
from experiments.faults import table


class Fault(NamedTuple):
  """A kind of faults, and what is promised of a run that meets them.

  Attributes:
    promise: for whom reads the table.
    ours: (harness, quick) -> functions of no arguments -> trials.
    peers: the same for other ways of saving, which promise nothing.
  """
  promise: str
  ours: Callable[..., table.Jobs]
  peers: Callable[..., table.Jobs] | None = None


# So many runs at the same time.
PROCESSES = 2

FAULTS = {
    'kill': Fault(
        'it always resumes, loses at most one epoch, and ends bitwise the same',
        stops.kills, peers.kills),
    'signal': Fault(
        'all that was computed is saved within 30 s, exit code 143 or 130; a '
        'second signal does no harm', stops.requests),
    'long_epoch': Fault(
        'it leaves within 30 s from an epoch that takes minutes',
        stops.long_epochs),
    'damage': Fault(
        'always found and named; the newest good checkpoint is used; an error '
        'if there is none', disk.damages, peers.damages),
    'disk': Fault(
        'exit code 1, the last good checkpoint kept; the same in the end',
        disk.full_disks),
    'save': Fault(
        'noticed in its own epoch; the last good checkpoint kept',
        disk.failing_saves),
    'gradient': Fault(
        'the update is skipped and counted, weights and moments bitwise '
        'unchanged; after 10 in a row it stops; other seeds are untouched',
        nonfinite.gradients),
    'learner': Fault(
        'left out and named; training goes on with the others',
        nonfinite.diverging_learners),
    'config': Fault(
        'refused, the fields named, nothing changed', refusals.other_config),
    'version': Fault(
        'refused and named; or, if allowed, told and recorded',
        refusals.other_versions),
    'lines': Fault(
        'metrics.jsonl is cut back to the checkpoint; no line twice',
        refusals.lines_ahead),
    'lock': Fault(
        'the second run is refused, the first unharmed', refusals.two_runs),
    'devices': Fault(
        'the same losses to 1e-5 on other devices', nonfinite.devices),
    'name': Fault('refused; nothing is made anywhere', refusals.names),
    'crafted': Fault(
        'refused in one line that names the file', refusals.crafted),
    'memory': Fault(
        'what is needed is said before, to 20 %; too much is refused, with '
        'what to lower', memory.estimates),
}

_QUICK = flags.DEFINE_bool(
    'quick', False, 'Every kind of fault, but few of each: minutes.')
_FAULT = flags.DEFINE_multi_enum(
    'fault', [], list(FAULTS), 'Only this kind. May be repeated.')
_KILLS = flags.DEFINE_integer(
    'kills', 0, 'So many kill -9, over all stages; 0 for 324, or 6 if quick.',
    0)


def attempt(
    fault: str, job: table.Job
) -> tuple[Sequence[table.Trial], str]:
  """A job's trials, and why there are none where the machine forbids them.

  What goes wrong with a job is a promise broken, too: a run that hangs, say.
  """
  try:
    return job(), ''
  except table.NotPossible as error:
    return [], str(error)
  except Exception as error:
    return [table.Trial(
        fault, kept={f'{type(error).__name__}: {error}': False})], ''


def inject(
    harness: harness_lib.Harness, faults: dict[str, Fault], quick: bool
) -> Iterator[table.Row | str]:
  """All trials of these faults.

  Args:
    harness: where runs are made.
    faults: of FAULTS.
    quick: few injections of each kind.

  Yields:
    Rows, as soon as all trials of a fault are there, or a line on what is not
    possible here.

  Raises:
    RuntimeError: if the run without a fault fails.
  """
  with futures.ThreadPoolExecutor(PROCESSES) as pool:
    try:
      # Peers first: they need not wait for the undisturbed run.
      prepared = pool.submit(harness.prepare)
      waiting = {name: [pool.submit(attempt, name, job)
                        for job in fault.peers(harness, quick)]
                 for name, fault in faults.items() if fault.peers}

      def after(job):
        prepared.result()
        return job()

      for name, fault in faults.items():
        waiting[name] = [
            pool.submit(attempt, name, functools.partial(after, job))
            for job in fault.ours(harness, quick)] + waiting.get(name, [])
      prepared.result()
      for name in faults:
        done = [job.result() for job in waiting[name]]
        for reason in sorted({reason for _, reason in done if reason}):
          yield f'{name}: not possible here ({reason})'
        yield from table.rows(
            name, [trial for trials, _ in done for trial in trials],
            harness.exact)
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      harness.close()
      raise


def main(argv: Sequence[str]) -> int:
  """Prints the table."""
  del argv
  faults = {name: FAULTS[name] for name in _FAULT.value or FAULTS}
  if 'kill' in faults and _KILLS.value:
    faults['kill'] = faults['kill']._replace(ours=functools.partial(
        stops.kills, number=_KILLS.value))
  cache = os.environ.get('JAX_COMPILATION_CACHE_DIR') or os.path.abspath(
      os.path.expanduser(flags.FLAGS.compilation_cache))
  found = []
  with tempfile.TemporaryDirectory(prefix='adjax-faults-') as folder:
    harness = harness_lib.Harness(folder, cache)
    try:
      print(table.HEADER, flush=True)
      for text in inject(harness, faults, _QUICK.value):
        if isinstance(text, str):
          print(text, flush=True)
          continue
        print(table.line(text), flush=True)
        found.append(text)
    finally:
      harness.close()
  print(table.summary(found))
  return any(row['broken'] for row in found)


if __name__ == '__main__':
  app.run(main)
