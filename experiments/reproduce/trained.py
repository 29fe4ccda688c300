"""A finished run's models on held-out tasks, in other ways than its own."""

from collections.abc import Callable
import os
from typing import Any
from typing import NamedTuple

import chex
import jax
import numpy as np

from adjax import histories
from adjax import metrics
from adjax import types
from adjax.experiment import report
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.storage import weights
from experiments.results import pack


class Trained(NamedTuple):
  """A finished run.

  Attributes:
    workdir: its folder.
    setup: its objects.
    params: the last weights of each training seed.
  """
  workdir: str
  setup: setup_lib.Setup
  params: list[types.PyTree]

  @property
  def tasks(self) -> types.TaskDistribution:
    return self.setup.tasks

  @property
  def evaluate(self) -> specification.Evaluate:
    """How it was evaluated."""
    return self.setup.experiment.evaluate


def load(workdir: str, experiment: specification.Experiment) -> Trained:
  """The finished run of an experiment in a workdir."""
  header, nested = weights.load(os.path.join(workdir, 'weights.npz'))
  return Trained(workdir, setup_lib.make(experiment, 'data:1'), [
      weights.params(header, nested, seed) for seed in range(header['seeds'])])


def returns(
    run: Trained, learner_of: Callable[[types.PyTree], types.Learner],
    tasks: types.Task, runs: int, episodes: int,
) -> np.ndarray:
  """What learners earn with the last weights of each seed.

  Each seed has the random numbers of its own evaluation: of the same learner on
  the held-out tasks the returns are those that the run has told.

  Args:
    run: the run.
    learner_of: params -> a learner.
    tasks: [N].
    runs: R.
    episodes: E.

  Returns:
    Returns [seeds, N, R, E].
  """
  return compiled(run, learner_of, tasks, runs, episodes)()


def compiled(
    run: Trained, learner_of: Callable[..., types.Learner], tasks: types.Task,
    runs: int, episodes: int,
) -> Callable[..., np.ndarray]:
  """The same of a learner that depends on more than weights, compiled once.

  Args:
    run: as in returns.
    learner_of: (params, *what it depends on besides) -> a learner.
    tasks: as in returns.
    runs: as in returns.
    episodes: as in returns.

  Returns:
    (*what it depends on) -> returns [seeds, N, R, E].
  """
  @jax.jit
  def one(
      params: types.PyTree, key: chex.PRNGKey, *given: chex.Array
  ) -> chex.Array:
    history, _ = histories.generate(
        learner_of(params, *given), tasks, key, runs,
        episodes * run.tasks.episode_length)
    return metrics.learning_curves(history.reward, history.done, episodes)

  return lambda *given: np.stack([
      np.asarray(one(params, jax.random.fold_in(
          run.setup.keys.held_out, seed), *given))
      for seed, params in enumerate(run.params)])


def as_set(run: Trained, returns: np.ndarray) -> dict[str, Any]:
  """What a row says of returns [seeds, N, R, E] on the held-out tasks."""
  optimum = report.optimum(run.tasks, run.tasks.held_out)
  return {'optimum': None if optimum is None else optimum.tolist(),
          'returns': pack.pack(returns)}
