"""adjax: Algorithm Distillation in JAX.

  adjax run --experiment=quick    trains and evaluates; --help tells its flags
  adjax run --list                the presets
  adjax source --experiment=NAME  how fast a source learner improves
  adjax play --goal=3,7           watch a trained model learn a goal you choose
  adjax report WORKDIR...         one page of several runs, beside one another
  adjax export WORKDIR            a trained model as StableHLO, for any program
"""

import importlib
import sys

_COMMANDS = ('run', 'source', 'play', 'report', 'export')


def main(argv: list[str] | None = None) -> None:
  """The console script: a command, and its flags."""
  name, *rest = argv or sys.argv
  if not rest or rest[0] in ('--help', '-h', 'help'):
    print(__doc__)
    sys.exit(0)
  command, *arguments = rest
  if command not in _COMMANDS:
    print(f'error: adjax {command}: must be one of {", ".join(_COMMANDS)}',
          file=sys.stderr)
    sys.exit(1)
  importlib.import_module(f'adjax.cli.{command}').start(
      [f'{name} {command}', *arguments])


if __name__ == '__main__':
  main()
