"""What bandit learners share: they count what each arm paid."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from adjax import types
from adjax.learners import stepping


class Arms(NamedTuple):
  """What a bandit learner knows.

  Attributes:
    actor: its ActorState.
    pulls: [A], float32, how often each arm was pulled.
    total: [A], float32, what each arm paid in all.
  """
  actor: stepping.ActorState
  pulls: chex.Array
  total: chex.Array


def learner(
    env: types.Env, choose: Callable[..., chex.Array],
    sample_noise: Callable[[chex.PRNGKey, int], types.PyTree],
) -> types.Learner:
  """A learner that looks at no observation, only at what the arms paid.

  Args:
    env: an environment whose episodes are one step.
    choose: (pulls [A], total [A], noise) -> action.
    sample_noise: (key, calls) -> noise [calls].
  """
  arms = stepping.num_actions(env)

  def init(task: types.Task, key: chex.PRNGKey) -> Arms:
    return Arms(
        stepping.reset(env, task, key), jnp.zeros(arms), jnp.zeros(arms))

  def step(
      task: types.Task, state: Arms, noise: types.PyTree
  ) -> tuple[Arms, types.Transition]:
    choice_noise, env_key = noise
    action = choose(state.pulls, state.total, choice_noise)
    actor, transition = stepping.step(env, task, state.actor, action, env_key)
    state = Arms(actor, state.pulls.at[action].add(1.0),
                 state.total.at[action].add(transition.reward))
    return state, stepping.single(transition)

  return types.Learner(
      init, step, sample_noise=stepping.with_env_keys(sample_noise))
