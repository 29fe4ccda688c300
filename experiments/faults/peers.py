"""The same faults on what one would do without adjax: a file, or Orbax.

  python -m experiments.faults.peers --peer=naive --folder=X [--restore]

A loop that saves a state as large as that of the preset dark_room, and restores
it; the state of each step is known.
"""

import argparse
import dataclasses
import functools
import json
import os
import time
from typing import Any

from experiments.faults import disk
from experiments.faults.harness import Harness
from experiments.faults.table import Jobs
from experiments.faults.table import Trial

# Weights and two moments of three seeds.
SHAPE = 3, 200_000
State = dict[str, Any]


def make_state(step: int) -> State:
  """The state of a step."""
  import numpy as np
  rng = np.random.default_rng(step)
  return {name: rng.random(SHAPE, np.float32)
          for name in ('params', 'mu', 'nu')}


class Naive:
  """One file, written anew each time."""

  def __init__(self, folder: str):
    self._path = os.path.join(folder, 'state.npz')

  def save(self, step: int, state: State) -> None:
    import numpy as np
    with open(self._path, 'wb') as file:
      np.savez(file, step=step, **state)

  def restore(self) -> tuple[int, State] | None:
    import numpy as np
    if not os.path.exists(self._path):
      return None
    with np.load(self._path) as file:
      state = dict(file)
    return int(state.pop('step')), state


class Orbax:
  """Orbax's own checkpointer with all its defaults."""

  def __init__(self, folder: str):
    from orbax.checkpoint import v1 as ocp
    self._checkpointer = ocp.training.Checkpointer(folder)
    self.save = self._checkpointer.save

  def restore(self) -> tuple[int, State] | None:
    latest = self._checkpointer.latest
    if latest is None:
      return None
    return latest.step, self._checkpointer.load(latest.step, make_state(0))


PEERS = {'naive': Naive, 'orbax': Orbax}


def main() -> None:
  """Restores, tells what, and saves step after step."""
  import numpy as np
  parser = argparse.ArgumentParser()
  parser.add_argument('--peer', choices=list(PEERS))
  parser.add_argument('--folder')
  parser.add_argument('--restore', action='store_true')
  parser.add_argument('--last', type=int, default=1000)
  parser.add_argument('--dtype', default='float32')
  args = parser.parse_args()
  peer = PEERS[args.peer](args.folder)
  step, state = peer.restore() or (0, make_state(0))
  same = all(np.asarray(state[name]).dtype == x.dtype
             and np.array_equal(state[name], x)
             for name, x in make_state(step).items())
  print('@restored', json.dumps({'step': step, 'same': same}), flush=True)
  if args.restore:
    return
  for number in range(step + 1, args.last + 1):
    state = make_state(number)
    if number == args.last:
      state['params'] = state['params'].astype(args.dtype)
    print('@begin save', number, flush=True)
    peer.save(number, state)
    print('@end save', number, flush=True)


# What is done to it.


def _start(harness, peer, folder, *args):
  return harness.process('experiments.faults.peers', f'--peer={peer}',
                         f'--folder={folder}', *args)


def _outcome(harness, peer, folder, case, computed):
  """What is left of the work of a peer after so many steps."""
  process = _start(harness, peer, folder, '--restore')
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


def kills(harness: Harness, quick: bool) -> Jobs:
  """kill -9 at any instant of a save."""
  for peer in PEERS:
    for _ in range(1 if quick else 30):
      yield functools.partial(_kill, harness, peer)


def _kill(harness, peer):
  folder = harness.new_folder()
  process = _start(harness, peer, folder)
  process.wait('@end save', 2)
  (begin, _), (end, _) = (
      process.heard(f'@{word} save')[1] for word in ('begin', 'end'))
  process.wait('@begin save', harness.generator.randint(3, 6))
  time.sleep(harness.generator.uniform(0, end - begin))
  process.stop()
  process.end()
  # A save cut short need not be told from none.
  return [dataclasses.replace(
      _outcome(harness, peer, folder, 'kill -9 in save', process.computed),
      detected=None)]


def damages(harness: Harness, quick: bool) -> Jobs:
  """Each kind of damage to the newest state, and another dtype."""
  for peer in PEERS:
    for kind in disk.KINDS[:1] if quick else (*disk.KINDS * 6, ''):
      yield functools.partial(_damaged, harness, peer, kind)


def _damaged(harness, peer, kind):
  folder = harness.new_folder()
  dtype = 'float32' if kind else 'float16'
  _start(harness, peer, folder, '--last=3', f'--dtype={dtype}').end()
  if kind:
    disk.damage(folder / ('state.npz' if peer == 'naive' else '3'), kind,
                harness.generator)
  return [_outcome(harness, peer, folder,
                   f'newest checkpoint: {kind or "a dtype changed"}', 3)]


if __name__ == '__main__':
  main()
