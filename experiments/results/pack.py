"""Arrays as JSON, without loss and small."""

import base64
import json
from typing import Any
import zlib

import numpy as np

from adjax.experiment import keep
from adjax.storage import files


def text(value: dict[str, Any]) -> str:
  """The text of a JSON file, a line for each key."""
  return '{\n' + ',\n'.join(f'{json.dumps(key)}: {files.to_json(x)}'
                            for key, x in value.items()) + '\n}\n'


def pack(x: np.ndarray, block: int = 1) -> dict[str, Any]:
  """An array [..., E] as JSON, of integers where all are whole.

  Args:
    x: the array.
    block: keeps sums over so many episodes in a row alone; a divisor of E.
  """
  if block > 1:
    x = x.astype(np.float64).reshape(*x.shape[:-1], -1, block).sum(-1)
  x = keep.smallest(x)
  x = x.astype(x.dtype.newbyteorder('<'))
  return {
      'shape': list(x.shape), 'dtype': x.dtype.str, 'block': block,
      'data': base64.b64encode(zlib.compress(x.tobytes(), 9)).decode()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
  """The array [..., E] that was packed, in float64.

  Of a block of episodes each has the mean.
  """
  data = zlib.decompress(base64.b64decode(packed['data']))
  x = np.frombuffer(data, packed['dtype']).reshape(packed['shape'])
  return np.repeat(x.astype(np.float64) / packed['block'], packed['block'], -1)
