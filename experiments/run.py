"""The main job: source learners, histories, a model that learns like them.

  python -m experiments.run --experiment=quick --workdir=runs/quick
"""

import dataclasses
import sys

from absl import app
from absl import flags
from absl import logging

# Only what --help needs is imported here: jax and gymnax take seconds, and a
# test holds these names to those of experiments/configs.py.
NAMES = ('quick', 'dark_room', 'dark_room_q', 'dark_room_rmax',
         'dark_room_noise', 'dark_room_hard', 'key_to_door')

_EXPERIMENT = flags.DEFINE_string(
    'experiment', 'quick', 'The preset: ' + ', '.join(NAMES) + '.')
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Where results go, and where a stopped run is taken up '
    'again. Default: runs/EXPERIMENT.')
_SEEDS = flags.DEFINE_integer(
    'seeds', None, 'Training seeds. Default: the preset\'s.')
_SET = flags.DEFINE_multi_string(
    'set', [], 'Replaces a field of the preset, as in '
    '--set distill.batch_size=64. May be repeated.')


def main(argv):
  logging.set_verbosity(logging.WARNING)
  try:
    if len(argv) > 1:
      raise ValueError(f'unexpected argument {argv[1]!r}; fields are set with '
                       '--set name=value')
    from adjax import config as config_lib
    from experiments import configs  # pylint: disable=g-import-not-at-top
    from experiments import pipeline
    experiment = config_lib.override(
        configs.get(_EXPERIMENT.value), _SET.value)
    if _SEEDS.value is not None:
      experiment = dataclasses.replace(experiment, seeds=_SEEDS.value)
    pipeline.run(experiment, _WORKDIR.value or f'runs/{_EXPERIMENT.value}')
  except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  app.run(main)
