"""Arrays and pictures as text in a page."""

import base64
import struct
import zlib

import numpy as np

# Bytes of a picture; it is only beside what is looked at.
MOST_SPRITE = 200_000


def blob(*arrays: np.ndarray) -> str:
  """Arrays one after another: base64 of zlib of their bytes, little-endian."""
  data = b''.join(
      np.ascontiguousarray(x, x.dtype.newbyteorder('<')).tobytes()
      for x in arrays)
  # Level 9 takes five times as long, for a hundredth less.
  return base64.b64encode(zlib.compress(data, 7)).decode()


def halves(*arrays: np.ndarray) -> str:
  """Arrays as the page inflates them, in float16; the largest of it at most."""
  most = np.finfo(np.float16).max
  return blob(*(np.clip(np.nan_to_num(x.astype(np.float32)), -most, most)
                .astype(np.float16) for x in arrays))


def sprite(frames: np.ndarray) -> tuple[list[int], str]:
  """Frames [F, H, W, 3] one below the other in a PNG, as a data URI.

  Returns:
    Which of them; every second, third and so on, until they are small enough.
  """
  every, data = 1, png(frames.reshape(-1, *frames.shape[2:]))
  while len(data) > MOST_SPRITE and every < len(frames):
    # As many times fewer as it is too large, or a few more.
    every *= -(-len(data) // MOST_SPRITE)
    data = png(frames[::every].reshape(-1, *frames.shape[2:]))
  return (list(range(0, len(frames), every)),
          'data:image/png;base64,' + base64.b64encode(data).decode())


def png(image: np.ndarray) -> bytes:
  """A PNG of pixels [H, W, 3], uint8."""
  height, width, _ = image.shape
  # Filter 2: each row as its difference from the row above, modulo 256.
  rows = np.diff(image, axis=0, prepend=np.uint8(0)).reshape(height, -1)
  rows = np.pad(rows, ((0, 0), (1, 0)), constant_values=2)

  def chunk(name: bytes, data: bytes) -> bytes:
    return (struct.pack('>I', len(data)) + name + data
            + struct.pack('>I', zlib.crc32(name + data)))

  return b''.join([
      b'\x89PNG\r\n\x1a\n',
      chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)),
      chunk(b'IDAT', zlib.compress(rows.tobytes(), 9)), chunk(b'IEND', b'')])
