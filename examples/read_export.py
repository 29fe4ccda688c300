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
  return [export.deserialize(pathlib.Path(workdir, name).read_bytes())
          for name in ('reset.stablehlo', 'step.stablehlo')]


if __name__ == '__main__':
  reset, step = load(sys.argv[1])
  cache = reset.call()
  *_, observation, action, reward, done = (
      np.zeros(x.shape, x.dtype) for x in step.in_avals)
  action -= 1  # No action yet.
  for _ in range(3):  # The same observation, and no reward for it.
    logits, cache = step.call(cache, observation, action, reward, done)
    action = np.asarray(logits).argmax(-1).astype(action.dtype)
    print(np.asarray(logits))
