"""The trained models in the box, made anew: adjax/pretrained/NAME.npz.

  python -m experiments.pretrained [--names=dark_room,key_to_door]

Each is a run of the preset of its name with one seed, in --workdir/NAME. Its
weights are rounded to float16, and it is these that are put into the held-out
tasks once more: the figures that such a file states are those of what is in it.
"""

import dataclasses
import os
from typing import Any

from absl import flags

from adjax.cli import console
from adjax.cli import launcher

_NAMES = flags.DEFINE_list(
    'names', ['dark_room', 'key_to_door'], 'Which of the presets.')
_WORKDIR = flags.DEFINE_string(
    'workdir', 'runs/pretrained', 'Where the runs are.')
_OUT = flags.DEFINE_string(
    'out', os.path.join('adjax', 'pretrained'), 'Where the files go.')

# What a file may have.
_BYTES = 2**20


def main() -> None:
  """Runs, rounds, evaluates and writes, one after the other."""
  from adjax import presets
  from adjax.experiment import run
  from adjax.experiment import specification
  for name in _NAMES.value:
    experiment = specification.override(
        dataclasses.replace(presets.get(name), seeds=1), flags.FLAGS.set)
    workdir = os.path.join(_WORKDIR.value, name)
    run.run(experiment, workdir, console.Console())
    path = os.path.join(_OUT.value, f'{name}.npz')
    header = write(experiment, os.path.join(workdir, 'weights.npz'), path)
    held_out = header['held_out']
    last = held_out['return_mean'][-10:]
    print(f'{path}: {os.path.getsize(path) / 2**20:.2f} MiB; held out, last '
          f'{len(last)} episodes: {sum(last) / len(last):.3f} of '
          f'{held_out["optimum"]:.3f}')


def write(experiment: Any, source: str, path: str) -> dict[str, Any]:
  """Writes the weights of a run as they come in the box; returns the header.

  Args:
    experiment: of the run, with one seed.
    source: its weights.npz.
    path: of the file.
  """
  import jax
  import numpy as np

  from adjax import devices
  from adjax import metrics
  from adjax.experiment import clock as clock_lib
  from adjax.experiment import keep
  from adjax.experiment import report
  from adjax.experiment import run
  from adjax.experiment import setup as setup_lib
  from adjax.experiment import workdir as workdir_lib
  from adjax.methods import training
  from adjax.storage import weights

  header, nested = weights.load(source)
  half = jax.tree.map(lambda x: x[None].astype(np.float16),
                      weights.params(header, nested))
  if not all(np.isfinite(x).all() for x in jax.tree.leaves(half)):
    raise ValueError(f'{source}: must have weights that float16 can hold')
  setup = setup_lib.make(experiment)
  params = jax.device_put(
      jax.tree.map(lambda x: x.astype(np.float32), half),
      devices.replicated(setup.mesh))
  clock = clock_lib.Clock(setup.mesh)
  program = run.compile_held_out(
      setup, clock, training.TrainState(params, None, None, None, None))
  curves = devices.fetch(clock.run('evaluate', program, params))['held_out'][0]
  optimum = report.optimum(setup.tasks, setup.tasks.held_out)
  header = keep.header(setup, workdir_lib.machine() | {'held_out': {
      'return_mean': np.nanmean(curves, (0, 1, 2)).tolist(),
      'ci95': metrics.intervals(curves, optimum)[0].tolist(),
      'optimum': None if optimum is None else optimum.tolist()}})
  os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
  weights.save(path, header, half)
  if os.path.getsize(path) > _BYTES:
    raise ValueError(f'{path}: must be of at most {_BYTES} bytes')
  return header


if __name__ == '__main__':
  launcher.start(main)
