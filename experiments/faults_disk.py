"""Damage to checkpoints, and saves that fail."""

from collections.abc import Iterator
import contextlib
import functools
import os
import pathlib
import random
import re
import subprocess
import tempfile

from experiments import faults_runs
from experiments import faults_table
from experiments.faults_runs import Bench
from experiments.faults_runs import EPOCHS
from experiments.faults_table import Jobs
from experiments.faults_table import Trial

HARMS = ('truncated', 'one bit flipped', 'a file missing', 'a file emptied')


def harm(folder: pathlib.Path, kind: str, generator: random.Random) -> None:
  """Does one of HARMS to one file of a folder, or to the file itself."""
  files = [folder] if folder.is_file() else sorted(
      p for p in folder.rglob('*') if p.is_file())
  path = generator.choice([
      p for p in files if p.stat().st_size or kind == 'a file missing'])
  data = bytearray(path.read_bytes())
  if kind == 'a file missing':
    path.unlink()
    return
  place = generator.randrange(len(data))
  if kind == 'one bit flipped':
    data[place] ^= 1 << generator.randrange(8)
  else:
    del data[place if kind == 'truncated' else 0:]
  path.write_bytes(data)


# The newest checkpoint is damaged.


def damage(bench: Bench, quick: bool) -> Jobs:
  for kind in HARMS:
    for _ in range(1 if quick else 12):
      yield functools.partial(_damaged, bench, kind)
  for which in range(1 if quick else 6):
    yield functools.partial(_cast, bench, which)
  for _ in range(1 if quick else 4):
    yield functools.partial(_all_damaged, bench)


def _damaged(bench, kind):
  workdir = bench.unfinished()
  harm(faults_runs.steps(workdir)[-1], kind, bench.generator)
  return [_walks_back(bench, workdir, f'newest checkpoint: {kind}')]


def _cast(bench, which):
  workdir = bench.unfinished(back=1)
  process = bench.start(workdir, inject=[f'cast:{EPOCHS}:{which}'])
  process.wait(f'@end save {EPOCHS}')
  process.stop()
  return [_walks_back(bench, workdir, 'newest checkpoint: a dtype changed')]


def _walks_back(bench, workdir, case):
  process = bench.run(workdir)
  return Trial(
      case, survived=process.code == 0, same=bench.same(process, workdir),
      lost=EPOCHS - process.taken_up, seconds=process.at_work(),
      detected=bool(re.search(
          rf'^checkpoint {EPOCHS} .*passed over', process.said, re.M)))


def _all_damaged(bench):
  workdir = bench.unfinished()
  for folder in faults_runs.steps(workdir):
    harm(folder, bench.generator.choice(HARMS), bench.generator)
  before = faults_runs.contents(workdir / 'checkpoints')
  process = bench.run(workdir)
  return [Trial(
      'every checkpoint damaged', detected='none loads' in process.error,
      kept={'exits 1': process.code == 1, 'nothing is changed':
            faults_runs.contents(workdir / 'checkpoints') == before})]


# Saves that fail.


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[pathlib.Path]:
  """A folder with a disk of so many bytes of its own.

  Raises:
    NotPossible: if neither this user nor a user namespace may mount one.
  """
  with tempfile.TemporaryDirectory(prefix='adjax-') as folder:
    mount = f'mount -t tmpfs -o size={size} adjax {folder}'
    if subprocess.run(mount.split(), capture_output=True,
                      check=False).returncode == 0:
      try:
        yield pathlib.Path(folder)
      finally:
        subprocess.run(['umount', '-l', folder], check=True)
      return
    try:
      holder = subprocess.Popen(
          ['unshare', '-Urm', 'sh', '-c', f'{mount} && echo && exec cat'],
          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
          stderr=subprocess.DEVNULL)
    except FileNotFoundError:
      raise faults_table.NotPossible('no disk can be mounted') from None
    with holder:
      if holder.stdout.read(1) != b'\n':
        raise faults_table.NotPossible('no disk can be mounted')
      # Its namespace, seen from outside of it.
      yield pathlib.Path(f'/proc/{holder.pid}/root{folder}')
      holder.kill()


def fill(folder: pathlib.Path, free: int) -> pathlib.Path:
  """A file that grows until only so many bytes are free."""
  path = folder / 'ballast'
  status = os.statvfs(folder)
  rest = status.f_bavail * status.f_frsize - free
  with open(path, 'ab') as file:
    if rest > 0:
      os.posix_fallocate(file.fileno(), file.tell(), rest)
  return path


def size(folder: pathlib.Path) -> int:
  """Bytes that a folder takes on a disk."""
  return sum(p.stat().st_blocks * 512 for p in folder.rglob('*'))


def disk_full(bench: Bench, quick: bool) -> Jobs:
  for level in (5,) if quick else range(10):
    yield functools.partial(_disk_full, bench, level)


def _disk_full(bench, level):
  with small_disk(16 * 2**20) as disk:
    workdir = bench.unfinished(back=2, into=disk / 'run')
    step = faults_runs.steps(workdir)[-1]
    good = faults_runs.contents(step)
    ballast = fill(disk, size(step) * level // 10)
    full = bench.run(workdir)
    kept = step.is_dir() and faults_runs.contents(step) == good
    ballast.unlink()
    again = bench.run(workdir)
    return [Trial(
        'disk full while saving', survived=again.code == 0,
        detected='No space left' in full.error,
        lost=max(full.computed, int(step.name)) - again.taken_up,
        seconds=again.at_work(), same=bench.same(again, workdir),
        kept={'exits 1': full.code == 1, 'the last good one is kept': kept})]


def failing_save(bench: Bench, quick: bool) -> Jobs:
  for _ in range(1 if quick else 5):
    yield functools.partial(_failing_save, bench)


def _failing_save(bench):
  workdir = bench.unfinished(back=2)
  failing = bench.run(workdir, inject=[f'save_fails:{EPOCHS}'])
  left = {int(folder.name) for folder in faults_runs.steps(workdir)}
  again = bench.run(workdir)
  return [Trial(
      'a save fails in the background', survived=again.code == 0,
      lost=failing.computed - again.taken_up, same=bench.same(again, workdir),
      detected=f'checkpoint {EPOCHS} could not be written' in failing.error,
      seconds=again.at_work(), kept={
          'exits 1': failing.code == 1,
          'at its epoch': failing.computed == EPOCHS,
          'the last good one is kept': EPOCHS - 1 in left})]
