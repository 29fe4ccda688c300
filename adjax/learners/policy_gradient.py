"""What gradients of policies are made of: advantages and PPO's surrogate."""

import chex
import jax
import jax.numpy as jnp

from adjax import arrays


def gae(
    reward_t: chex.Array, value_t: chex.Array, next_value_t: chex.Array,
    terminated_t: chex.Array, done_t: chex.Array, discount: float,
    lambda_: float,
) -> chex.Array:
  """Generalised advantage estimates of one sequence (Schulman et al. 2016).

  Args:
    reward_t: [T], the reward of each action.
    value_t: [T], the value of the observation it was chosen on.
    next_value_t: [T], the value of the one it led to, before any reset.
    terminated_t: [T], bool: the episode ended by itself; nothing comes after.
    done_t: [T], bool: the next step is of another episode. At a time limit what
      would have come after still counts, as the value of it says.
    discount: gamma.
    lambda_: lambda.

  Returns:
    [T], advantages; with value_t added, targets for the value.
  """
  arrays.check('reward_t [T] float, value_t [T] float, next_value_t [T] float, '
               'terminated_t [T] bool, done_t [T] bool',
               reward_t, value_t, next_value_t, terminated_t, done_t)
  delta_t = reward_t + discount * ~terminated_t * next_value_t - value_t

  def back(
      after: chex.Array, step: tuple[chex.Array, chex.Array]
  ) -> tuple[chex.Array, chex.Array]:
    delta, done = step
    advantage = delta + discount * lambda_ * ~done * after
    return advantage, advantage

  return jax.lax.scan(
      back, jnp.zeros((), delta_t.dtype), (delta_t, done_t), reverse=True)[1]


def log_prob(log_probs: chex.Array, action: chex.Array) -> chex.Array:
  """The entries [...] of [..., A] that belong to actions [...]."""
  arrays.check('action [*B] integer, log_probs [*B, A] float',
               action, log_probs)
  return jnp.take_along_axis(log_probs, action[..., None], -1).squeeze(-1)


def surrogate(
    logits: chex.Array, action: chex.Array, old_log_prob: chex.Array,
    advantage: chex.Array, clip_ratio: float,
) -> tuple[chex.Array, chex.Array]:
  """PPO's clipped surrogate (Schulman et al. 2017, equation 7), and entropy.

  Where the policy is still the one that acted, its gradient is A2C's.

  Args:
    logits: [..., A], of the policy as it is now.
    action: [...], what was done.
    old_log_prob: [...], of that when it was chosen.
    advantage: [...], of that.
    clip_ratio: how far the probability may move.

  Returns:
    The surrogate [...] and the entropy [...] of the policy.
  """
  arrays.check('action [*B] integer, logits [*B, A] float, '
               'old_log_prob [*B] float, advantage [*B] float',
               action, logits, old_log_prob, advantage)
  log_probs = jax.nn.log_softmax(logits)
  ratio = jnp.exp(log_prob(log_probs, action) - old_log_prob)
  clipped = jnp.clip(ratio, 1 - clip_ratio, 1 + clip_ratio)
  gain = jnp.minimum(ratio * advantage, clipped * advantage)
  return gain, -(jnp.exp(log_probs) * log_probs).sum(-1)
