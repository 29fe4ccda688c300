"""The one interface, a learner, and the one driver, unroll.

Axes, here and everywhere: N tasks, K environment copies of one learner,
S = N * K streams, T steps of a history, E episodes, B batch, L context length,
W attention window, D width, H heads, A actions, O observation shape.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

Task = Any  # An environment's EnvParams; with a leading axis, [N] of them.


class Transition(NamedTuple):
  """One step of an environment.

  Attributes:
    obs: [*O], what the action was chosen on.
    action: [], an integer in [0, A).
    reward: [], float32.
    done: [], bool: the episode ended here, for whatever reason.
    terminated: [], bool: it ended by itself, not by the time limit.
    next_obs: [*O], what the step led to, before any reset.
  """
  obs: chex.Array
  action: chex.Array
  reward: chex.Array
  done: chex.Array
  terminated: chex.Array
  next_obs: chex.Array


class History(NamedTuple):
  """What a learner saw and did, from its first step on, across episodes.

  Attributes:
    obs: [..., T, *O], in the dtype of the observation space.
    action: [..., T], in the smallest integer dtype that holds A.
    reward: [..., T], float32.
    done: [..., T], bool.
  """
  obs: chex.Array
  action: chex.Array
  reward: chex.Array
  done: chex.Array


class Learner(NamedTuple):
  """A reinforcement learner as two pure functions over one task.

  Attributes:
    init: (task, key) -> state, before any experience.
    step: (task, state, chance) -> (state, Transition [n, K]). Acts n steps in
      each of its K copies of the environment, then learns once. All that is
      random follows from chance, which draw made.
    stride: n.
    draw: (key, calls) -> chance [calls] of so many calls of step; keys by
      default. Many random numbers at once cost far less than one by one.
  """
  init: Callable[[Task, chex.PRNGKey], Any]
  step: Callable[[Task, Any, Any], tuple[Any, Transition]]
  stride: int = 1
  draw: Callable[[chex.PRNGKey, int], Any] = jax.random.split


@dataclasses.dataclass(frozen=True)
class TaskDistribution:
  """Tasks of one environment, in three disjoint sets.

  Attributes:
    env: a gymnax environment; the task is its EnvParams.
    train: [N] tasks, the only ones a history is ever made of.
    validation: [N'] tasks, for the curves of every epoch and for all tuning.
    held_out: [N''] tasks, for the final checkpoint only.
    support: [M] tasks, the whole task law if it is finite, or stand-ins that
      together cover it, or None.
    episode_length: the number of steps after which every episode has ended.
    optimal_return: task -> [], the most an episode can bring, or None.
    optimal_policy: (task, env_state, key) -> action, ties broken uniformly, or
      None.
    walk: (obs, target, key) -> action on a shortest way from one observation to
      another, or None.
    num_goals: how many rewards in one episode have a place of their own.
    shifted: {name: tasks} drawn from other laws than the three sets, for the
      final checkpoint only.
  """
  env: Any
  train: Task
  validation: Task
  held_out: Task
  support: Task | None
  episode_length: int
  optimal_return: Callable[[Task], chex.Array] | None = None
  optimal_policy: Callable[..., chex.Array] | None = None
  walk: Callable[..., chex.Array] | None = None
  num_goals: int = 1
  shifted: Mapping[str, Task] = dataclasses.field(default_factory=dict)

  def sample(self, key: chex.PRNGKey) -> Task:
    """One training task, uniformly."""
    index = jax.random.randint(key, (), 0, num_tasks(self.train))
    return jax.tree.map(lambda x: x[index], self.train)


def num_tasks(tasks: Task) -> int:
  """The length N of the leading axis of a batch of tasks."""
  return jax.tree.leaves(tasks)[0].shape[0]


# Steps for which unroll draws at once. Many enough to be cheap, few enough for
# what is drawn for thousands of learners to stay in a cache, and for what is
# done beyond the last step not to count.
BLOCK = 50


def unroll(
    learner: Learner, task: Task, key: chex.PRNGKey, num_steps: int
) -> History:
  """The history of a fresh learner on one task.

  The first t steps are the same whatever num_steps is.

  Args:
    learner: the learner.
    task: one task.
    key: one typed key; the history is a pure function of (task, key).
    num_steps: T; the learner goes on to a multiple of its stride, and what it
      does beyond T is dropped.

  Returns:
    History [K, T].
  """
  calls = -(-num_steps // learner.stride)
  block_calls = max(1, BLOCK // learner.stride)
  size = min(calls, block_calls)
  init_key, step_key = jax.random.split(key)

  def call(state, chance):
    state, transition = learner.step(task, state, chance)
    return state, History(transition.obs, transition.action,
                          transition.reward, transition.done)

  def block(state, index):
    chances = learner.draw(jax.random.fold_in(step_key, index), block_calls)
    return jax.lax.scan(
        call, state, jax.tree.map(lambda x: x[:size], chances))

  _, history = jax.lax.scan(
      block, learner.init(task, init_key), jnp.arange(-(-calls // size)))

  def lay(x):  # [blocks, size, n, K, ...] -> [K, T, ...].
    steps = x.reshape(-1, *x.shape[3:])[:num_steps]
    return jnp.moveaxis(steps, 1, 0)

  return jax.tree.map(lay, history)
