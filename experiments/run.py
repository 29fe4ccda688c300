"""The main job: source learners, histories, a model that learns like them.

  python -m experiments.run --experiment=quick --workdir=runs/quick
"""

import dataclasses

from absl import app
from absl import flags

from experiments import cli

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


@cli.main
def main():
  from adjax import config as config_lib
  from experiments import configs
  from experiments import pipeline
  experiment = config_lib.override(
      configs.get(_EXPERIMENT.value), _SET.value)
  if _SEEDS.value is not None:
    experiment = dataclasses.replace(experiment, seeds=_SEEDS.value)
  pipeline.run(experiment, _WORKDIR.value or f'runs/{_EXPERIMENT.value}')


if __name__ == '__main__':
  app.run(main)
