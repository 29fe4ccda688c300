"""The sequence model as an interface: what enters one, and what it returns.

One token per environment step: what is known just before acting, in; the logits
of the action, out. A model has a full pass, for training, and a cached step,
for acting, which are equal. `transformer` and `lstm` implement it.

Functions here are over one sequence; callers vmap them.
"""

import dataclasses
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import config as config_lib
from adjax import spaces
from adjax import types
from adjax.learners import networks
from adjax.learners import stepping


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """What every kind of sequence model is told; each kind extends it.

  Attributes:
    layers: the number of blocks.
    width: D, the width of the residual stream.
    dropout: the rate on the output of every block.
    input_masking: the probability that an input (observation, action, reward or
      done, each by itself) of a training step is hidden.
    channels: of the convolutions, if observations are images.
  """
  layers: config_lib.Count = 1
  width: config_lib.Count = 64
  dropout: config_lib.Rate = 0.05
  input_masking: config_lib.Rate = 0.0
  channels: config_lib.Widths = (16, 32)

  @property
  def min_length(self) -> int:
    """The fewest steps that a subsequence to be trained on must have."""
    return 1

  def make(self, env: types.Env) -> 'SequenceModel':
    """The model for an environment."""
    raise NotImplementedError


class Inputs(NamedTuple):
  """What is known just before acting, at each step.

  Attributes:
    obs: [..., L, *O].
    action: [..., L], the previous action; -1 where a history begins.
    reward: [..., L], the previous reward; 0 where a history begins.
    done: [..., L], whether the previous step ended an episode.
  """
  obs: chex.Array
  action: chex.Array
  reward: chex.Array
  done: chex.Array


def first_inputs(env: types.Env, obs: chex.Array) -> Inputs:
  """What is known before the first step of a history, on its observation."""
  arrays.check('obs [*O] any', obs, O=spaces.observation(env).shape)
  action = jnp.full((), -1, stepping.smallest_int(stepping.num_actions(env)))
  return Inputs(obs, action, jnp.float32(0), jnp.bool_(False))


class Statistics(NamedTuple):
  """By what the numbers that have no bounds are scaled before they enter.

  They are of the histories that a model is trained on, kept among its weights
  and never trained.

  Attributes:
    mean: [M + 1], of the entries of observations that have no bounds, and of
      the reward.
    deviation: [M + 1], above 0.
  """
  mean: chex.Array
  deviation: chex.Array


def no_statistics(env: types.Env) -> Statistics:
  """Those that leave numbers as they are."""
  obs = jnp.zeros((1, *spaces.observation(env).shape))
  size = networks.unbounded_entries(env, obs).shape[-1] + 1
  return Statistics(jnp.zeros(size), jnp.ones(size))


def statistics(
    env: types.Env, obs: chex.Array, reward: chex.Array
) -> Statistics:
  """The statistics of steps of histories; what never changes is not scaled.

  Args:
    env: the environment.
    obs: [..., *O].
    reward: [...].
  """
  arrays.check('reward [*B] number, obs [*B, *O] any', reward, obs,
               O=spaces.observation(env).shape)
  numbers = jnp.concatenate(
      [networks.unbounded_entries(env, obs), reward[..., None]], -1)
  axes = tuple(range(reward.ndim))
  mean, deviation = numbers.mean(axes), numbers.std(axes)
  finite = jnp.isfinite(deviation)
  varies = deviation > 1e-6 * jnp.abs(mean)  # More than rounding makes.
  return Statistics(jnp.where(finite, mean, 0),
                    jnp.where(finite & varies, deviation, 1))


def with_statistics(
    params: types.PyTree, statistics: Statistics
) -> types.PyTree:
  """Weights, or a tree of them [...], with these in the place of theirs."""
  is_leaf = lambda x: isinstance(x, Statistics)
  return jax.tree.map(
      lambda x: jax.tree.map(
          lambda old, new: jnp.broadcast_to(new, old.shape), x, statistics)
      if is_leaf(x) else x, params, is_leaf=is_leaf)


class Embedding(nn.Module):
  """Inputs [L] to tokens [L, D]; for the fields see SequenceModel."""
  config: Config
  env: types.Env

  @nn.compact
  def __call__(self, inputs: Inputs, deterministic: bool) -> chex.Array:
    arrays.check_steps('inputs', inputs, 'L')
    num_actions = stepping.num_actions(self.env)
    # Vectors, which no optimizer here decays, and without a gradient.
    scale = jax.lax.stop_gradient(self.param(
        'statistics', lambda key: no_statistics(self.env)))
    observe = networks.Observe(self.env, self.config.channels)
    reward = (inputs.reward[:, None] - scale.mean[-1]) / scale.deviation[-1]
    parts = [
        observe(inputs.obs, jnp.stack(scale)[:, :-1]),
        # No action is an input like others: it says that a history begins. A
        # hidden one is all zeros.
        jax.nn.one_hot(inputs.action + 1, num_actions + 1),
        networks.soften(reward),
        inputs.done[:, None].astype(jnp.float32),
    ]
    rate = self.config.input_masking
    if rate and not deterministic:
      shown = jax.random.bernoulli(
          self.make_rng('dropout'), 1 - rate,
          (len(parts), inputs.action.shape[0], 1))
      parts = [part * show for part, show in zip(parts, shown)]
    return nn.Dense(
        self.config.width, kernel_init=nn.initializers.normal(0.5))(
            jnp.concatenate(parts, -1))


class SequenceModel(nn.Module):
  """Tokens in, hidden units in the middle, logits and values out.

  A model of one kind says how hidden units come from tokens, in `features`,
  `next_features` and `empty_cache`; all else is common to all of them.

  Attributes:
    config: of the model's kind; width, channels and input_masking are read
      here.
    env: the gymnax environment that it acts in.
  """
  config: Config
  env: types.Env

  def setup(self) -> None:
    self.embedding = Embedding(self.config, self.env)
    self.norm = nn.LayerNorm(use_bias=False)
    self.head = nn.Dense(
        stepping.num_actions(self.env), kernel_init=nn.initializers.zeros)
    self.value_head = nn.Dense(1, kernel_init=nn.initializers.zeros)

  def features(self, inputs: Inputs, deterministic: bool) -> chex.Array:
    """Hidden units [L, D] of every step of one sequence [L]."""
    raise NotImplementedError

  def next_features(
      self, inputs: Inputs, cache: types.PyTree
  ) -> tuple[chex.Array, types.PyTree]:
    """Hidden units [1, D] of one more step [1], and the cache after it."""
    raise NotImplementedError

  def empty_cache(self) -> types.PyTree:
    """The cache before the first step."""
    raise NotImplementedError

  def __call__(
      self, inputs: Inputs, deterministic: bool = True
  ) -> chex.Array:
    """Logits [L, A] of the action at every step of one sequence [L].

    With deterministic=False, dropout and masking need a key 'dropout'.
    """
    return self.head(self.norm(self.features(inputs, deterministic)))

  def logits_and_values(
      self, inputs: Inputs, deterministic: bool = True
  ) -> tuple[chex.Array, chex.Array]:
    """Logits [L, A] and the expected sum of the rewards to come [L]."""
    x = self.norm(self.features(inputs, deterministic))
    return self.head(x), self.value_head(x)[:, 0]

  def step(
      self, inputs: Inputs, cache: types.PyTree
  ) -> tuple[chex.Array, types.PyTree]:
    """Logits [A] of one step (inputs without L), and the cache after it."""
    arrays.check_steps('inputs', inputs, '')
    arrays.check_like('cache', cache, jax.eval_shape(self.empty_cache))
    x, cache = self.next_features(
        jax.tree.map(lambda leaf: leaf[None], inputs), cache)
    return self.head(self.norm(x))[0], cache
