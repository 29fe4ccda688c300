"""Tasks that change in a way that none in training does: more sets of a row.

Actions that have traded places, and a task that becomes another while the
context goes on.
"""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import config
from adjax import histories
from adjax import metrics
from adjax import types
from adjax.learners import references
from adjax.learners import stepping
from adjax.models import in_context
from experiments.reproduce import trained
from experiments.results import pack

# Episodes before the task becomes another, of all, and runs on each task.
BEFORE, _EPISODES, _RUNS = 20, 60, 8


def permuted(run: trained.Trained) -> dict[str, dict[str, Any]]:
  """{'permuted': set of a row}: of each held-out task in a way of its own."""
  held_out = run.tasks.held_out
  tasks = held_out, jnp.asarray(permutations(
      types.num_tasks(held_out), stepping.num_actions(run.tasks.env),
      run.setup.experiment.seed))
  learner_of = lambda params: in_context.in_context(
      PermutedActions(run.tasks.env), run.setup.model, params,
      run.evaluate.temperature)
  return {'permuted': trained.as_set(run, trained.returns(
      run, learner_of, tasks, _RUNS, run.evaluate.episodes))}


def moved(run: trained.Trained) -> dict[str, dict[str, Any]]:
  """{'moved': set of a row}: each held-out task becomes the next one.

  What is earned is told by the task that it then is.
  """
  tasks, source = run.tasks, run.setup.source
  steps = BEFORE * tasks.episode_length
  pairs = tasks.held_out, jax.tree.map(
      lambda x: jnp.roll(x, -1, 0), tasks.held_out)

  def by_task(returns: np.ndarray) -> np.ndarray:
    """Of [..., N, R, E]."""
    return np.concatenate([
        returns[..., :BEFORE], np.roll(returns[..., BEFORE:], 1, -3)], -1)

  def reference(learner: types.Learner) -> dict[str, Any]:
    history, _ = histories.generate(
        switch_task_after(learner, steps), pairs, run.setup.keys.references,
        _RUNS, _EPISODES * tasks.episode_length)
    mean = by_task(np.asarray(metrics.learning_curves(
        history.reward, history.done, _EPISODES))).mean(1, np.float64)
    return {'return_mean': mean.mean(0).round(4).tolist(),
            'per_task': pack.pack(mean)}

  assert source is not None
  learner_of = lambda params: switch_task_after(
      run.setup.trainer.learner(params, run.evaluate.temperature), steps)
  returns = trained.returns(run, learner_of, pairs, _RUNS, _EPISODES)
  return {'moved': trained.as_set(run, by_task(returns)) | {
      'source': reference(source), 'random_walk_with_memory': reference(
          references.random_walk_with_memory(tasks))}}


@dataclasses.dataclass(frozen=True)
class PermutedActions:
  """An environment whose actions have traded places.

  A task is a task of the environment, and which of its actions [A] each action
  is.

  Attributes:
    env: a gymnax environment.
  """
  env: types.Env

  @property
  def name(self) -> str:
    return f'{self.env.name}, permuted'

  @property
  def default_params(self) -> types.Task:
    return (self.env.default_params,
            jnp.arange(stepping.num_actions(self.env)))

  def action_space(self, params: types.Task) -> Any:
    return self.env.action_space(params[0])

  def observation_space(self, params: types.Task) -> Any:
    return self.env.observation_space(params[0])

  def reset(self, key: chex.PRNGKey, params: types.Task) -> Any:
    return self.env.reset(key, params[0])

  def step(
      self, key: chex.PRNGKey, state: types.PyTree, action: chex.Array,
      params: types.Task,
  ) -> Any:
    task, permutation = params
    return self.env.step(key, state, permutation[action], task)


def permutations(num: int, actions: int, seed: int) -> np.ndarray:
  """Permutations [num, A] in which each action is another."""
  rng = np.random.default_rng(seed)
  found: list[np.ndarray] = []
  while len(found) < num:
    drawn = rng.permutation(actions)
    if (drawn != np.arange(actions)).all():
      found.append(drawn)
  return np.stack(found)


def switch_task_after(learner: types.Learner, steps: int) -> types.Learner:
  """A learner whose task becomes another, which it is not told.

  Where an episode ends with the last of these steps, the reset after it is
  still the first task's.

  Args:
    learner: a learner.
    steps: after how many; a multiple of its steps_per_call.

  Returns:
    One of pairs of tasks: the first, and that which it becomes.
  """
  config.check('steps', steps, steps % learner.steps_per_call == 0,
               f'a multiple of steps_per_call={learner.steps_per_call}')

  def init(
      pair: types.Task, key: chex.PRNGKey
  ) -> tuple[types.PyTree, chex.Array]:
    return learner.init(pair[0], key), jnp.int32(0)

  def step(
      pair: types.Task, state: tuple[types.PyTree, chex.Array],
      noise: types.PyTree,
  ) -> tuple[tuple[types.PyTree, chex.Array], types.Transition]:
    inner, time = state
    task = jax.tree.map(lambda a, b: jnp.where(time < steps, a, b), *pair)
    inner, transition = learner.step(task, inner, noise)
    return (inner, time + learner.steps_per_call), transition

  return learner._replace(init=init, step=step)
