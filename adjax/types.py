"""The one interface, a learner, and the one driver, unroll.

Axes, here and everywhere: N tasks, K environment copies of one learner,
S = N * K streams, T steps of a history, E episodes, B batch, L context length,
W attention window, D width, H heads, A actions, O observation shape.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any
from typing import cast
from typing import NamedTuple
from typing import TypeAlias
from typing import TypeVar

import chex
import jax
import jax.numpy as jnp

from adjax import arrays

# A tree of arrays; of what structure, only its maker knows.
PyTree: TypeAlias = Any
# An environment's EnvParams; with a leading axis, [N] of them.
Task: TypeAlias = Any
# A gymnax 1.0 environment: reset(key, task), step(key, state, action, task),
# action_space, observation_space, default_params.
Env: TypeAlias = Any


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
  """What a learner observed and did, from its first step on, over episodes.

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
    step: (task, state, noise) -> (state, Transition [n, K]). Acts n steps in
      each of its K copies of the environment, then learns once; deterministic
      given noise.
    steps_per_call: n.
    sample_noise: (key, calls) -> noise [calls] of so many calls of step; keys
      by default. Many random numbers at once cost far less than one by one.
  """
  init: Callable[[Task, chex.PRNGKey], PyTree]
  step: Callable[[Task, PyTree, PyTree], tuple[PyTree, Transition]]
  steps_per_call: int = 1
  sample_noise: Callable[[chex.PRNGKey, int], PyTree] = jax.random.split


Make = TypeVar('Make', bound=Callable[..., Learner])


def cached(make: Make) -> Make:
  """A function that makes a learner once for equal arguments.

  jit tells learners apart by identity: of one made anew for every call, every
  call would be compiled.
  """
  return cast(Make, functools.lru_cache(maxsize=8)(make))


@dataclasses.dataclass(frozen=True, eq=False)
class TaskDistribution:
  """Tasks of one environment, in three disjoint sets; equal to itself only.

  Attributes:
    env: a gymnax environment; the task is its EnvParams.
    train: [N] tasks, the only ones a history is ever made of.
    validation: [N'] tasks, for the curves of every epoch and for all tuning.
    held_out: [N''] tasks, for the final checkpoint only.
    episode_length: the number of steps after which every episode has ended.
    hypotheses: [M] tasks, the whole distribution if it is finite, or stand-ins
      that together cover it, or None.
    optimal_return: task -> [], the most an episode can bring, or None.
    optimal_policy: (task, env_state, key) -> action, ties broken uniformly, or
      None.
    goal_policy: (obs, goal, key) -> action on a shortest way from one
      observation to another, or None.
    num_goals: how many rewards in one episode have a cell of their own.
    shifted: {name: tasks} drawn from other distributions than the three sets,
      for the final checkpoint only.
    sample_new: key -> one task of the distribution of the training tasks, drawn
      anew and none of the other sets'; None if the training tasks are all there
      are.
  """
  env: Env
  train: Task
  validation: Task
  held_out: Task
  episode_length: int
  hypotheses: Task | None = None
  optimal_return: Callable[[Task], chex.Array] | None = None
  optimal_policy: Callable[..., chex.Array] | None = None
  goal_policy: Callable[..., chex.Array] | None = None
  num_goals: int = 1
  shifted: Mapping[str, Task] = dataclasses.field(default_factory=dict)
  sample_new: Callable[[chex.PRNGKey], Task] | None = None

  def sample(self, key: chex.PRNGKey) -> Task:
    """One training task, uniformly."""
    arrays.check('key [] key', key)
    index = jax.random.randint(key, (), 0, num_tasks(self.train))
    return jax.tree.map(lambda x: x[index], self.train)


def num_tasks(tasks: Task) -> int:
  """The length N of the leading axis of a batch of tasks."""
  arrays.check('tasks [N, ...] any', tasks)
  return jax.tree.leaves(tasks)[0].shape[0]


# Steps whose noise unroll samples at once. Many enough to be cheap, few enough
# for the noise of thousands of learners to stay in a cache, and for what is
# done beyond the last step not to count.
BLOCK = 50


@arrays.standard_promotion()
def unroll(
    learner: Learner, task: Task, key: chex.PRNGKey, num_steps: int
) -> tuple[History, chex.Array]:
  """The history of a fresh learner on one task.

  The first t steps are the same whatever num_steps is.

  Args:
    learner: the learner.
    task: one task.
    key: one typed key; the history is a pure function of (task, key).
    num_steps: T; the learner goes on to a multiple of its steps_per_call, and
      what it does beyond T is dropped.

  Returns:
    History [K, T], and whether the learner stayed finite [] to the end. One
    that diverged has a reward or an observation that is not finite, NaN in its
    state, or infinity where its state began without one. What it does may still
    look like a history: of NaN values the first action is the greatest.
  """
  arrays.check('key [] key', key)
  calls = -(-num_steps // learner.steps_per_call)
  block_calls = max(1, BLOCK // learner.steps_per_call)
  size = min(calls, block_calls)
  init_key, step_key = jax.random.split(key)

  def call(state: PyTree, noise: PyTree) -> tuple[PyTree, History]:
    state, transition = learner.step(task, state, noise)
    if jnp.ndim(transition.done) != 2:
      raise ValueError(
          f'learner: its step must return Transition [n, K], of its n = '
          f'{learner.steps_per_call} steps and K copies of the environment, '
          f'not {list(jnp.shape(transition.done))}; '
          'adjax.learners.stepping.single makes it of one step')
    arrays.check(
        'transition.done [n, K] any, transition.action [n, K] any, '
        'transition.reward [n, K] any, transition.obs [n, K, ...] any',
        transition.done, transition.action, transition.reward, transition.obs,
        n=learner.steps_per_call)
    return state, History(transition.obs, transition.action,
                          transition.reward, transition.done)

  def block(state: PyTree, index: chex.Array) -> tuple[PyTree, History]:
    noise = learner.sample_noise(
        jax.random.fold_in(step_key, index), block_calls)
    return jax.lax.scan(
        call, state, jax.tree.map(lambda x: x[:size], noise))

  first = learner.init(task, init_key)
  last, history = jax.lax.scan(block, first, jnp.arange(-(-calls // size)))

  def merge_calls(x: chex.Array) -> chex.Array:
    # [blocks, size, n, K, ...] -> [K, T, ...].
    steps = x.reshape(-1, *x.shape[3:])[:num_steps]
    return jnp.moveaxis(steps, 1, 0)

  history = jax.tree.map(merge_calls, history)
  return history, (_stayed_finite(first, last)
                   & _is_finite((history.obs, history.reward)))


def _stayed_finite(first: PyTree, last: PyTree) -> chex.Array:
  """Whether a state [] has no NaN, and no infinity it did not begin with."""
  finite = [
      ~jnp.isnan(b).any() & (jnp.isfinite(b).all() | ~jnp.isfinite(a).all())
      for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last))
      if jnp.issubdtype(b.dtype, jnp.floating)]
  return jnp.stack(finite).all() if finite else jnp.bool_(True)


def _is_finite(tree: PyTree) -> chex.Array:
  """Whether all numbers of a tree are finite []."""
  return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()
