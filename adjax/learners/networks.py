"""What an observation looks like to a network.

Vectors, matrices, small integers and images all enter here and nowhere else.
An environment may show its agent something else than the observation that
histories hold: then it has `view(obs)`, what is seen, and `view_space`. A
first-person frame is twenty thousand numbers, the pose that it is rendered from
six; histories keep the pose and networks render the frame again.
"""

import math

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import types
from adjax.learners import stepping
from adjax.learners import tables

# Of an image, after its convolutions.
_IMAGE_FEATURES = 128
# More values than this for one entry of an observation enter as a number.
_LARGEST_TABLE = 256


class Observe(nn.Module):
  """Observations [..., *O] to features [..., F].

  An observation of small integers keeps its structure: each coordinate has its
  own table, so that a cell never seen is made of a column and a row that were,
  and enters as a number from -1 to 1 beside it. An image [height, width, depth]
  goes through convolutions of stride 2 and a layer of 128. Everything else
  enters as numbers.

  Attributes:
    env: a gymnax environment.
    channels: of the convolutions, first to last; only images have any.
  """
  env: types.Env
  channels: tuple[int, ...] = (16, 32)

  @nn.compact
  def __call__(self, obs: chex.Array) -> chex.Array:
    values = tables.integer_values(self.env)
    shape = self.env.observation_space(self.env.default_params).shape
    arrays.check('obs [*B, *O] any', obs, O=shape)
    batch = obs.shape[:obs.ndim - len(shape)]
    if values is not None and len(values) <= 8 and not hasattr(
        self.env, 'view') and max(n for _, n in values) <= _LARGEST_TABLE:
      arrays.check('obs [...] integer', obs)
      return _tables(obs.reshape(*batch, -1), values)
    view, space = stepping.view(self.env), stepping.view_space(self.env)
    viewed = jax.vmap(view)(obs.reshape(-1, *shape))
    x = viewed.astype(jnp.float32)
    if viewed.dtype == jnp.uint8:
      x = x / 255
    if len(space.shape) == 3:
      for channels in self.channels:
        x = nn.relu(Convolution(channels)(x))
    x = x.reshape(*batch, math.prod(x.shape[1:]))
    if len(space.shape) == 3 and self.channels:
      x = nn.relu(nn.Dense(_IMAGE_FEATURES)(x))
    return x


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


def _tables(
    obs: chex.Array, values: tuple[tuple[int, int], ...]
) -> chex.Array:
  """Of each coordinate [..., M], its row of a table and its rank from -1 to 1.
  """
  low, sizes = zip(*values)
  rank = obs.astype(jnp.int32) - jnp.array(low)
  last = jnp.maximum(jnp.array(sizes) - 1, 1)
  return jnp.concatenate(
      [jax.nn.one_hot(rank[..., i], size) for i, size in enumerate(sizes)]
      + [2 * rank / last - 1], -1)
