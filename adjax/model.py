"""The sequence model as an interface: what enters one, and what it gives.

One token per environment step: what is known just before acting, in; the logits
of the action, out. A model has a full pass, for training, and a cached step,
for acting, which are equal. `transformer` and `lstm` implement it.

Functions here are over one sequence; callers vmap them.
"""

from typing import Any
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax.learners import acting
from adjax.learners import networks


class Inputs(NamedTuple):
  """What is known just before acting, at each step.

  Attributes:
    obs: [..., L, *O].
    action: [..., L], the previous action; -1 where a life begins.
    reward: [..., L], the previous reward; 0 where a life begins.
    done: [..., L], whether the previous step ended an episode.
  """
  obs: chex.Array
  action: chex.Array
  reward: chex.Array
  done: chex.Array


class Embedding(nn.Module):
  """Inputs [L] to tokens [L, D]; for the fields see SequenceModel."""
  config: Any
  env: Any

  @nn.compact
  def __call__(self, inputs: Inputs, deterministic: bool) -> chex.Array:
    arrays.check_steps('inputs', inputs, 'L')
    num_actions = acting.num_actions(self.env)
    parts = [
        networks.Observe(self.env, self.config.channels)(inputs.obs),
        # No action is an input like others: it says that a life begins. A
        # hidden one is all zeros.
        jax.nn.one_hot(inputs.action + 1, num_actions + 1),
        inputs.reward[:, None].astype(jnp.float32),
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
  config: Any
  env: Any

  def setup(self):
    self.embedding = Embedding(self.config, self.env)
    self.norm = nn.LayerNorm(use_bias=False)
    self.head = nn.Dense(
        acting.num_actions(self.env), kernel_init=nn.initializers.zeros)
    self.value_head = nn.Dense(1, kernel_init=nn.initializers.zeros)

  def features(self, inputs: Inputs, deterministic: bool) -> chex.Array:
    """Hidden units [L, D] of every step of one sequence [L]."""
    raise NotImplementedError

  def next_features(
      self, inputs: Inputs, cache: Any
  ) -> tuple[chex.Array, Any]:
    """Hidden units [1, D] of one more step [1], and the cache after it."""
    raise NotImplementedError

  def empty_cache(self) -> Any:
    """The cache of a life that has not begun."""
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
    """Logits [L, A] and what is expected of the rest of the life [L]."""
    x = self.norm(self.features(inputs, deterministic))
    return self.head(x), self.value_head(x)[:, 0]

  def step(self, inputs: Inputs, cache: Any) -> tuple[chex.Array, Any]:
    """Logits [A] of one step (inputs without L), and the cache after it."""
    arrays.check_steps('inputs', inputs, '')
    arrays.check_like('cache', cache, jax.eval_shape(self.empty_cache))
    x, cache = self.next_features(
        jax.tree.map(lambda leaf: leaf[None], inputs), cache)
    return self.head(self.norm(x))[0], cache
