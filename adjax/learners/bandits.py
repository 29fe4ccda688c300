"""What bandit learners share: they count what each arm paid."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from adjax import config as config_lib
from adjax import spaces
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
    tasks: types.TaskDistribution, choose: Callable[..., chex.Array],
    sample_noise: Callable[[chex.PRNGKey, int], types.PyTree],
) -> types.Learner:
  """A learner that looks at no observation, only at what the arms paid.

  Args:
    tasks: bandits.
    choose: (pulls [A], total [A], noise) -> action.
    sample_noise: (key, calls) -> noise [calls].

  Raises:
    ValueError: if their episodes are longer than one step, or if there is
      something to observe.
  """
  env = tasks.env
  config_lib.check(
      'tasks.episode_length', tasks.episode_length, tasks.episode_length == 1,
      '1 for a bandit learner: it does not look at where in an episode it is')
  shown = spaces.observation(env).parts
  config_lib.check(
      'tasks.env', env.name, all((x.low == x.high).all() for x in shown),
      'a bandit, that shows one and the same observation, for a learner that '
      'looks at none')
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
