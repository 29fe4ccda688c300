"""The main job: source learners, histories, a model that learns like them.

  adjax run --experiment=quick --workdir=runs/quick
"""

from collections.abc import Callable
import dataclasses
import re
from typing import Any

from absl import flags

from adjax.cli import launcher

_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'Where results go, and where a stopped run is resumed. '
    'Default: runs/NAME.')
_SEEDS = flags.DEFINE_integer(
    'seeds', None, 'Training seeds. Default: the experiment\'s.')
_MESH = flags.DEFINE_string(
    'mesh', '', 'How devices are used, as data:8 for a batch over eight, or '
    'seed:2,data:4 for two groups of seeds besides. Default: data over all, or '
    'over as many cores as divide a batch.')
_ALLOW_VERSION_CHANGE = flags.DEFINE_bool(
    'allow_version_change', False, 'Resume a run of another version of adjax '
    'or of its packages all the same; config.json keeps a list.')
_LIST = flags.DEFINE_bool('list', False, 'Lists the presets and exits.')


def main() -> int:
  """Runs what the flags tell; returns the exit code."""
  from adjax import presets
  from adjax.cli import console
  from adjax.experiment import run
  from adjax.experiment import stopping
  if _LIST.value:
    for name in presets.PRESETS:
      print(f'{name:22}{presets.describe(name)}')
    return 0
  experiment = launcher.experiment()
  if _SEEDS.value is not None:
    experiment = dataclasses.replace(experiment, seeds=_SEEDS.value)
  workdir = (f'runs/{experiment.name}' if _WORKDIR.value is None
             else _WORKDIR.value)
  return stopping.run(lambda stop: _run(lambda: run.run(
      experiment, workdir, console.Console(), stop, _MESH.value,
      _ALLOW_VERSION_CHANGE.value)))


def _run(action: Callable[[], Any]) -> None:
  """The run; an error that names an argument names its flag."""
  try:
    action()
  except ValueError as error:
    text = re.sub(r'^(?=(workdir|mesh|seeds)=)|\b(?=allow_version_change\b)',
                  '--', str(error))
    raise ValueError(re.sub(
        r'^(?=(tasks|source|data|model|method|evaluate)\.\w+=)', '--set ', text
    )) from error


def start(argv: list[str] | None = None) -> None:
  """The program."""
  launcher.start(main, argv)


if __name__ == '__main__':
  start()
