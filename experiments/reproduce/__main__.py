"""The paper's figures, of published runs and of those that are missing.

  python -m experiments.reproduce --figure=NAME --workdir=DIR [--notrain]
  python -m experiments.reproduce --list

Draws a figure, or all, into DIR/NAME, and one page of them, DIR/index.html.
Runs that experiments/results has no row of are trained in DIR/cells; the same
command goes on with those that were stopped.
"""

from absl import flags

from adjax.cli import own

_FIGURE = flags.DEFINE_string('figure', 'all', 'Which; --list shows them.')
_BUDGET = flags.DEFINE_enum(
    'budget', 'cpu', ('cpu', 'gpu'), 'The size of the runs, as of adjax run.')
_WORKDIR = flags.DEFINE_string(
    'workdir', None, 'The folder for all that is written.')
_TRAIN = flags.DEFINE_bool(
    'train', True, 'Trains what is missing; --notrain draws what is there, and '
    'names what is missing.')
_LIST = flags.DEFINE_bool(
    'list', False, 'Lists the figures and their runs, and exits.')
_DRY_RUN = flags.DEFINE_bool(
    'dry_run', False, 'Says what would be trained, and exits.')
_COMMIT = flags.DEFINE_bool(
    'commit', False, 'Draws from published rows alone; new rows, and the '
    'figures, are written to this clone, too.')
_DIRTY = flags.DEFINE_bool(
    'allow_dirty', False, 'With --commit: from a clone whose package differs '
    'from its commit.')
_CHECK = flags.DEFINE_bool(
    'check', False, 'Says which committed figures are not what the rows say, '
    'and exits, with 1 if there are any.')


def main(arguments: list[str]) -> int:
  """Draws figures, or says what they are."""
  # Here, since its flags are those of other programs.
  from adjax.cli import launcher
  if arguments:
    raise ValueError(f'unexpected argument {arguments[0]!r}; all is told by '
                     'flags')
  launcher.prepare()
  from experiments.reproduce import program
  return program.main(program.Asked(
      _FIGURE.value, _BUDGET.value, _WORKDIR.value, _TRAIN.value, _LIST.value,
      _DRY_RUN.value, _COMMIT.value, _DIRTY.value, _CHECK.value))


if __name__ == '__main__':
  own.start(main)
