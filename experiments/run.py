"""The main job: source learners, histories, a model that learns like them.

  python -m experiments.run --experiment=quick --workdir=runs/quick
"""

import dataclasses

from absl import app
from absl import flags

from experiments import cli

# Only what --help needs is imported here: jax and gymnax take seconds, and a
# test holds these names to those of experiments/presets.py.
NAMES = (
    'quick', 'dark_room', 'dark_room_q', 'dark_room_rmax', 'dark_room_noise',
    'dark_room_a2c', 'dark_room_ed', 'dark_room_rl2', 'dark_room_lstm',
    'dark_room_lstm_rl2', 'dark_room_hard', 'dark_room_hard_rmax',
    'dark_room_hard_a2c', 'dark_room_hard_ed', 'dark_room_hard_rl2',
    'dark_room_hard_lstm', 'key_to_door', 'key_to_door_q', 'key_to_door_a2c',
    'key_to_door_ed', 'key_to_door_rl2', 'key_to_door_lstm', 'bandit',
    'bandit_thompson', 'bandit_ed', 'bandit_rl2', 'bandit_lstm',
    'bandit_lstm_rl2', 'watermaze', 'watermaze_dqn', 'watermaze_ed',
    'watermaze_rl2', 'watermaze_lstm', 'gymnax', 'cartpole', 'paper',
    'paper_hard', 'paper_key_to_door', 'paper_watermaze')

_EXPERIMENT = flags.DEFINE_string(
    'experiment', 'quick', 'The preset: ' + ', '.join(NAMES) + '.')
_SIZE = flags.DEFINE_enum(
    'size', 'cpu', ('cpu', 'gpu'),
    'The preset\'s size: cpu is minutes on two cores, gpu has a wider model, '
    'larger batches and five seeds.')
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Where results go, and where a stopped run is taken up '
    'again. Default: runs/EXPERIMENT.')
_SEEDS = flags.DEFINE_integer(
    'seeds', None, 'Training seeds. Default: the preset\'s.')
_SET = flags.DEFINE_multi_string(
    'set', [], 'Replaces a field of the preset, as in '
    '--set distill.batch_size=64. May be repeated.')


_MESH = flags.DEFINE_string(
    'mesh', '', 'How devices are used, as data:8 for a batch over eight, or '
    'seed:2,data:4 for two groups of seeds besides. Default: data over all, or '
    'over as many cores as divide a batch.')
_ALLOW_VERSION_CHANGE = flags.DEFINE_bool(
    'allow_version_change', False, 'Take up a run of another version of this '
    'code or of its packages all the same; config.json keeps a list.')


@cli.main
def main():
  from adjax import config as config_lib
  from experiments import pipeline
  from experiments import presets
  from experiments import stopping
  experiment = config_lib.override(
      presets.get(_EXPERIMENT.value, _SIZE.value), _SET.value)
  if _SEEDS.value is not None:
    experiment = dataclasses.replace(experiment, seeds=_SEEDS.value)
  workdir = _WORKDIR.value or f'runs/{_EXPERIMENT.value}'
  return stopping.run(lambda stop: pipeline.run(
      experiment, workdir, stop=stop, layout=_MESH.value,
      allow_version_change=_ALLOW_VERSION_CHANGE.value))


if __name__ == '__main__':
  app.run(main)
