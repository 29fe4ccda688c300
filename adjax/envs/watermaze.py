"""Watermaze: a Morris water maze seen in the first person, in pure JAX.

A swimmer in a round pool looks for a platform that is hidden under the water
until it is stood on; then it rises and is seen for the rest of the episode.
After the DMLab Watermaze of Laskin et al. (2022), section 4: frames of 72x96
pixels, eight actions, 50 steps from the centre of the pool, a reward of 1 when
the platform is first reached.

The observation is not the frame but the pose it is rendered from, six numbers;
`Watermaze.view` renders the frame, exactly, wherever it is needed: before a
network acts, and again inside a training step. One step of a `History` takes
24 + 1 + 4 + 1 = 30 bytes (observation, action, reward, done) where one with
the frame in it takes 20736 + 6 = 20742, a factor of 691.4. `Frames` is for who
wants pixels from `step` itself.

The unit of length is the radius of the pool. x grows to the east and y to the
north; a heading of 0 looks east, and headings grow anticlockwise.
"""

import dataclasses
import math
from types import ModuleType
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
from adjax.envs import watermaze_view

STEP = 0.1  # Swum in one step.
TURN = math.pi / 8  # Turned in one step.
REACH = 0.95  # How far from the centre the swimmer can get.

# forward, back, strafe left, strafe right, rotate left, rotate right,
# forward and rotate left, forward and rotate right: (ahead, to the left, turn).
MOVES = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1),
                  (0, 0, -1), (1, 0, 1), (1, 0, -1)], np.float32)
ROTATE_LEFT = 4

_PIXELS = config_lib.Bound(lambda x: x >= 4, 'at least 4')

SPLITS = ('random', 'sector', 'rim')
# Where the rim begins that may be held out, on the disc of the centres: a
# quarter of it is beyond.
_RIM = math.sqrt(0.75)


@struct.dataclass
class EnvState(environment.EnvState):
  """The state of a pool.

  Attributes:
    time: [], steps in this episode.
    position: [2], the swimmer's (x, y).
    heading: [], in radians.
    raised: [], bool, whether the platform was found in this episode.
  """
  time: chex.Array
  position: chex.Array
  heading: chex.Array
  raised: chex.Array


@struct.dataclass
class EnvParams(environment.EnvParams):
  """The task.

  Attributes:
    platform: [2], its centre (x, y).
    radius: [], the platform's.
    max_steps_in_episode: [].
  """
  platform: chex.Array = dataclasses.field(
      default_factory=lambda: jnp.zeros(2, jnp.float32))
  radius: chex.Numeric = 0.15
  max_steps_in_episode: chex.Numeric = 50


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """A pool, its rules, its frames and its three sets of tasks.

  Attributes:
    platform_radius: in radii of the pool. All of a platform is in the pool,
      its centre uniform over the disc that this leaves.
    episode_length: steps in an episode.
    random_heading: whether an episode starts with a uniformly random heading or
      looking east. The paper says where it starts, the centre, and not with
      which heading; random is the harder of the two.
    terminate: whether an episode ends at the platform. The paper does not say.
    height: of a frame, in pixels.
    width: of a frame, in pixels.
    field_of_view: of a frame from left to right, in degrees.
    num_train: training tasks.
    num_validation: validation tasks.
    num_held_out: held-out tasks. Platforms are continuous, so no two tasks are
      equal, but a held-out one may overlap with a training one.
    split: where the centres of validation and held-out platforms are: 'random',
      all over the disc, as those of training are, so that of the 1024 some 30
      lie over each; 'sector', in the quarter between east and north; 'rim', in
      the outermost quarter. Into these two no training platform reaches.
    split_seed: which platforms are sampled; validation and held-out ones are
      the same for any num_train.
  """
  # A hypothesis has half the radius and has to be stepped on.
  platform_radius: Annotated[float, config_lib.Bound(
      lambda x: 0.12 <= x <= 0.5, 'from 0.12 to 0.5')] = 0.15
  episode_length: Annotated[int, config_lib.Bound(
      lambda x: x >= 20,
      'at least 20, to reach every platform from the centre')] = 50
  random_heading: bool = True
  terminate: bool = False
  height: Annotated[int, _PIXELS] = 72
  width: Annotated[int, _PIXELS] = 96
  field_of_view: Annotated[float, config_lib.Bound(
      lambda x: 10 <= x <= 150, 'from 10 to 150 degrees')] = 90.0
  num_train: config_lib.Count = 1024
  num_validation: config_lib.Count = 32
  num_held_out: config_lib.Count = 32
  split: Annotated[str, config_lib.Bound(
      lambda x: x in SPLITS,
      'one of ' + ', '.join(map(repr, SPLITS)))] = 'random'
  split_seed: config_lib.Index = 0

  def check(self) -> None:
    config_lib.check(
        'platform_radius', self.platform_radius,
        self.split == 'random' or self.platform_radius <= 0.4,
        f'at most 0.4 with split={self.split!r}, to leave room for training')

  def make(self) -> types.TaskDistribution:
    """The pools of this config."""
    return tasks(self)

  def draw(self, axes: Any, obs: np.ndarray, task: 'EnvParams') -> None:
    """Draws an episode: the pool, the trail, and the platform.

    Args:
      axes: of Matplotlib.
      obs: [T, 2 or more], positions first.
      task: of NumPy arrays.
    """
    angle = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    axes.plot(*circle, color='0.6', lw=1)
    axes.fill(*(np.asarray(task.platform)[:, None]
                + self.platform_radius * circle),
              color='tab:red', alpha=0.6, lw=0)
    axes.plot(obs[:, 0], obs[:, 1], color='tab:blue', lw=1)
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect='equal')

  def scene(self, task: 'EnvParams') -> dict[str, Any]:
    """What a page draws of one task, as JSON; the first three entries of an
    observation are x, y and heading.

    Args:
      task: of NumPy arrays.
    """
    return {
        'kind': 'pool', 'platform': np.asarray(task.platform).tolist(),
        'platform_radius': self.platform_radius,
        'episode_length': self.episode_length,
        'actions': ['forward', 'back', 'left', 'right', 'turn left',
                    'turn right', 'ahead left', 'ahead right']}


WATERMAZE = Config()


class Watermaze(equality.EqualByConfig, environment.Environment):
  """The pool as a gymnax 1.0 environment; equal configs are equal to jit.

  An observation is (x, y, heading, platform x, platform y, raised), and the
  platform is at (0, 0) there until it is raised: what the frame does not show
  is not in it.

  Attributes:
    config: what it was made from.
  """

  def __init__(self, config: Config = WATERMAZE) -> None:
    self.config: Config = config

  @property
  def default_params(self) -> EnvParams:
    return EnvParams(radius=self.config.platform_radius,
                     max_steps_in_episode=self.config.episode_length)

  @property
  def num_actions(self) -> int:
    return len(MOVES)

  def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
    return spaces.Discrete(len(MOVES))

  def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
    high = np.array([1, 1, math.pi, 1, 1, 1], np.float32)
    low = np.array([-1, -1, -math.pi, -1, -1, 0], np.float32)
    return spaces.Box(low, high, (6,), jnp.float32)

  def view_space(self, params: EnvParams | None = None) -> spaces.Box:
    shape = (self.config.height, self.config.width, 3)
    return spaces.Box(0, 255, shape, jnp.uint8)

  def view(self, obs: chex.Array) -> chex.Array:
    """The frame [height, width, 3], uint8, that an observation [6] stands for.

    A platform is shown with the config's radius.
    """
    config = self.config
    return watermaze_view.render(
        obs, config.height, config.width, config.field_of_view,
        config.platform_radius)

  def reset_env(
      self, key: chex.PRNGKey, params: EnvParams
  ) -> tuple[chex.Array, EnvState]:
    heading = jnp.float32(0)
    if self.config.random_heading:
      heading = jax.random.uniform(key, (), jnp.float32, -math.pi, math.pi)
    state = EnvState(time=jnp.int32(0), position=jnp.zeros(2, jnp.float32),
                     heading=heading, raised=jnp.bool_(False))
    return self.observe(key, state, None, params), state

  def step_env(
      self, key: chex.PRNGKey, state: EnvState, action: chex.Array,
      params: EnvParams,
  ) -> tuple[chex.Array, EnvState, chex.Array, chex.Array, dict]:
    position, heading = move(state.position, state.heading,
                             jnp.asarray(MOVES)[action])
    on = jnp.square(position - params.platform).sum() <= params.radius**2
    found = on & ~state.raised
    state = EnvState(time=state.time + 1, position=position, heading=heading,
                     raised=state.raised | on)
    return (self.observe(key, state, action, params), state,
            found.astype(jnp.float32), found & self.config.terminate, {})

  def observe(
      self, key: chex.PRNGKey, state: EnvState, action: chex.Array | None,
      params: EnvParams,
  ) -> chex.Array:
    del key, action
    raised = state.raised.astype(jnp.float32)
    return jnp.concatenate([
        state.position, state.heading[None], raised * params.platform,
        raised[None]])


class Frames(Watermaze):
  """The same environment with the frame itself as its observation."""

  def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
    return self.view_space(params)

  def observe(
      self, key: chex.PRNGKey, state: EnvState, action: chex.Array | None,
      params: EnvParams,
  ) -> chex.Array:
    return super().view(super().observe(key, state, action, params))

  def view(self, obs: chex.Array) -> chex.Array:
    return obs


def move(
    position: chex.Array, heading: chex.Array, moved: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Where a row [3] of MOVES leads: it turns first, then swims; the rim stops.

  At the rim only the part of a step that leads out of the pool is lost.

  Args:
    position: [2].
    heading: [].
    moved: [3], how far ahead, how far to the left, and the turn.

  Returns:
    The position and heading after it.
  """
  arrays.check('position [2] float, heading [] float, moved [3] float',
               position, heading, moved)
  heading = _wrap(heading + TURN * moved[2])
  cos, sin = jnp.cos(heading), jnp.sin(heading)
  way = jnp.stack([moved[0] * cos - moved[1] * sin,
                   moved[0] * sin + moved[1] * cos])
  position = position + STEP * way
  distance = jnp.sqrt(jnp.square(position).sum())
  position = position * (REACH / jnp.maximum(distance, REACH))
  return position, heading


def _wrap(angle: chex.Array) -> chex.Array:
  """The same angle in [-pi, pi)."""
  return jnp.mod(angle + math.pi, 2 * math.pi) - math.pi


def goal_policy(
    obs: chex.Array, goal: chex.Array, key: chex.PRNGKey
) -> chex.Array:
  """An action on a near-shortest way from one observation to another.

  To the platform that the goal shows, or else to where it is seen from. There
  it turns on the spot, as no action is to stay.

  Args:
    obs: [6], the observation it starts from.
    goal: [6], the observation it leads to.
    key: of ties.
  """
  arrays.check('obs [6] float, goal [6] float, key [] key', obs, goal, key)
  end = jnp.where(goal[5] > 0, goal[3:5], goal[:2])
  return _towards(end, obs[:2], obs[2], key)


def optimal_policy(
    task: EnvParams, state: EnvState, key: chex.PRNGKey
) -> chex.Array:
  """A near-shortest way to the platform; once there, turns on the spot.

  Args:
    task: the platform.
    state: where the swimmer is.
    key: of ties.
  """
  arrays.check('task.platform [2] float, state.position [2] float, '
               'state.heading [] float, key [] key',
               task.platform, state.position, state.heading, key)
  return _towards(task.platform, state.position, state.heading, key)


def _towards(
    goal: chex.Array, position: chex.Array, heading: chex.Array,
    key: chex.PRNGKey,
) -> chex.Array:
  """The action that ends nearest to the goal [2]."""
  ends, _ = jax.vmap(move, (None, None, 0))(
      position, heading, jnp.asarray(MOVES))
  distance = jnp.sqrt(jnp.square(goal - ends).sum(-1))
  # Ties, such as left and right of what is straight ahead, are broken evenly.
  distance += 1e-4 * jax.random.uniform(key, distance.shape)
  arrived = jnp.square(goal - position).sum() < (STEP / 2)**2
  return jnp.where(arrived, ROTATE_LEFT, jnp.argmin(distance)).astype(jnp.int8)


def optimal_return(task: EnvParams) -> chex.Array:
  """1.0: every platform can be reached in time."""
  del task
  return jnp.float32(1)


def lattice(config: Config) -> EnvParams:
  """Hypotheses [M] that together stand for every platform there can be.

  Platforms of half the radius at the points of a hexagonal lattice, nothing
  farther than the other half from one of them: who swims onto a hypothesis is
  on every platform that it stands for. Points beyond the disc of
  the centres are drawn back to its edge, which brings them nearer to all in it.
  """
  disc, radius = 1 - config.platform_radius, config.platform_radius / 2
  apart = math.sqrt(3) * radius
  count = math.ceil(2 / apart)
  i, j = np.mgrid[-count:count + 1, -count:count + 1].reshape(2, -1)
  points = apart * np.stack([i + j / 2, j * math.sqrt(3) / 2], -1)
  distance = np.linalg.norm(points, axis=-1, keepdims=True)
  points = points * np.minimum(1, disc / np.maximum(distance, disc))
  return _params(config, points[distance[:, 0] <= disc + radius], radius)


def _params(
    config: Config, platforms: chex.Array, radius: float
) -> EnvParams:
  """A task for each of several platforms [N, 2]."""
  return EnvParams(
      platform=jnp.asarray(platforms, jnp.float32),
      radius=jnp.full(len(platforms), radius, jnp.float32),
      max_steps_in_episode=jnp.full(len(platforms), config.episode_length))


def _may_be_at(
    config: Config, xp: ModuleType, platform: chex.Array, trained: bool
) -> chex.Array:
  """Whether training platforms, or all others, may have this centre [..., 2].
  """
  x, y = platform[..., 0], platform[..., 1]
  if config.split == 'random':
    return xp.ones(x.shape, bool)
  if config.split == 'sector':
    away = xp.hypot(xp.minimum(x, 0), xp.minimum(y, 0))
  else:
    edge = _RIM * (1 - config.platform_radius)
    away = xp.maximum(edge - xp.hypot(x, y), 0)
  return away > config.platform_radius if trained else away == 0


def tasks(config: Config = WATERMAZE) -> types.TaskDistribution:
  """The task distribution of a pool: three sets of platforms by the seed.

  The hypotheses are not the distribution, which is continuous, but the
  `lattice` that covers it. An observation of the raised platform refutes all of
  them, so that a learner that compares with them has to compare rewards, as
  `learners.coverage_search` does.
  """
  rng = np.random.default_rng(config.split_seed)

  def on_disc(xp: ModuleType, u: chex.Array, v: chex.Array) -> chex.Array:
    """Uniform on the disc of the centres [..., 2], of uniform numbers."""
    distance, angle = (1 - config.platform_radius) * xp.sqrt(u), 2 * np.pi * v
    return (distance * xp.stack([xp.cos(angle), xp.sin(angle)])).T

  def sample(count: int, trained: bool) -> EnvParams:
    found = np.zeros((0, 2))
    while len(found) < count:
      drawn = on_disc(np, rng.random(count), rng.random(count))
      found = np.concatenate(
          [found, drawn[_may_be_at(config, np, drawn, trained)]])
    return _params(config, found[:count], config.platform_radius)

  def sample_new(key: chex.PRNGKey) -> EnvParams:
    draw = lambda key: (key, on_disc(jnp, *jax.random.uniform(key, (2,))))
    _, platform = jax.lax.while_loop(
        lambda drawn: ~_may_be_at(config, jnp, drawn[1], trained=True),
        lambda drawn: draw(jax.random.fold_in(drawn[0], 1)), draw(key))
    return jax.tree.map(lambda x: x[0], _params(
        config, platform[None], config.platform_radius))

  held_out = sample(config.num_held_out, trained=False)
  validation = sample(config.num_validation, trained=False)
  train = sample(config.num_train, trained=True)
  return types.TaskDistribution(
      env=Watermaze(config), train=train, validation=validation,
      held_out=held_out, episode_length=config.episode_length,
      hypotheses=lattice(config), optimal_return=optimal_return,
      optimal_policy=optimal_policy, goal_policy=goal_policy,
      sample_new=sample_new)
