"""What the values of actions are trained towards: Q(lambda) targets."""

import chex
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import types


def targets(
    r_t: chex.Array, discount_t: chex.Array, trace_t: chex.Array,
    q_t: chex.Array,
) -> chex.Array:
  """Q(lambda) targets of one sequence, as of the values of its actions.

  Args:
    r_t: [T], the reward of each action.
    discount_t: [T], of what comes after it; 0 where the episode ended itself.
    trace_t: [T], lambda: how much of what comes after is what happened, and not
      what is thought of it; 0 where the next step is of another episode. The
      last one is never read.
    q_t: [T, A], values of the observation that each action led to.

  Returns:
    [T], r + discount * ((1 - trace) * max q + trace * the next target).
  """
  arrays.check('r_t [T] float, discount_t [T] float, trace_t [T] float, '
               'q_t [T, A] float', r_t, discount_t, trace_t, q_t)
  v_t = q_t.max(-1)

  def back(
      after: chex.Array, step: tuple[chex.Array, ...]
  ) -> tuple[chex.Array, chex.Array]:
    r, discount, trace, v = step
    target = r + discount * (v + trace * (after - v))
    return target, target

  return jax.lax.scan(
      back, v_t[-1], (r_t, discount_t, trace_t, v_t), reverse=True)[1]


def traces(
    lambda_: float, cut: bool, transition: types.Transition, q_t: chex.Array
) -> chex.Array:
  """The traces [T] of targets.

  Args:
    lambda_: lambda.
    cut: whether a trace ends before an action that is not greedy (Watkins
      1989), or goes on through it (Peng and Williams 1996).
    transition: Transition [T].
    q_t: [T, A], values of the observation that each action led to.
  """
  arrays.check('transition.action [T] integer, transition.done [T] bool, '
               'q_t [T, A] float', transition.action, transition.done, q_t)
  trace_t = lambda_ * ~transition.done
  if cut:
    after = jnp.roll(transition.action, -1)[:, None]
    chosen = jnp.take_along_axis(q_t, after, -1)[:, 0]
    trace_t = trace_t * (chosen >= q_t.max(-1))
  return trace_t
