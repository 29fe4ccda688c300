"""What a run leaves to act with: its weights, and what they were made for."""

from typing import Any

import numpy as np

from adjax import spaces
from adjax import types
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import stepping
from adjax.storage import weights as weights_lib


def weights(
    setup: setup_lib.Setup, params: types.PyTree, result: dict[str, Any],
    path: str,
) -> None:
  """Writes a file of weights, for adjax.Agent and for any other program.

  Args:
    setup: the run's objects.
    params: weights [seeds], fetched: what lies on several processes can only be
      had by all of them together.
    result: the run's, as result.json has it.
    path: of the file.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  weights_lib.save(path, header(setup, result), params)


def header(
    setup: setup_lib.Setup, result: dict[str, Any]
) -> weights_lib.Header:
  """What a file of weights says of itself."""
  experiment, env = setup.experiment, setup.tasks.env
  described = specification.describe(experiment)
  # What a model is shown is what it has to be given.
  space = getattr(env, 'view_space', env.observation_space)(env.default_params)
  held_out = result['held_out']
  return {
      'experiment': experiment.name, 'seeds': experiment.seeds,
      'model': described['model'], 'tasks': described['tasks'],
      'observation': spaces.to_data(space),
      'actions': stepping.num_actions(env),
      'held_out': {
          'return_mean': held_out['return_mean'], 'ci95': held_out['ci95'],
          'optimum': held_out['optimum'] and float(
              np.mean(held_out['optimum'])),
          'episodes': experiment.evaluate.episodes,
          'episode_length': setup.tasks.episode_length,
          'temperature': experiment.evaluate.temperature},
      'versions': result['versions']}
