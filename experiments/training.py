"""A run up to its first epoch, for what measures or looks at the rest."""

from typing import NamedTuple

from adjax.experiment import clock as clock_lib
from adjax.experiment import data as data_lib
from adjax.experiment import progress as progress_lib
from adjax.experiment import run
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.methods import training


class Begun(NamedTuple):
  """What an epoch of an experiment is run with.

  Attributes:
    setup: its objects.
    clock: compiles and times.
    data: generated or opened.
    states: fresh ones [seeds].
  """
  setup: setup_lib.Setup
  clock: clock_lib.Clock
  data: data_lib.Online
  states: training.TrainState


def begin(
    experiment: specification.Experiment, mesh: str = '',
    progress: progress_lib.Progress | None = None,
) -> Begun:
  """Compiles an experiment's programs and makes its data, as a run does.

  Args:
    experiment: the configuration.
    mesh: as devices.parse_mesh reads it; '' for all devices, or of cores as
      many as divide a batch.
    progress: is told how it goes.
  """
  setup = setup_lib.make(experiment, mesh)
  clock = clock_lib.Clock(setup.mesh)
  data = run.make_data(setup, clock, progress or progress_lib.Progress())
  states = run.init_states(setup, clock)
  data.compile(states)
  data.begin()
  return Begun(setup, clock, data, data.scale(states))
