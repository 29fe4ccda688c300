"""What a model is trained on, whatever that is.

Four ways to the same epoch, one class each: `Online` here, three ways of
distilling in `distillation` and `stored`. `compile` makes every program they
need before anything is computed, so that what it takes can be told first;
`begin` makes or opens the data; `epoch` trains and evaluates.
"""

from typing import Any

import chex

from adjax import distill
from adjax import rl2
from adjax import types
from experiments import configs
from experiments import distillation
from experiments import memory
from experiments import progress as progress_lib
from experiments import stored
from experiments.clock import Clock


class Online:
  """RL2: no histories; the model lives its own.

  Attributes, of all four:
    transitions: that a seed is trained on in one epoch.
    rate: env-steps/s at which histories were made; None if none were.
  """

  def __init__(self, experiment, tasks, source, model, key, mesh):
    del source, key
    config = experiment.training
    self._config, self._mesh = config, mesh
    self._tasks, self._model = tasks, model
    self.transitions = (config.updates_per_epoch * config.trials
                        * config.episodes * tasks.episode_length)
    self.rate = None

  def init(self, key: chex.PRNGKey) -> distill.TrainState:
    """A fresh state of one training seed."""
    return rl2.init(self._config, self._model, self._tasks, key)

  def compile(
      self, evaluation: distill.Evaluation, states: distill.TrainState,
      clock: Clock,
  ) -> dict[str, int]:
    """Makes the programs: {stage: bytes it needs on each device}."""
    self._epoch = clock.compile(rl2.make_epoch(
        self._config, self._model, self._tasks, evaluation, self._mesh), states)
    return {'training': memory.program(self._epoch)}

  def begin(self, clock: Clock, progress: progress_lib.Progress) -> None:
    """Makes or opens the data."""

  def release(self) -> None:
    """Lets go of the data: no epoch is to follow."""

  def epoch(
      self, number: int, states: distill.TrainState
  ) -> tuple[distill.TrainState, dict[str, Any]]:
    """States after the epoch of a number from 1, and what was measured."""
    del number
    return self._epoch(states)


Training = Online | distillation.InMemory | distillation.Endless | stored.Stored


def make(
    experiment: configs.Experiment, tasks: types.TaskDistribution,
    source: types.Learner | None, model: Any, key: chex.PRNGKey,
    mesh: Any = None,
) -> Training:
  """How an experiment is trained; nothing is computed yet.

  Args:
    experiment: the config.
    tasks: its tasks.
    source: its source learner, if it has one.
    model: its sequence model.
    key: of the histories.
    mesh: the devices.
  """
  if experiment.data is None:
    kind = Online
  elif experiment.data.store:
    kind = stored.Stored
  elif experiment.data.refresh:
    kind = distillation.Endless
  else:
    kind = distillation.InMemory
  return kind(experiment, tasks, source, model, key, mesh)
