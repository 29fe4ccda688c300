"""The LSTM (Hochreiter & Schmidhuber 1997) as a sequence model.

What the transformer is compared with in the paper (AD-LSTM, and RL2's own
network). Its cache is its state, so that every step costs the same; its full
pass goes step after step. It forgets nothing at a set distance: histories
longer than the subsequences it was trained on are something it has not seen.
"""

import dataclasses

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.models import sequence_model

Carry = tuple[chex.Array, chex.Array]


@dataclasses.dataclass(frozen=True)
class Config(sequence_model.Config):
  """The LSTM's shape and its regularisers.

  Attributes:
    layers: LSTMs, each reading the one below and added to it.
    width: D.
    dropout: the rate on the output of each.
    input_masking: the probability that an input (observation, action, reward or
      done, each by itself) of a training step is hidden.
    channels: of the convolutions, if observations are images.
  """
  width: config_lib.Count = 256

  def make(self, env: types.Env) -> 'LSTM':
    """The LSTM for an environment."""
    return LSTM(self, env)


class Layer(nn.Module):
  """One LSTM over tokens [L, D], from a carry to the carry after them."""
  width: int

  @nn.compact
  def __call__(self, x: chex.Array, carry: Carry) -> tuple[chex.Array, Carry]:
    arrays.check('x [L, D] float, carry [D] float', x, carry, D=self.width)
    # Every step's share of the gates in one product; only what depends on the
    # step before is left for the scan.
    driven = nn.Dense(4 * self.width)(x)
    recurrent = self.param(
        'recurrent', nn.initializers.orthogonal(), (self.width, 4 * self.width))

    def step(carry: Carry, drive: chex.Array) -> tuple[Carry, chex.Array]:
      hidden, cell = carry
      into, keep, new, out = jnp.split(drive + hidden @ recurrent, 4)
      # One added: a fresh network remembers (Jozefowicz et al. 2015).
      cell = (jax.nn.sigmoid(keep + 1) * cell
              + jax.nn.sigmoid(into) * jnp.tanh(new))
      hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
      return (hidden, cell), hidden

    carry, hidden = jax.lax.scan(step, carry, driven)
    return hidden, carry


class LSTM(sequence_model.SequenceModel):
  """The LSTM for one environment; see sequence_model.SequenceModel."""

  def setup(self) -> None:
    super().setup()
    self.layers = [
        Layer(self.config.width) for _ in range(self.config.layers)]
    self.dropout = nn.Dropout(self.config.dropout)

  def features(
      self, inputs: sequence_model.Inputs, deterministic: bool
  ) -> chex.Array:
    return self._run(inputs, self.empty_cache(), deterministic)[0]

  def next_features(
      self, inputs: sequence_model.Inputs, cache: tuple
  ) -> tuple[chex.Array, tuple]:
    return self._run(inputs, cache, True)

  def empty_cache(self) -> tuple:
    zero = jnp.zeros(self.config.width)
    return ((zero, zero),) * self.config.layers

  def _run(
      self, inputs: sequence_model.Inputs, cache: tuple, deterministic: bool
  ) -> tuple[chex.Array, tuple]:
    x = self.embedding(inputs, deterministic)
    after = []
    for layer, carry in zip(self.layers, cache):
      hidden, carry = layer(x, carry)
      x = x + self.dropout(hidden, deterministic)
      after.append(carry)
    return x, tuple(after)
