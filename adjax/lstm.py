"""The LSTM (Hochreiter & Schmidhuber 1997) as a sequence model.

What the transformer is compared with in the paper (AD-LSTM, and RL2's own
network). Its cache is its state, so that a step of any life costs the same; its
full pass goes step after step. It forgets nothing at a set distance: lives
longer than the pieces it was trained on are something it has not seen.
"""

import dataclasses
import functools

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import config as config_lib
from adjax import model


@dataclasses.dataclass(frozen=True)
class Config:
  """The LSTM's shape and its regularisers.

  Attributes:
    layers: LSTMs, each reading the one below and added to it.
    width: D.
    dropout: on the output of each.
    input_masking: the chance that an input (observation, action, reward or
      done, each by itself) of a training step is hidden.
    channels: of the convolutions, if observations are images.
  """
  layers: int = 1
  width: int = 256
  dropout: float = 0.05
  input_masking: float = 0.0
  channels: tuple[int, ...] = (16, 32)

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'model')
    for name in ('layers', 'width'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    for name in ('dropout', 'input_masking'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value < 1.0, 'from 0 to below 1')
    config_lib.check_widths('model', 'channels', self.channels)

  @property
  def least_length(self) -> int:
    """Of a piece of history."""
    return 1


class Layer(nn.Module):
  """One LSTM over tokens [L, D], from a carry to the carry after them."""
  width: int

  @nn.compact
  def __call__(
      self, x: chex.Array, carry: tuple[chex.Array, chex.Array]
  ) -> tuple[chex.Array, tuple[chex.Array, chex.Array]]:
    arrays.check('x [L, D] float, carry [D] float', x, carry, D=self.width)
    # Every step's share of the gates in one product; only what depends on the
    # step before is left for the scan.
    driven = nn.Dense(4 * self.width)(x)
    recurrent = self.param(
        'recurrent', nn.initializers.orthogonal(), (self.width, 4 * self.width))

    def step(carry, drive):
      hidden, cell = carry
      into, keep, new, out = jnp.split(drive + hidden @ recurrent, 4)
      # One added: a fresh network remembers (Jozefowicz et al. 2015).
      cell = (jax.nn.sigmoid(keep + 1) * cell
              + jax.nn.sigmoid(into) * jnp.tanh(new))
      hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
      return (hidden, cell), hidden

    carry, hidden = jax.lax.scan(step, carry, driven)
    return hidden, carry


class LSTM(model.SequenceModel):
  """The LSTM for one environment; see model.SequenceModel."""

  def setup(self):
    super().setup()
    self.layers = [
        Layer(self.config.width) for _ in range(self.config.layers)]
    self.dropout = nn.Dropout(self.config.dropout)

  def features(self, inputs: model.Inputs, deterministic: bool) -> chex.Array:
    return self._run(inputs, self.empty_cache(), deterministic)[0]

  def next_features(
      self, inputs: model.Inputs, cache: tuple
  ) -> tuple[chex.Array, tuple]:
    return self._run(inputs, cache, True)

  def empty_cache(self) -> tuple:
    zero = jnp.zeros(self.config.width)
    return ((zero, zero),) * self.config.layers

  def _run(self, inputs, cache, deterministic):
    x = self.embedding(inputs, deterministic)
    after = []
    for layer, carry in zip(self.layers, cache):
      hidden, carry = layer(x, carry)
      x = x + self.dropout(hidden, deterministic)
      after.append(carry)
    return x, tuple(after)
