"""The causal transformer: a full pass and a cached step.

Positions are rotary and attention reaches W steps back, so that a ring of the
last W keys and values is all that a step has to know, and step by step equals
the full pass exactly, at any length. Functions here are over one sequence;
callers vmap them.
"""

import dataclasses
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.models import sequence_model


class Cache(NamedTuple):
  """The last W steps, as each layer saw them.

  Attributes:
    layers: a tuple over layers of (keys, values), each [H, W, D / H]; step t is
      in slot t % W, its key rotated by position t.
    time: [], how many steps were taken.
    rotary: [2, 1, D / 2H], the rotation of the next step; made a step ahead for
      the reason given at `rotary_table`.
  """
  layers: tuple[tuple[chex.Array, chex.Array], ...]
  time: chex.Array
  rotary: chex.Array


@dataclasses.dataclass(frozen=True)
class Config(sequence_model.Config):
  """The transformer's shape and its regularisers.

  Attributes:
    layers: the number of transformer blocks.
    width: D.
    heads: H; few and wide ones are fast.
    window: W, how many steps a step can attend to, itself among them; through n
      layers it depends on n (W - 1) + 1.
    feed_forward: the hidden width of a block's perceptron.
    dropout: the rate on the output of attention and perceptron.
    attention_dropout: the rate on attention weights.
    input_masking: the probability that an input (observation, action, reward or
      done, each by itself) of a training step is hidden.
    channels: of the convolutions, if observations are images.
  """
  layers: config_lib.Count = 3
  heads: config_lib.Count = 2
  window: config_lib.Count = 200
  feed_forward: config_lib.Count = 256
  attention_dropout: config_lib.Rate = 0.0

  def check(self) -> None:
    config_lib.check(
        'width', self.width, self.width % (2 * self.heads) == 0,
        f'a multiple of twice heads={self.heads} (rotary positions rotate '
        'pairs)')

  @property
  def head_width(self) -> int:
    """D / H."""
    return self.width // self.heads

  @property
  def min_length(self) -> int:
    """W: a distance that was never shown cannot be used."""
    return self.window

  def make(self, env: types.Env) -> 'Transformer':
    """The transformer for an environment."""
    return Transformer(self, env)


class Block(nn.Module):
  """A pre-norm block, split where attention mixes steps."""
  config: Config

  def setup(self) -> None:
    width, layers = self.config.width, self.config.layers
    small = nn.initializers.variance_scaling(
        1 / (2 * layers), 'fan_in', 'truncated_normal')
    self.attention_norm = nn.LayerNorm(use_bias=False)
    self.qkv = nn.Dense(3 * width, use_bias=False)
    self.out = nn.Dense(width, use_bias=False, kernel_init=small)
    self.perceptron_norm = nn.LayerNorm(use_bias=False)
    self.up = nn.Dense(self.config.feed_forward)
    self.down = nn.Dense(width, kernel_init=small)
    self.dropout = nn.Dropout(self.config.dropout)

  def heads(self, x: chex.Array, rotary: chex.Array) -> tuple[chex.Array, ...]:
    """Queries, keys (both rotated) and values [H, L, D/H] of tokens [L, D]."""
    arrays.check('x [L, D] float', x, D=self.config.width)
    qkv = self.qkv(self.attention_norm(x))
    qkv = qkv.reshape(x.shape[0], 3 * self.config.heads, -1)
    q, k, v = jnp.split(jnp.swapaxes(qkv, 0, 1), 3)
    return rotate(q, rotary), rotate(k, rotary), v

  def mix(
      self, x: chex.Array, attended: chex.Array, deterministic: bool
  ) -> chex.Array:
    """Tokens [L, D] after what they attended to [H, L, D/H] is added."""
    arrays.check(
        'x [L, D] float, attended [H, L, D/H] float', x, attended,
        D=self.config.width, H=self.config.heads)
    attended = jnp.swapaxes(attended, 0, 1).reshape(x.shape)
    x = x + self.dropout(self.out(attended), deterministic)
    hidden = nn.gelu(self.up(self.perceptron_norm(x)))
    return x + self.dropout(self.down(hidden), deterministic)


class Transformer(sequence_model.SequenceModel):
  """The transformer for one environment; see sequence_model.SequenceModel."""
  config: Config

  def setup(self) -> None:
    super().setup()
    self.blocks = [Block(self.config) for _ in range(self.config.layers)]

  def features(
      self, inputs: sequence_model.Inputs, deterministic: bool,
      seen: list[chex.Array] | None = None,
  ) -> chex.Array:
    x = self.embedding(inputs, deterministic)
    rotary = rotary_table(self.config.head_width, np.arange(x.shape[0]))
    for block in self.blocks:
      q, k, v = block.heads(x, rotary)
      if seen is not None:
        seen.append(weights_by_age(q, k, self.config.window).mean(0))
      rate = 0.0 if deterministic else self.config.attention_dropout
      key = self.make_rng('dropout') if rate else None
      x = block.mix(
          x, attend(q, k, v, self.config.window, rate, key), deterministic)
    return x

  def next_features(
      self, inputs: sequence_model.Inputs, cache: Cache
  ) -> tuple[chex.Array, Cache]:
    window = self.config.window
    x = self.embedding(inputs, True)
    slot = cache.time % window
    start = jnp.zeros_like(slot)  # Indices are of one dtype.
    filled = jnp.arange(window) <= cache.time
    layers = []
    for block, (keys, values) in zip(self.blocks, cache.layers):
      q, k, v = block.heads(x, cache.rotary)
      keys = jax.lax.dynamic_update_slice(keys, k, (start, slot, start))
      values = jax.lax.dynamic_update_slice(values, v, (start, slot, start))
      scores = jnp.where(filled, _scores(q, keys), -jnp.inf)
      attended = jnp.einsum('hqk,hkd->hqd', jax.nn.softmax(scores), values)
      x = block.mix(x, attended, True)
      layers.append((keys, values))
    time = cache.time + 1
    return x, Cache(
        tuple(layers), time, rotary_table(self.config.head_width, time[None]))

  def attention(self, inputs: sequence_model.Inputs) -> chex.Array:
    """What each step of one sequence [L] attends to [layers, L, W].

    A mean over heads, by age: entry a is of the step a steps ago. A row sums to
    1 and is 0 before the beginning.
    """
    seen: list[chex.Array] = []
    self.features(inputs, True, seen)
    return jnp.stack(seen)

  def empty_cache(self) -> Cache:
    config = self.config
    shape = config.heads, config.window, config.head_width
    return Cache(
        tuple((jnp.zeros(shape), jnp.zeros(shape))
              for _ in range(config.layers)),
        jnp.int32(0), jnp.asarray(rotary_table(config.head_width, np.zeros(1))))


def rotary_table(size: int, time: chex.Array) -> chex.Array:
  """Cosines and sines [2, L, size / 2] of the rotation at times [L].

  Of NumPy times they are constants: what a compiler makes in place is made anew
  for every element that is rotated, and cosines cost more than attention does.

  A frequency is a whole number of 2^-32 turns a step, and turns are counted
  modulo 2^32: the angle is as exact at any time as at the first.
  """
  arrays.check('time [L] number', time)
  library = np if isinstance(time, np.ndarray) else jnp
  half = size // 2
  frequency = 10_000.0 ** (-np.arange(half) / half)
  turns = np.round(frequency / (2 * np.pi) * 2**32).astype(np.uint32)
  angle = time[:, None].astype(np.uint32) * turns
  # From half a turn backward to half a turn forward.
  angle = angle.astype(np.int32).astype(np.float32) * np.float32(np.pi / 2**31)
  return library.stack([library.cos(angle), library.sin(angle)])


def rotate(x: chex.Array, rotary: chex.Array) -> chex.Array:
  """Rotary positions (Su et al. 2021) on [H, L, D/H], by [2, L, D/2H]."""
  arrays.check('x [H, L, D/H] float', x)
  arrays.check('rotary [2, L, half] float', rotary, L=x.shape[1],
               half=x.shape[2] // 2)
  cos, sin = rotary
  a, b = jnp.split(x, 2, -1)
  return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def _scores(q: chex.Array, k: chex.Array) -> chex.Array:
  return jnp.einsum('hqd,hkd->hqk', q, k) / np.sqrt(q.shape[-1])


# On a CPU 50 to 150 are equally fast; few chunks compile faster.
CHUNK = 128


def attend(
    q: chex.Array, k: chex.Array, v: chex.Array, window: int,
    dropout: float = 0.0, key: chex.PRNGKey | None = None,
) -> chex.Array:
  """Causal attention [H, L, D/H] over a band: step i sees (i - W, i].

  Queries go in chunks that are given only the keys some of them see, so that a
  sequence longer than the window costs no more a step than one as long.
  """
  arrays.check('q [H, L, D/H] float, k [H, L, D/H] float, v [H, L, D/H] float',
               q, k, v)
  if dropout:
    arrays.check('key [] key', key)
  length = q.shape[1]
  outputs = []
  for index, start in enumerate(range(0, length, CHUNK)):
    stop = min(start + CHUNK, length)
    first = max(0, start - window + 1)
    ago = jnp.arange(start, stop)[:, None] - jnp.arange(first, stop)
    scores = jnp.where(
        (ago >= 0) & (ago < window),
        _scores(q[:, start:stop], k[:, first:stop]), -jnp.inf)
    weights = jax.nn.softmax(scores)
    if dropout and key is not None:
      keep = jax.random.bernoulli(
          jax.random.fold_in(key, index), 1 - dropout, weights.shape)
      weights = weights * keep / (1 - dropout)
    outputs.append(
        jnp.einsum('hqk,hkd->hqd', weights, v[:, first:stop]))
  return jnp.concatenate(outputs, 1)


def weights_by_age(q: chex.Array, k: chex.Array, window: int) -> chex.Array:
  """The weights [H, L, W] of causal attention over a band.

  Entry a of a row is of the step a steps before, 0 where there is none.
  """
  arrays.check('q [H, L, D/H] float, k [H, L, D/H] float', q, k)
  before = jnp.pad(k, ((0, 0), (window - 1, 0), (0, 0)))

  def row(step: chex.Array) -> chex.Array:
    seen = jax.lax.dynamic_slice_in_dim(before, step, window, 1)[:, ::-1]
    query = jax.lax.dynamic_slice_in_dim(q, step, 1, 1)
    return jax.nn.softmax(jnp.where(
        jnp.arange(window) <= step, _scores(query, seen), -jnp.inf))[:, 0]

  return jnp.moveaxis(jax.lax.map(row, jnp.arange(q.shape[1])), 0, 1)
