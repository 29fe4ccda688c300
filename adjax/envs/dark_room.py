"""Dark Room, Dark Room (Hard) and Dark Key-to-Door: one family of grids.

The agent sees its own cell and nothing else. A task is a sequence of goal
cells, which must be inferred from rewards. Laskin et al. (2022), section 4:

  * Dark Room: 9x9, one goal that pays on every step spent on it, 20 steps,
    from the centre; 81 tasks.
  * Dark Room (Hard): 17x17, one goal that pays once; 289 tasks.
  * Dark Key-to-Door: 9x9, a key that pays once, then a door that pays once,
    50 steps, from a random cell; 81 * 81 tasks. Holding the key is not seen.
"""

import dataclasses
import functools
from typing import Annotated
from typing import Any

import chex
from flax import struct
from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.envs import equality

# left, right, up, down, no-op, as (x, y) with y growing upwards.
MOVES = np.array([(-1, 0), (1, 0), (0, 1), (0, -1), (0, 0)], np.int8)
LEFT, RIGHT, UP, DOWN, STAY = range(5)
ACTIONS = 'left', 'right', 'up', 'down', 'stay'


@struct.dataclass
class EnvState(environment.EnvState):
  """The state of a grid.

  Attributes:
    time: [], steps in this episode.
    position: [2], the agent's cell (x, y).
    found: [], goals collected in this episode.
  """
  time: chex.Array
  position: chex.Array
  found: chex.Array


@struct.dataclass
class EnvParams(environment.EnvParams):
  """The task.

  Attributes:
    goals: [G, 2], cells (x, y), to be visited in this order.
    max_steps_in_episode: [].
  """
  goals: chex.Array = dataclasses.field(
      default_factory=lambda: jnp.zeros((1, 2), jnp.int8))
  max_steps_in_episode: chex.Numeric = 20


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """A grid, its rules and its split into three sets of tasks.

  Attributes:
    size: cells along a side; odd, so that there is a centre.
    num_goals: 1, or 2 for a key and then its door.
    episode_length: steps in an episode.
    pays_once: whether a goal pays only when it is first reached (Hard and
      Key-to-Door) or on every step spent on it (Dark Room, one goal only).
    random_start: whether an episode starts in a uniformly drawn cell or in the
      centre.
    terminate: whether an episode ends when its last goal is reached. The paper
      does not say; off, as its returns of up to 20 need for Dark Room.
    same_cell: whether goals may share a cell (the paper's count of 6561
      key-to-door tasks includes those). One goal is collected a step, so a door
      under its key takes one step more.
    num_train: training tasks.
    num_validation: validation tasks.
    num_held_out: held-out tasks.
    split_seed: which tasks go where; the sets are disjoint for every seed.
  """
  size: Annotated[int, config_lib.Bound(
      lambda x: x % 2 == 1 and 3 <= x <= 127,
      'an odd number from 3 to 127')] = 9
  num_goals: Annotated[int, config_lib.Bound(
      lambda x: x in (1, 2), '1 or 2')] = 1
  episode_length: int = 20
  pays_once: bool = False
  random_start: bool = False
  terminate: bool = False
  same_cell: bool = True
  num_train: config_lib.Count = 65
  num_validation: config_lib.Count = 8
  num_held_out: config_lib.Count = 8
  split_seed: config_lib.Index = 0

  def check(self) -> None:
    check = config_lib.check
    check('pays_once', self.pays_once, self.pays_once or self.num_goals == 1,
          'True when num_goals is 2')
    # The way to a far corner, and from there to the opposite one.
    way = self.size - 1 if not self.random_start else 2 * (self.size - 1)
    way += (self.num_goals - 1) * 2 * (self.size - 1)
    check('episode_length', self.episode_length, self.episode_length >= way,
          f'at least {way}, to reach every goal from every start')
    used = self.num_train + self.num_validation + self.num_held_out
    check('num_train + num_validation + num_held_out', used,
          used <= self.num_tasks, f'at most {self.num_tasks}, all there are')

  @property
  def num_tasks(self) -> int:
    """How many different tasks there are."""
    cells = self.size**2
    if self.num_goals == 1:
      return cells
    return cells**2 if self.same_cell else cells * (cells - 1)

  def make(self) -> types.TaskDistribution:
    """The grids of this config."""
    return tasks(self)

  def draw(self, axes: Any, obs: np.ndarray, task: 'EnvParams') -> None:
    """Draws an episode: cells by how often they were visited, and the goals.

    Args:
      axes: of Matplotlib.
      obs: [T, 2].
      task: of NumPy arrays.
    """
    x, y = obs.astype(int).T
    counts = np.zeros((self.size, self.size))
    np.add.at(counts, (y, x), 1)
    axes.imshow(np.sqrt(counts), origin='lower', cmap='Blues', vmin=0,
                vmax=np.sqrt(self.episode_length))
    jitter = np.random.default_rng(0).uniform(-0.18, 0.18, (2, len(x)))
    axes.plot(x + jitter[0], y + jitter[1], color='tab:blue', lw=0.8, alpha=0.7)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]) - 0.5
    for goal, colour in zip(np.asarray(task.goals), ('tab:red', 'tab:orange')):
      axes.plot(*(goal + corners).T, color=colour, lw=2)

  def scene(self, task: 'EnvParams') -> dict[str, Any]:
    """A task as a page shows and plays it.

    Args:
      task: of NumPy arrays.

    Returns:
      JSON: `kind` 'grid'; `goals` [G][2] and `moves` [A][2], as (x, y);
      `actions`, their names; `size`, `pays_once`, `random_start`, `terminate`
      and `episode_length` as here.
    """
    names = 'size', 'pays_once', 'random_start', 'terminate', 'episode_length'
    return {'kind': 'grid', 'goals': np.asarray(task.goals).tolist(),
            'moves': MOVES.tolist(), 'actions': list(ACTIONS),
            **{name: getattr(self, name) for name in names}}


DARK_ROOM = Config()
DARK_ROOM_HARD = Config(
    size=17, pays_once=True, num_train=225, num_validation=32, num_held_out=32)
KEY_TO_DOOR = Config(
    num_goals=2, episode_length=50, pays_once=True, random_start=True,
    num_train=1024, num_validation=32, num_held_out=32)


class DarkRoom(equality.EqualByConfig, environment.Environment):
  """The grid as a gymnax 1.0 environment; equal configs are equal to jit.

  Attributes:
    config: what it was made from.
  """

  def __init__(self, config: Config = DARK_ROOM) -> None:
    self.config: Config = config

  @property
  def default_params(self) -> EnvParams:
    return EnvParams(
        goals=jnp.zeros((self.config.num_goals, 2), jnp.int8),
        max_steps_in_episode=self.config.episode_length)

  @property
  def num_actions(self) -> int:
    return len(MOVES)

  def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
    return spaces.Discrete(len(MOVES))

  def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
    return spaces.Box(0, self.config.size - 1, (2,), jnp.int8)

  def reset_env(
      self, key: chex.PRNGKey, params: EnvParams
  ) -> tuple[chex.Array, EnvState]:
    if self.config.random_start:
      position = jax.random.randint(
          key, (2,), 0, self.config.size).astype(jnp.int8)
    else:
      position = jnp.full((2,), self.config.size // 2, jnp.int8)
    state = EnvState(time=jnp.int32(0), position=position, found=jnp.int8(0))
    return self.observe(key, state, None, params), state

  def step_env(
      self, key: chex.PRNGKey, state: EnvState, action: chex.Array,
      params: EnvParams,
  ) -> tuple[chex.Array, EnvState, chex.Array, chex.Array, dict]:
    position = jnp.clip(
        state.position + jnp.asarray(MOVES)[action], 0, self.config.size - 1)
    goal = _next_goal(params, state.found)
    there = (position[0] == goal[0]) & (position[1] == goal[1])
    reached = (state.found < self.config.num_goals) & there
    last = state.found >= self.config.num_goals - 1
    found = state.found
    if self.config.pays_once:
      found = found + reached.astype(jnp.int8)
    state = EnvState(time=state.time + 1, position=position, found=found)
    terminated = reached & last & self.config.terminate
    return (self.observe(key, state, action, params), state,
            reached.astype(jnp.float32), terminated, {})

  def observe(
      self, key: chex.PRNGKey, state: EnvState, action: chex.Array | None,
      params: EnvParams,
  ) -> chex.Array:
    del key, action, params
    return state.position


def _next_goal(params: EnvParams, found: chex.Array) -> chex.Array:
  """The goal [2] that comes after `found` others; the last one if none does."""
  goals = params.goals
  if goals.shape[0] == 1:
    return goals[0]
  return jnp.where(found == 0, goals[0], goals[1])


def goal_policy(
    obs: chex.Array, goal: chex.Array, key: chex.PRNGKey
) -> chex.Array:
  """An action on a shortest way from cell to cell, ties uniformly.

  Args:
    obs: [2], the cell it starts from.
    goal: [2], the cell it leads to.
    key: of the ties.
  """
  arrays.check('obs [2] integer, goal [2] integer, key [] key', obs, goal, key)
  dx, dy = goal[0] - obs[0], goal[1] - obs[1]
  horizontal = jnp.where(dx > 0, RIGHT, LEFT)
  vertical = jnp.where(dy > 0, UP, DOWN)
  sideways = jnp.where(dy == 0, True, (dx != 0) & jax.random.bernoulli(key))
  arrived = (dx == 0) & (dy == 0)
  return jnp.where(
      arrived, STAY, jnp.where(sideways, horizontal, vertical)
  ).astype(jnp.int8)


def optimal_policy(
    task: EnvParams, state: EnvState, key: chex.PRNGKey
) -> chex.Array:
  """Straight to the next goal; once the last is found, it stays there.

  Args:
    task: the goals.
    state: where the agent is, and what it found.
    key: of the ties.
  """
  arrays.check('task.goals [G, 2] integer, state.position [2] integer, '
               'state.found [] integer', task.goals, state.position,
               state.found)
  return goal_policy(state.position, _next_goal(task, state.found), key)


def optimal_return(config: Config, task: EnvParams) -> chex.Array:
  """The return [] of the optimal policy on one task, from any start."""
  arrays.check('task.goals [G, 2] integer', task.goals, G=config.num_goals)
  if config.pays_once or config.terminate:
    return jnp.float32(config.num_goals)
  distance = jnp.abs(task.goals[0].astype(jnp.int32) - config.size // 2).sum()
  # The step that arrives is paid, and so is every later one.
  steps = config.episode_length - jnp.maximum(distance - 1, 0)
  return steps.astype(jnp.float32)


def all_tasks(config: Config) -> EnvParams:
  """Every task [M] there is, in a fixed order."""
  cells = np.indices((config.size,) * 2).reshape(2, -1).T.astype(np.int8)
  goals = cells[:, None]
  if config.num_goals == 2:
    pairs = np.indices((len(cells),) * 2).reshape(2, -1)
    if not config.same_cell:
      pairs = pairs[:, pairs[0] != pairs[1]]
    goals = cells[pairs.T]
  return EnvParams(
      goals=jnp.asarray(goals),
      max_steps_in_episode=jnp.full(len(goals), config.episode_length))


def tasks(config: Config = DARK_ROOM) -> types.TaskDistribution:
  """The task distribution of a grid: three disjoint sets by the split seed."""
  hypotheses = all_tasks(config)
  order = np.random.default_rng(config.split_seed).permutation(config.num_tasks)
  ends = np.cumsum(
      [config.num_train, config.num_validation, config.num_held_out])
  train, validation, held_out = (
      jax.tree.map(lambda x, chosen=chosen: x[chosen], hypotheses)
      for chosen in np.split(order[:ends[-1]], ends[:-1]))
  return types.TaskDistribution(
      env=DarkRoom(config), train=train, validation=validation,
      held_out=held_out, episode_length=config.episode_length,
      hypotheses=hypotheses,
      optimal_return=functools.partial(optimal_return, config),
      optimal_policy=optimal_policy, goal_policy=goal_policy,
      num_goals=config.num_goals)
