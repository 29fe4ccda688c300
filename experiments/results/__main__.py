"""The published results: rows of finished runs, and the tables made of them.

  python -m experiments.results add WORKDIR [--name=NAME] [--note=TEXT]
  python -m experiments.results [--check]

The first writes rows/NAME.json, from the workdir of a finished run of a preset.
The second makes the tables of docs/results.md and README.md anew; with --check
it changes nothing, and says what is wrong.
"""

from absl import flags

from adjax.cli import own

_CHECK = flags.DEFINE_bool(
    'check', False, 'Changes nothing; exit code 1 if text and rows disagree.')
_NAME = flags.DEFINE_string(
    'name', '', 'Of the row. Default: of the preset and of what was set.')
_NOTE = flags.DEFINE_string(
    'note', '', 'What a reader should know, as "beside other work".')
_MACHINE = flags.DEFINE_string(
    'machine', '', 'In words. Default: its device, and the processor of this '
    'machine where that is a CPU.')
_BLOCK = flags.DEFINE_integer(
    'block', 1, 'Keeps sums over so many episodes in a row alone.', 1)
_REPLACE = flags.DEFINE_bool('replace', False, 'Replaces a row of that name.')
_DIRTY = flags.DEFINE_bool(
    'allow_dirty', False, 'From a clone whose package differs from its commit.')


def main(arguments: list[str]) -> int:
  """Adds a row, or makes the tables."""
  from adjax.experiment import versions
  from experiments.results import documents
  from experiments.results import row as row_lib
  if arguments:
    if arguments[0] != 'add' or len(arguments) != 2:
      raise ValueError(f'{" ".join(arguments)}: must be `add WORKDIR`, or '
                       'nothing')
    commit = row_lib.clean_commit(_DIRTY.value)
    row = row_lib.make(arguments[1], _NAME.value, _NOTE.value, _MACHINE.value,
                       _BLOCK.value, commit)
    ours = versions.versions()['adjax']
    if row['versions']['adjax'] != ours:
      row['commit'] = f'before {commit}'
      print(f'{arguments[1]}: its code was {row["versions"]["adjax"]}, and '
            f'this clone has {ours}')
    print(row_lib.write(row, replace=_REPLACE.value))
    return 0
  found = row_lib.everything()
  if not _CHECK.value:
    documents.rewrite(found)
  wrong = documents.wrong(found)
  print('\n'.join(wrong) or f'{len(found)} rows, and all as it should be')
  return int(bool(wrong))


if __name__ == '__main__':
  own.start(main)
