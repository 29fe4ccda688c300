"""What one would do without adjax: save a state in a loop, and restore it.

  python -m experiments.faults_peers --peer=naive --folder=X [--restore]

The state is as large as that of the preset dark_room, and known for each step.
"""

import json
import os
from typing import Any

from absl import app
from absl import flags
import numpy as np

_PEER = flags.DEFINE_enum('peer', 'naive', ('naive', 'orbax'), 'Which.')
_FOLDER = flags.DEFINE_string('folder', None, 'Where.')
_RESTORE = flags.DEFINE_bool('restore', False, 'Only restores, and tells what.')
_LAST = flags.DEFINE_integer('last', 1000, 'The last step.')
_DTYPE = flags.DEFINE_string('dtype', 'float32', 'Of the weights saved.')
State = dict[str, np.ndarray]
# Weights and two moments of three seeds.
SHAPE = 3, 200_000


def make_state(step: int) -> State:
  """The state of a step."""
  draw = np.random.default_rng(step)
  return {name: draw.random(SHAPE, np.float32)
          for name in ('params', 'mu', 'nu')}


class Naive:
  """One file, written anew each time."""

  def __init__(self, folder: str):
    self._path = os.path.join(folder, 'state.npz')

  def save(self, step: int, state: State) -> None:
    with open(self._path, 'wb') as file:
      np.savez(file, step=step, **state)

  def restore(self) -> tuple[int, State] | None:
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

  def save(self, step: int, state: State) -> None:
    self._checkpointer.save(step, state)

  def restore(self) -> tuple[int, State] | None:
    latest = self._checkpointer.latest
    if latest is None:
      return None
    return latest.step, self._checkpointer.load(latest.step, make_state(0))


def mark(*words: Any) -> None:
  """A line for the process that watches this one."""
  print(*words, flush=True)


def main(argv: Any) -> None:
  del argv
  peer = {'naive': Naive, 'orbax': Orbax}[_PEER.value](_FOLDER.value)
  found = peer.restore()
  step, state = found or (0, make_state(0))
  truth = make_state(step)
  mark('@restored', json.dumps({
      'step': step, 'same': all(
          np.asarray(state[name]).dtype == x.dtype
          and np.array_equal(state[name], x) for name, x in truth.items())}))
  if _RESTORE.value:
    return
  for number in range(step + 1, _LAST.value + 1):
    state = make_state(number)
    if number == _LAST.value:
      state['params'] = state['params'].astype(_DTYPE.value)
    mark('@begin save', number)
    peer.save(number, state)
    mark('@end save', number)


if __name__ == '__main__':
  app.run(main)
