"""The environments of the paper, and the runs that several figures share."""

from typing import NamedTuple

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import paper

cell = cells.cell


class Room(NamedTuple):
  """An environment, and what is distilled there.

  Attributes:
    name: as in paper.json.
    title: as in the paper.
    theirs: distilled from the paper's own kind of source.
    kind: which that is.
    best: distilled from our best source that knows nothing beforehand.
    best_kind: which that is.
    ed: expert distillation.
    rl2: RL².
    share: of the optimum, at which the paper's AD is compared with its source.
    fewer: in how many times fewer episodes its AD is there, those of all actors
      counted.
    actors: of the paper's source.
    tenth: the last episode of the tenth of the paper's.
    flat: by less ED improves, that of the paper too.
  """
  name: str
  title: str
  theirs: cells.Cell
  kind: str
  best: cells.Cell
  best_kind: str
  ed: cells.Cell
  rl2: cells.Cell
  share: float
  fewer: int
  actors: int = 100
  tenth: int = 100
  flat: float = claims.LEARNT

  @property
  def final(self) -> float:
    """What the paper's AD earns at its end."""
    return paper.last(f'{self.name}/AD')


DARK_ROOM = Room(
    'dark_room', 'Dark Room', cell('dark_room_a2c'), 'A2C',
    cell('dark_room_rmax'), 'R-max', cell('dark_room_ed'),
    cell('dark_room_rl2'), 0.6, 24)
HARD = Room(
    'dark_room_hard', 'Dark Room (Hard)', cell('dark_room_hard_a2c'), 'A2C',
    cell('dark_room_hard_rmax'), 'R-max', cell('dark_room_hard_ed'),
    cell('dark_room_hard_rl2'), 0.4, 17)
KEY_TO_DOOR = Room(
    'key_to_door', 'Dark Key-to-Door', cell('key_to_door_a2c'), 'A2C',
    cell('key_to_door_q'), 'Q', cell('key_to_door_ed'),
    cell('key_to_door_rl2'), 0.75, 117, flat=0.25)
# No learner that knows nothing but DQN: the coverage search can swim.
WATERMAZE = Room(
    'watermaze', 'Watermaze', cell('watermaze_dqn'), 'DQN', cell('watermaze'),
    'search', cell('watermaze_ed'), cell('watermaze_rl2'), 0.7, 5, 16,
    16)
ROOMS = DARK_ROOM, HARD, KEY_TO_DOOR, WATERMAZE
GRIDS = DARK_ROOM, HARD, KEY_TO_DOOR
