"""The main job: source learners, histories, a model that learns like them.

  adjax run --experiment=quick --workdir=runs/quick
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import re

from absl import flags

from adjax.cli import launcher
from adjax.cli import sweep

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
_LOG = flags.DEFINE_string(
    'log', '', 'Where epochs are told besides metrics.jsonl: tensorboard, '
    'wandb, or both with a comma between them.')
_SWEEP = flags.DEFINE_multi_string(
    'sweep', [], 'Runs an experiment for each value of a field, as in '
    '--sweep=seed=0..4 or --sweep=model.width/model.heads=64/2,128/4; repeated '
    'for a product, the last fastest. They are ranked on validation tasks; '
    'held-out tasks wait for --best.')
_CELL = flags.DEFINE_integer(
    'cell', None, 'With --sweep: runs this one of its experiments alone, from '
    '0. Default: SLURM_ARRAY_TASK_ID, or all.', 0)
_BEST = flags.DEFINE_bool(
    'best', False, 'With --sweep: when all are trained, the best meets the '
    'held-out tasks, in all its seeds.')
_DRY_RUN = flags.DEFINE_bool(
    'dry_run', False, 'With --sweep: says what it would run, and exits.')
_CHECK_DEVICES = flags.DEFINE_bool(
    'check_devices', False, 'Adds up one number from each device of all '
    'processes, says whether the sum is right, and exits.')
_LIST = flags.DEFINE_bool('list', False, 'Lists the presets and exits.')


def main() -> int:
  """Runs what the flags tell; returns the exit code."""
  from adjax import presets
  from adjax.cli import console
  from adjax.cli import processes
  from adjax.experiment import run
  from adjax.experiment import specification
  from adjax.experiment import stopping
  from adjax.experiment import tracking
  if _LIST.value:
    # At once, for a reader who takes the first lines alone.
    print(''.join(f'{name:22}{presets.describe(name)}\n'
                  for name in presets.PRESETS), end='')
    return 0
  shown = console.Console()
  if _CHECK_DEVICES.value:
    shown.say_everywhere(processes.describe())
    shown.say(processes.check())
    return 0

  def work(
      experiment: specification.Experiment, workdir: str, stop: stopping.Stop,
      held_out: bool = True,
  ) -> None:
    with _naming_flags(), contextlib.closing(
        tracking.Tracked(_LOG.value, workdir, shown)) as progress:
      shown.say_everywhere(processes.describe())
      result = run.run(
          experiment, workdir, progress, stop, _MESH.value,
          _ALLOW_VERSION_CHANGE.value, held_out)
      if held_out:
        progress.result(result)

  if _SWEEP.value:
    asked = sweep.Asked(
        _SWEEP.value, _CELL.value, _BEST.value, _DRY_RUN.value)
    with _naming_flags():
      return sweep.main(
          work, asked, _WORKDIR.value, _SEEDS.value, _MESH.value, shown)
  for flag in (_CELL, _BEST, _DRY_RUN):
    if flag.present:
      raise ValueError(f'--{flag.name}: must be given with --sweep')
  experiment = launcher.experiment()
  if _SEEDS.value is not None:
    experiment = dataclasses.replace(experiment, seeds=_SEEDS.value)
  workdir = (f'runs/{experiment.name}' if _WORKDIR.value is None
             else _WORKDIR.value)
  return stopping.run(lambda stop: work(experiment, workdir, stop))


@contextlib.contextmanager
def _naming_flags() -> Iterator[None]:
  """An error that names an argument names its flag."""
  try:
    yield
  except ValueError as error:
    text = re.sub(
        r'^(?=(workdir|mesh|seeds|log)=|sweep\b)'
        r'|\b(?=allow_version_change\b)', '--', str(error))
    raise ValueError(text) from error


def start(argv: list[str] | None = None) -> None:
  """The program."""
  launcher.start(main, argv)


if __name__ == '__main__':
  start()
