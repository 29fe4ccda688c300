"""How many episodes: a flag of two commands, which may be in one process."""

from absl import flags

FLAG = flags.DEFINE_integer(
    'episodes', None, 'How many. Default: 50 of a history, 20 that are played.',
    1)
