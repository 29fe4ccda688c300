"""The run that is disturbed: starting it takes longer than running it."""

import dataclasses

import jax
import jax.numpy as jnp

from adjax import types
from adjax.envs import dark_room
from adjax.experiment import specification
from adjax.learners import tabular_q
from adjax.methods import distill
from adjax.models import transformer
from experiments.faults import harness


@dataclasses.dataclass(frozen=True)
class Tasks(dark_room.Config):
  """Dark Room without a map, so that there are few references to run."""

  def make(self) -> types.TaskDistribution:
    return dataclasses.replace(
        super().make(), optimal_policy=None, goal_policy=None)


@dataclasses.dataclass(frozen=True)
class Diverging:
  """Tabular Q, of which the learners of one training task have NaN.

  Attributes:
    task: which.
  """
  task: int = 5

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """The learner for these tasks."""
    learner = tabular_q.Config().make(tasks)

    def step(
        task: types.Task, state: types.PyTree, noise: types.PyTree
    ) -> tuple[types.PyTree, types.Transition]:
      state, transition = learner.step(task, state, noise)
      hit = jnp.all(task.goals == tasks.train.goals[self.task])
      return jax.tree.map(
          lambda x: jnp.where(hit, jnp.nan, x).astype(x.dtype)
          if jnp.issubdtype(x.dtype, jnp.floating) else x, state), transition

    return learner._replace(step=step)


experiment = specification.Experiment(
    name='tiny', seeds=2,
    tasks=Tasks(size=5, episode_length=10, num_train=18, num_validation=4,
                num_held_out=3),
    source=tabular_q.Config(),
    data=specification.Data(histories=2, episodes=8),
    model=transformer.Config(
        layers=1, width=16, heads=2, window=40, feed_forward=32),
    method=distill.Config(
        epochs=harness.EPOCHS, updates_per_epoch=harness.UPDATES, batch_size=4,
        length=60),
    evaluate=specification.Evaluate(
        episodes=5, runs=1, train_tasks=3, held_out_runs=2, reference_runs=3))
