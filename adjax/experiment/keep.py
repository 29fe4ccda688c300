"""What a run leaves: its weights, what they were made for, all that they earn.
"""

from typing import Any

import numpy as np

from adjax import spaces
from adjax import types
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import stepping
from adjax.storage import files
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


def returns(path: str, curves: dict[str, dict[str, np.ndarray]]) -> None:
  """Writes every return of the final evaluation, for figures of one's own.

  Args:
    path: of the file.
    curves: {set of tasks: {`model`: [seeds, N, R, E], and each reference: [N,
      R * K, E]}}.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  header = {'format': files.FORMAT, 'sets': list(curves)}
  files.write_npz(path, {'header': np.array(files.to_json(header))} | {
      f'{name}/{learner}': smallest(x) for name, of_set in curves.items()
      for learner, x in of_set.items()}, compress=True)


def smallest(x: np.ndarray) -> np.ndarray:
  """The same as integers, if all are whole; otherwise as float32."""
  if np.isfinite(x).all() and (x == np.round(x)).all():
    for dtype in np.int8, np.int16, np.int32:
      limits = np.iinfo(dtype)
      if limits.min <= x.min() and x.max() <= limits.max:
        return x.astype(dtype)
  return x.astype(np.float32)


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
