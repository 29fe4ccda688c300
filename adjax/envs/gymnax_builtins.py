"""What is known of the environments that gymnax comes with."""

from collections.abc import Callable
from collections.abc import Mapping
import math
from typing import NamedTuple

import chex
import jax.numpy as jnp

from adjax import types


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

# Observations of small whole numbers, which gymnax gives in four bytes each.
WHOLE = (
    'Asterix-MinAtar', 'Breakout-MinAtar', 'Freeway-MinAtar',
    'Seaquest-MinAtar', 'SpaceInvaders-MinAtar', 'Catch-bsuite',
    'DeepSea-bsuite', 'FourRooms-misc', 'Pong-misc')

# (start, end, low, high) of the observations that are not as is declared.
BOUNDS: Mapping[str, tuple[tuple[int, int | None, float, float], ...]] = {
    'GaussianBandit-misc': ((0, 1, -math.inf, math.inf), (3, 4, -1, 1)),
    'MemoryChain-bsuite': ((2, None, -1, 1),),
    'MetaMaze-misc': ((-2, -1, -math.inf, math.inf),),
    'Pong-misc': ((0, None, 0, 1),),
}


def _apart(
    state: types.PyTree, reset: types.PyTree, params: types.Task
) -> types.PyTree:
  """FourRooms draws its start so that it is not the goal it draws with it.

  Where it is the goal of the task instead, the start is where that other goal
  was, which is then another cell, and uniform over the others.
  """
  same = (state.pos == state.goal).all() & params.resample_init_pos
  return state.replace(pos=jnp.where(same, reset.goal, state.pos))


# (state with the task in it, state as reset drew it, its parameters) -> the
# state that an episode begins with, where the two must not be put together.
STARTS: Mapping[str, Callable[..., types.PyTree]] = {'FourRooms-misc': _apart}
