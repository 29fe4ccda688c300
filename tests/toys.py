"""What training is tested with where the model is not what is looked at."""

import functools

import jax
import jax.numpy as jnp

from adjax import lstm
from adjax import model as model_lib

_MARK = 7.0


class Tiny(model_lib.SequenceModel):
  """Acts on the last step alone; compiles in a moment."""

  def features(self, inputs, deterministic):
    return self.embedding(inputs, deterministic)

  def next_features(self, inputs, cache):
    return self.embedding(inputs, True), cache

  def empty_cache(self):
    return ()


def tiny(env):
  """Such a model, which is masked at random as others are."""
  return Tiny(lstm.Config(width=8, input_masking=0.3), env)


def mark(params):
  """Weights [seeds] of which the first seed's are known to `poison`."""
  leaves, tree = jax.tree.flatten(params)
  leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].set(_MARK)
  return jax.tree.unflatten(tree, leaves)


def poison(loss):
  """A loss that is NaN, as is its gradient, for marked weights alone."""
  @functools.wraps(loss)
  def poisoned(params, *args):
    sick = jax.tree.leaves(params)[0].ravel()[0] == _MARK
    return loss(params, *args) * jnp.where(sick, jnp.nan, 1.0)
  return poisoned
