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

from adjax import arrays

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
    fresh: key -> one task of the law of the training tasks, drawn anew and none
      of the other sets'; None if the training tasks are all there are.
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
  fresh: Callable[[chex.PRNGKey], Task] | None = None

  def sample(self, key: chex.PRNGKey) -> Task:
    """One training task, uniformly."""
    arrays.check('key [] key', key)
    index = jax.random.randint(key, (), 0, num_tasks(self.train))
    return jax.tree.map(lambda x: x[index], self.train)


def num_tasks(tasks: Task) -> int:
  """The length N of the leading axis of a batch of tasks."""
  arrays.check('tasks [N, ...] any', tasks)
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
  return unroll_checked(learner, task, key, num_steps)[0]


def unroll_checked(
    learner: Learner, task: Task, key: chex.PRNGKey, num_steps: int
) -> tuple[History, chex.Array]:
  """As unroll, and whether the learner was sound [] to the end.

  One that fell ill has a reward or an observation that is not finite, NaN in
  its state, or infinity where its state began without one. What it does may
  still look like a history: of NaN values the first action is the greatest.
  """
  arrays.check('key [] key', key)
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

  begin = learner.init(task, init_key)
  end, history = jax.lax.scan(
      block, begin, jnp.arange(-(-calls // size)))

  def lay(x):  # [blocks, size, n, K, ...] -> [K, T, ...].
    steps = x.reshape(-1, *x.shape[3:])[:num_steps]
    return jnp.moveaxis(steps, 1, 0)

  history = jax.tree.map(lay, history)
  return history, _sound(begin, end) & _finite((history.obs, history.reward))


def _sound(begin: Any, end: Any) -> chex.Array:
  """Whether a state [] has no NaN, and no infinity it did not begin with."""
  sound = [
      ~jnp.isnan(b).any() & (jnp.isfinite(b).all() | ~jnp.isfinite(a).all())
      for a, b in zip(jax.tree.leaves(begin), jax.tree.leaves(end))
      if jnp.issubdtype(b.dtype, jnp.floating)]
  return jnp.stack(sound).all() if sound else jnp.bool_(True)


def _finite(tree: Any) -> chex.Array:
  """Whether all numbers of a tree are finite []."""
  return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()
