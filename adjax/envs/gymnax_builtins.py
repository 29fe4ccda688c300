"""What is known of the environments that gymnax comes with."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple

import chex


class Variation(NamedTuple):
  """How an environment draws its task in `reset`.

  Attributes:
    fields: of its state, which hold the task.
    ranges: of its parameters, as in adapters.Config.
    entries: (start, end) of its observation vector that do not tell the task:
      who is shown the goal has nothing to learn. None for all.
  """
  fields: tuple[str, ...] = ()
  ranges: tuple[tuple[str, float, float], ...] = ()
  entries: tuple[int, int] | None = None


# The other built-ins draw no more than how an episode starts.
VARIATIONS = {
    'BernoulliBandit-misc': Variation(('reward_probs', 'exp_reward_best')),
    'DeepSea-bsuite': Variation(
        ('action_mapping',), (('sample_action_map', 1, 1),)),
    'FourRooms-misc': Variation(
        ('goal',), (('resample_goal_pos', 1, 1),), (0, 2)),
    'GaussianBandit-misc': Variation(('mu',)),
    'MetaMaze-misc': Variation(('goal',)),
    'PointRobot-misc': Variation(('goal',)),
    'Reacher-misc': Variation(('goal_xy',), entries=(0, -2)),
    'SimpleBandit-bsuite': Variation(('rewards',)),
    'Swimmer-misc': Variation(('goal_xy', 'urchin_xys'), entries=(-6, -2)),
}

# Parameters that follow from others.
DERIVED: Mapping[str, Mapping[str, Callable[..., chex.Array]]] = {
    'CartPole-v1': {
        'total_mass': lambda params: params.masscart + params.masspole,
        'polemass_length': lambda params: params.masspole * params.length,
    },
}

# Observations of whole numbers, which gymnax gives in four bytes each. Not
# uint8: networks take that for shades of grey.
WHOLE = (
    'Asterix-MinAtar', 'Breakout-MinAtar', 'Freeway-MinAtar',
    'Seaquest-MinAtar', 'SpaceInvaders-MinAtar', 'Catch-bsuite',
    'DeepSea-bsuite', 'FourRooms-misc', 'Pong-misc')
