"""Acts with a model that `adjax export` wrote, without adjax.

  adjax export runs/quick
  python examples/read_export.py runs/quick
"""

import pathlib
import sys

from jax import export
import numpy as np


def load(workdir):
  """reset and step, as the files in a workdir have them."""
  return [export.deserialize(pathlib.Path(workdir, name).read_bytes()).call
          for name in ('reset.stablehlo', 'step.stablehlo')]


if __name__ == '__main__':
  reset, step = load(sys.argv[1])
  cache = reset()
  action, reward, done = np.int8(-1), np.float32(0), np.bool_(False)
  for _ in range(3):  # The centre of Dark Room, say, and no reward there.
    logits, cache = step(cache, np.array([4, 4], np.int8), action, reward, done)
    action = np.argmax(np.asarray(logits)).astype(np.int8)
    print(np.asarray(logits))
