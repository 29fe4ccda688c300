"""What commands on runs that are there do alike: adjax COMMAND WORKDIR... .

They launch nothing, so that they have none of the launcher's flags.
"""

from collections.abc import Callable
from collections.abc import Sequence
import functools

from absl import flags

from adjax.cli import own

# A command declares which of these it reads.
PRETRAINED = flags.DEFINE_string(
    'pretrained', None, 'A model from the box, dark_room or key_to_door, in '
    'place of a WORKDIR.')
SEED = flags.DEFINE_integer('seed', 0, 'Which of the training seeds.', 0)


def start(
    body: Callable[[list[str]], None], argv: Sequence[str] | None = None,
    most: int | None = None,
) -> None:
  """Runs a program to its exit code.

  Args:
    body: the program: what was given that is no flag, the folders, as in the
      order given -> None.
    argv: its name and arguments; those of the process by default.
    most: folders it takes; None for any number.
  """
  @functools.wraps(body)
  def checked(workdirs: list[str]) -> None:
    read = flags.FLAGS.get_key_flags_for_module(body.__module__)
    for flag in flags.FLAGS.get_flags_for_module(__name__):
      if flag.present and flag not in read:
        command = body.__module__.rpartition('.')[2]
        raise ValueError(f'--{flag.name}: is no flag of adjax {command}')
    if most is not None and len(workdirs) > most:
      raise ValueError(f'unexpected argument {workdirs[most]!r}')
    body(workdirs)

  own.start(checked, argv)
