"""The same faults on what one would do without adjax."""

import contextlib
import dataclasses
import functools
import json
import pathlib
import time

from experiments import faults_disk
from experiments.faults_process import Process
from experiments.faults_runs import Bench
from experiments.faults_table import Jobs
from experiments.faults_table import Trial

PEERS = ('naive', 'orbax')


def start(bench: Bench, peer: str, folder: pathlib.Path, *args: str) -> Process:
  return bench.process('experiments.faults_peers', f'--peer={peer}',
                       f'--folder={folder}', *args)


def outcome(
    bench: Bench, peer: str, folder: pathlib.Path, case: str, computed: int
) -> Trial:
  """What is left of the work of a peer after so many steps."""
  process = start(bench, peer, folder, '--restore')
  process.end()
  told = process.heard('@restored')
  found = (json.loads(told[0][1].removeprefix('@restored '))
           if told else {'step': 0, 'same': None})
  # To begin anew without a word is to have lost all.
  survived = found['step'] > 0
  return Trial(
      case, survived=survived, lost=computed - found['step'],
      same=found['same'] if survived else None, detected=not told,
      seconds=told[0][0] if told else None, who=peer)


def kills(bench: Bench, quick: bool) -> Jobs:
  for peer in PEERS:
    for _ in range(2 if quick else 30):
      yield functools.partial(_kill, bench, peer)


def _kill(bench, peer):
  folder = bench.fresh()
  process = start(bench, peer, folder)
  process.wait('@end save', 2)
  (begin, _), (end, _) = (
      process.heard(f'@{word} save')[1] for word in ('begin', 'end'))
  process.wait('@begin save', bench.generator.randint(3, 6))
  time.sleep(bench.generator.uniform(0, end - begin))
  process.stop()
  process.end()
  computed = int(process.heard('@begin save')[-1][1].split()[-1])
  # A save cut short need not be told from none.
  return [dataclasses.replace(
      outcome(bench, peer, folder, 'kill -9 in save', computed),
      detected=None)]


def damage(bench: Bench, quick: bool) -> Jobs:
  for peer in PEERS:
    for kind in faults_disk.HARMS[:2 if quick else None]:
      for _ in range(1 if quick else 6):
        yield functools.partial(_damaged, bench, peer, kind)
    yield functools.partial(_cast, bench, peer)


def _damaged(bench, peer, kind):
  folder = bench.fresh()
  start(bench, peer, folder, '--last=3').end()
  faults_disk.harm(
      folder / ('state.npz' if peer == 'naive' else '3'), kind, bench.generator)
  return [outcome(bench, peer, folder, f'newest checkpoint: {kind}', 3)]


def _cast(bench, peer):
  folder = bench.fresh()
  start(bench, peer, folder, '--last=3', '--dtype=float16').end()
  return [outcome(
      bench, peer, folder, 'newest checkpoint: a dtype changed', 3)]


def disk_full(bench: Bench, quick: bool) -> Jobs:
  for peer in PEERS:
    for level in (5,) if quick else range(10):
      yield functools.partial(_disk_full, bench, peer, level)


def _disk_full(bench, peer, level):
  """Another's file takes whatever gets free while the peer saves."""
  with faults_disk.small_disk(64 * 2**20) as disk:
    folder = disk / 'run'
    folder.mkdir()
    start(bench, peer, folder, '--last=2').end()
    newest = folder if peer == 'naive' else folder / '2'
    free = faults_disk.size(newest) * level // 10
    ballast = faults_disk.fill(disk, free)
    process = start(bench, peer, folder, '--last=3')
    process.wait('@restored')
    while not process.over:
      with contextlib.suppress(OSError):  # It was faster.
        faults_disk.fill(disk, free)
    code = process.end()
    ballast.unlink()
    return [dataclasses.replace(
        outcome(bench, peer, folder, 'disk full while saving', 3),
        detected=code != 0)]
