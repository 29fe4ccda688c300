"""Damage to checkpoints, and saves that fail."""

from collections.abc import Iterator
import contextlib
import functools
import os
import pathlib
import random
import subprocess

from experiments.faults import harness as harness_lib
from experiments.faults.harness import EPOCHS
from experiments.faults.harness import Harness
from experiments.faults.table import Jobs
from experiments.faults.table import NotPossible
from experiments.faults.table import Trial

KINDS = ('one bit flipped', 'a file missing', 'truncated', 'a file emptied')


def damage(folder: pathlib.Path, kind: str, generator: random.Random) -> None:
  """Damages one file of a folder, or a file.

  Args:
    folder: or file.
    kind: of KINDS.
    generator: chooses the file, and where in it.
  """
  files = [folder] if folder.is_file() else sorted(
      p for p in folder.rglob('*') if p.is_file())
  path = generator.choice([
      p for p in files if p.stat().st_size or kind == 'a file missing'])
  if kind == 'a file missing':
    path.unlink()
    return
  data = bytearray(path.read_bytes())
  index = generator.randrange(len(data))
  if kind == 'one bit flipped':
    data[index] ^= 1 << generator.randrange(8)
  else:
    del data[index if kind == 'truncated' else 0:]
  path.write_bytes(data)


# Checkpoints are damaged.


def damages(harness: Harness, quick: bool) -> Jobs:
  """Each kind of damage to the newest checkpoint; another dtype; to all."""
  named = f'^checkpoint {EPOCHS} .*passed over'
  for kind in KINDS[:1] if quick else KINDS * 12:
    yield functools.partial(
        harness_lib.resume, harness, f'newest checkpoint: {kind}', named,
        functools.partial(_damage, harness, 1, kind), back=0)
  for which in range(1 if quick else 6):
    yield functools.partial(
        harness_lib.resume, harness, 'newest checkpoint: a dtype changed',
        named, functools.partial(_cast, harness, which))
  for _ in range(1 if quick else 4):
    yield functools.partial(
        harness_lib.refuse, harness, 'every checkpoint damaged',
        ('none loads',), functools.partial(_damage, harness, 0, ''), back=0)


def _damage(harness, count, kind, workdir):
  """Damages the newest checkpoints, 0 for all, in one or in any way."""
  for folder in harness_lib.steps(workdir)[-count:]:
    damage(folder, kind or harness.generator.choice(KINDS), harness.generator)


def _cast(harness, which, workdir):
  process = harness.start(workdir, inject=[f'cast:{EPOCHS}:{which}'])
  process.wait(f'@end save {EPOCHS}')
  process.stop()


# Saves fail.


def full_disks(harness: Harness, quick: bool) -> Jobs:
  """A disk that becomes full in a save, with ever more of it written."""
  for level in (5,) if quick else range(10):
    yield functools.partial(_full_disk, harness, level)


def failing_saves(harness: Harness, quick: bool) -> Jobs:
  """A save that the system refuses, in whichever thread."""
  for _ in range(1 if quick else 5):
    yield functools.partial(
        _fails, harness, 'a save fails in the background',
        harness.new_folder() / 'run', f'checkpoint {EPOCHS} could not be',
        inject=[f'save_fails:{EPOCHS}'])


def _full_disk(harness, level):
  def fill_up(step):
    ballast = fill(disk, size(step) * level // 10)
    return ballast.unlink

  with small_disk(16 * 2**20) as disk:
    return _fails(harness, 'disk full while saving', disk / 'run',
                  'No space left', fill_up)


def _fails(harness, case, folder, named, prepare=None, **kwargs):
  """A run that cannot save, and the same again when it can."""
  workdir = harness.unfinished(back=2, into=folder)
  step = harness_lib.steps(workdir)[-1]
  good = harness_lib.contents(step)
  undo = prepare(step) if prepare else lambda: None
  failing = harness.run(workdir, **kwargs)
  kept = step.is_dir() and harness_lib.contents(step) == good
  left = int(harness_lib.steps(workdir)[-1].name)
  undo()
  again = harness.run(workdir)
  # A disk without room for a line is noticed before anything is computed.
  noticed = {left + 1} | ({0} if prepare else set())
  return [Trial(
      case, survived=again.code == 0, detected=named in failing.error,
      lost=max(failing.computed - again.resumed, 0), seconds=again.at_work(),
      same=harness.same(again, workdir), kept={
          'exits 1': failing.code == 1, 'the last good one is kept': kept,
          'in its own epoch': failing.computed in noticed})]


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[pathlib.Path]:
  """A folder with a disk of so many bytes of its own.

  Raises:
    NotPossible: if no user namespace can be made in which to mount one.
  """
  command = f'mount -t tmpfs -o size={size} adjax /mnt && echo && exec cat'
  try:
    holder = subprocess.Popen(
        ['unshare', '-Urm', 'sh', '-c', command], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
  except FileNotFoundError:
    raise NotPossible('no disk can be mounted') from None
  with holder:
    if holder.stdout.read(1) != b'\n':
      raise NotPossible('no disk can be mounted')
    # Its namespace, seen from outside of it.
    yield pathlib.Path(f'/proc/{holder.pid}/root/mnt')
    holder.kill()


def fill(folder: pathlib.Path, free: int) -> pathlib.Path:
  """A file that takes all but so many bytes of a folder's disk."""
  path, status = folder / 'ballast', os.statvfs(folder)
  with open(path, 'wb') as file:
    os.posix_fallocate(
        file.fileno(), 0, status.f_bavail * status.f_frsize - free)
  return path


def size(folder: pathlib.Path) -> int:
  """Bytes that a folder takes on a disk."""
  return sum(p.stat().st_blocks * 512 for p in folder.rglob('*'))
