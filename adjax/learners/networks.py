"""What an observation looks like to a network.

Ids, whole numbers, quantities and images all enter here and nowhere else, as
the observation space declares them and not as their dtype suggests. An
environment may show its agent something else than the observation that
histories hold: then it has `view(obs)`, what is seen, and `view_space`. A
first-person frame is twenty thousand numbers, the pose that it is rendered from
six; histories keep the pose and networks render the frame again.
"""

from collections.abc import Iterator

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import spaces
from adjax import types

# Of an image, after its convolutions.
_IMAGE_FEATURES = 128
# An integer of more values than this is a quantity.
LARGEST_ID = 256
# All ids of a part have a column each up to this many; more share fewer.
_MOST_COLUMNS = 1024


class Observe(nn.Module):
  """Observations [..., *O] to features [..., F].

  Part by part, and entry by entry (`spaces.Packed`):

    * An id, or an integer of 3 to 256 values, has a table of its own, so that
      a cell never seen is made of a column and a row that were; an integer
      enters as a number from -1 to 1 beside it.
    * An integer of more values is a number, and its digits in base 16.
    * A number that is bounded is scaled to [-1, 1]; one that is not is scaled
      by a mean and a deviation that are given.
    * Pixels, that is uint8 from 0 to 255 of three axes, and other boxes of
      three axes of numbers or of two values go through convolutions of stride 2
      and a layer of 128.

  Attributes:
    env: a gymnax environment.
    channels: of the convolutions, first to last; only images have any.
  """
  env: types.Env
  channels: tuple[int, ...] = (16, 32)

  @nn.compact
  def __call__(
      self, obs: chex.Array, scale: chex.Array | None = None
  ) -> chex.Array:
    """Features; scale [2, M] as unbounded_entries has means and deviations."""
    whole = spaces.observation(self.env)
    arrays.check('obs [*B, *O] any', obs, O=whole.shape)
    if hasattr(self.env, 'view'):
      batch = obs.shape[:obs.ndim - len(whole.shape)]
      seen = jax.vmap(self.env.view)(obs.reshape(-1, *whole.shape))
      whole = spaces.observation(
          self.env, self.env.view_space(self.env.default_params))
      obs = seen.reshape(*batch, *whole.shape)
    features: list[chex.Array] = []
    for part, x in whole.split(obs):
      count = int((~part.bounded).sum())
      own = None if scale is None else scale[:, :count]
      scale = None if scale is None else scale[:, count:]
      features += self._part(part, x, own)
    return jnp.concatenate(features, -1)

  def _part(
      self, part: spaces.Part, x: chex.Array, scale: chex.Array | None
  ) -> Iterator[chex.Array]:
    """Features [..., f] of one part [..., *its shape]."""
    batch, values = x.shape[:x.ndim - len(part.shape)], part.values.ravel()
    flat = x.reshape(*batch, -1)
    numbers = _numbers(part, flat, scale)
    small = values <= LARGEST_ID
    if len(part.shape) == 3 and (
        part.is_image or not small.all() or values.max() <= 2
        or values.sum() > _MOST_COLUMNS):
      if not part.is_image and small.all():  # Planes of 0 and 1.
        ranks = x.astype(jnp.int32) - part.low.astype(np.int32)
        numbers = (ranks.astype(jnp.float32) if values.max() <= 2
                   else jax.nn.one_hot(ranks, int(values.max())))
      yield self._convolve(numbers.reshape(*batch, *part.shape[:2], -1))
      return
    if part.is_id or (small & (values > 2)).any():
      yield from self._tables(part, flat)
    if part.is_id:
      return
    if part.is_integer and not small.all():
      yield _digits(part, flat, np.flatnonzero(~small))
    yield numbers

  def _tables(
      self, part: spaces.Part, x: chex.Array
  ) -> Iterator[chex.Array]:
    """Of each entry [..., M] that has a table, its row."""
    values = part.values.ravel()
    chosen = np.flatnonzero(
        part.is_id | (values > 2) & (values <= LARGEST_ID))
    ids = x[..., chosen]
    low = part.low.ravel()[chosen].astype(np.int32)
    sizes = part.values.ravel()[chosen].astype(int)
    rank = jnp.clip(ids.astype(jnp.int32) - low, 0, sizes - 1)
    if sizes.sum() <= _MOST_COLUMNS:
      yield from (jax.nn.one_hot(rank[..., i], size)
                  for i, size in enumerate(sizes))
      return
    width = max(8, min(64, _MOST_COLUMNS // len(sizes)))
    rows = rank + (np.cumsum(sizes) - sizes).astype(np.int32)
    table = nn.Embed(int(sizes.sum()), width,
                     embedding_init=nn.initializers.normal(1.0))
    yield table(rows).reshape(*rows.shape[:-1], -1)

  def _convolve(self, x: chex.Array) -> chex.Array:
    """Features [..., f] of images [..., height, width, depth]."""
    batch, shape = x.shape[:-3], x.shape[-3:]
    x = x.reshape(-1, *shape)
    for channels in self.channels:
      x = nn.relu(Convolution(channels)(x))
    x = x.reshape(*batch, -1)
    return nn.relu(nn.Dense(_IMAGE_FEATURES)(x)) if self.channels else x


def soften(x: chex.Array) -> chex.Array:
  """Numbers, and beyond 1 their logarithm: sign(x) (1 + log |x|)."""
  size = jnp.abs(x)
  return jnp.where(size <= 1, x, jnp.sign(x) * (
      1 + jnp.log(jnp.maximum(size, 1))))


def unbounded_entries(env: types.Env, obs: chex.Array) -> chex.Array:
  """The entries [..., M] of observations [..., *O] that have no bounds."""
  whole = spaces.observation(env)
  batch = obs.shape[:obs.ndim - len(whole.shape)]
  if hasattr(env, 'view'):  # What is seen is made, and has bounds.
    return jnp.zeros((*batch, 0), jnp.float32)
  found = [
      x.reshape(*batch, part.size)[..., np.flatnonzero(~part.bounded)]
      for part, x in whole.split(obs)]
  return jnp.concatenate(found, -1).astype(jnp.float32)


def _numbers(
    part: spaces.Part, x: chex.Array, scale: chex.Array | None
) -> chex.Array:
  """Entries [..., M] of a part, scaled by their bounds or as is given."""
  if part.is_image:
    return x.astype(jnp.float32) / 255
  bounded = part.bounded.ravel()
  low = np.where(bounded, part.low.ravel(), 0).astype(np.float32)
  high = np.where(bounded, part.high.ravel(), 0).astype(np.float32)
  middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-30)
  half = np.where(bounded, half, 1).astype(np.float32)
  scaled = (x.astype(jnp.float32) - middle) / half
  if bounded.all():
    return scaled
  free = np.flatnonzero(~bounded)
  mean, deviation = (0, 1) if scale is None else scale
  return scaled.at[..., free].set(
      soften((scaled[..., free] - mean) / deviation).astype(scaled.dtype))


def _digits(
    part: spaces.Part, x: chex.Array, index: np.ndarray
) -> chex.Array:
  """The digits in base 16 of some entries, [..., 16 x how many digits]."""
  found = []
  for i in index:
    low, values = part.low.ravel()[i], part.values.ravel()[i]
    bits = 32 if not np.isfinite(values) else int(values - 1).bit_length()
    offset = np.uint32(int(low) % 2**32 if np.isfinite(low) else 2**31)
    # Differences modulo 2^32 are right whatever the signs.
    value = x[..., i].astype(jnp.int32).astype(jnp.uint32) - offset
    found += [jax.nn.one_hot((value >> np.uint32(shift)) & 15, 16)
              for shift in range(0, bits, 4)]
  return jnp.concatenate(found, -1)


def with_rewards(
    features: chex.Array, rewards: chex.Array, count: int
) -> chex.Array:
  """Features, and beside them how many rewards there were in this episode.

  Args:
    features: [..., F].
    rewards: [...], at most count.
    count: as count_rewards of tabular_q.Config; with 0 nothing is added.

  Returns:
    [..., F + count + 1], or the features themselves.
  """
  arrays.check('features [*B, F] float, rewards [*B] integer',
               features, rewards)
  if not count:
    return features
  return jnp.concatenate(
      [features, jax.nn.one_hot(rewards, count + 1)], -1)


class Convolution(nn.Module):
  """3x3, stride 2, images [B, height, width, depth], as one matrix product.

  A batch of learners has a batch of kernels, of which XLA makes a grouped
  convolution: on a CPU the product took a third of its time for two learners
  and half of it for sixteen.

  Attributes:
    channels: of what comes out.
  """
  channels: int

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    arrays.check('x [B, height, width, depth] float', x)
    size = x.shape[1:3]
    out = [-(-n // 2) for n in size]
    pad = [max(2 * n + 1 - m, 0) for n, m in zip(out, size)]
    x = jnp.pad(x, [(0, 0), *((p // 2, p - p // 2) for p in pad), (0, 0)])
    windows = [x[:, i:i + 2 * out[0] - 1:2, j:j + 2 * out[1] - 1:2]
               for i in range(3) for j in range(3)]
    return nn.Dense(self.channels)(jnp.concatenate(windows, -1))
