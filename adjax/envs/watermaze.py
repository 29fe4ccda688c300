"""Watermaze: a Morris water maze seen in the first person, in pure JAX.

A swimmer in a round pool looks for a platform that is hidden under the water
until it is stood on; then it rises and is seen for the rest of the episode.
After the DMLab Watermaze of Laskin et al. (2022), section 4: frames of 72x96
pixels, eight actions, 50 steps from the centre of the pool, a reward of 1 when
the platform is first reached.

The observation is not the frame but the pose it is drawn from, six numbers;
`Watermaze.view` draws the frame, exactly, wherever it is needed: before a
network acts, and again inside a training step. One step of a `History` takes
24 + 1 + 4 + 1 = 30 bytes (observation, action, reward, done) where one with
the frame in it takes 20736 + 6 = 20742, a factor of 691.4. `Frames` is for who
wants pixels from `step` itself.

The unit of length is the radius of the pool. x grows to the east and y to the
north; a heading of 0 looks east, and headings grow anticlockwise.
"""

import dataclasses
import functools
import math

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

STEP = 0.1  # Swum in one step.
TURN = math.pi / 8  # Turned in one step.
REACH = 0.95  # How far from the centre the swimmer can get.

# forward, back, strafe left, strafe right, rotate left, rotate right,
# forward and rotate left, forward and rotate right: (ahead, to the left, turn).
MOVES = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1),
                  (0, 0, -1), (1, 0, 1), (1, 0, -1)], np.float32)
ROTATE_LEFT = 4

# Square room: the walls stand at +-WALL, the tops of them WALL_TOP above water.
WALL, WALL_TOP, EYE, PLATFORM_TOP = 1.4, 0.65, 0.2, 0.1
RIM = 1.05  # The kerb of the pool reaches from 1 to here.
HORIZON = 0.3  # Its share of the frame's height from the top: eyes look down.
_FADE = 0.13  # Of brightness, lost per unit of distance.

# Colours are RGB. Walls: east, north, west, south, two colours each.
WALL_COLOURS = np.array([
    [(46, 139, 62), (190, 222, 120)], [(196, 42, 48), (246, 226, 206)],
    [(232, 150, 30), (96, 58, 28)], [(74, 58, 160), (204, 180, 238)],
], np.float32)
SKY, HAZE = (92, 152, 222), (222, 234, 244)
WATER, KERB, SAND = (24, 112, 128), (236, 236, 228), (172, 158, 132)
TOP, SIDE = (255, 250, 250), (222, 54, 150)


@struct.dataclass
class EnvState(environment.EnvState):
  """time [], position [2] (x, y), heading [] in radians, raised [] (bool)."""
  time: chex.Array
  position: chex.Array
  heading: chex.Array
  raised: chex.Array


@struct.dataclass
class EnvParams(environment.EnvParams):
  """The task: platform [2] (x, y), its centre, and radius []."""
  platform: chex.Array = dataclasses.field(
      default_factory=lambda: jnp.zeros(2, jnp.float32))
  radius: chex.Array = 0.15
  max_steps_in_episode: int = 50


@dataclasses.dataclass(frozen=True)
class Config:
  """A pool, its rules, its frames and its three sets of tasks.

  Attributes:
    platform_radius: in radii of the pool. All of a platform is in the pool,
      its centre uniform over the disc that this leaves.
    episode_length: steps in an episode.
    random_heading: whether an episode starts with a uniformly drawn heading or
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
    split_seed: which platforms are drawn; validation and held-out ones are the
      same for any num_train.
  """
  platform_radius: float = 0.15
  episode_length: int = 50
  random_heading: bool = True
  terminate: bool = False
  height: int = 72
  width: int = 96
  field_of_view: float = 90.0
  num_train: int = 1024
  num_validation: int = 32
  num_held_out: int = 32
  split_seed: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'tasks')
    # A hypothesis of the support has half the radius and has to be stepped on.
    check('platform_radius', self.platform_radius,
          0.12 <= self.platform_radius <= 0.5, 'from 0.12 to 0.5')
    check('episode_length', self.episode_length, self.episode_length >= 20,
          'at least 20, to reach every platform from the centre')
    check('field_of_view', self.field_of_view,
          10 <= self.field_of_view <= 150, 'from 10 to 150 degrees')
    check('split_seed', self.split_seed, self.split_seed >= 0, 'at least 0')
    for name in ('height', 'width'):
      check(name, getattr(self, name), getattr(self, name) >= 4, 'at least 4')
    for name in ('num_train', 'num_validation', 'num_held_out'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')


WATERMAZE = Config()


class Watermaze(environment.Environment):
  """The pool as a gymnax 1.0 environment; equal configs are equal to jit.

  An observation is (x, y, heading, platform x, platform y, raised), and the
  platform is at (0, 0) there until it is raised: what the frame does not show
  is not in it.
  """

  def __init__(self, config: Config = WATERMAZE):
    self.config = config

  def __eq__(self, other):
    return type(self) is type(other) and self.config == other.config

  def __hash__(self):
    return hash((type(self), self.config))

  @property
  def default_params(self) -> EnvParams:
    return EnvParams(radius=self.config.platform_radius,
                     max_steps_in_episode=self.config.episode_length)

  @property
  def num_actions(self) -> int:
    return len(MOVES)

  def action_space(self, params=None) -> spaces.Discrete:
    return spaces.Discrete(len(MOVES))

  def observation_space(self, params=None) -> spaces.Box:
    high = jnp.array([1, 1, math.pi, 1, 1, 1], jnp.float32)
    low = jnp.array([-1, -1, -math.pi, -1, -1, 0], jnp.float32)
    return spaces.Box(low, high, (6,), jnp.float32)

  def view_space(self, params=None) -> spaces.Box:
    shape = (self.config.height, self.config.width, 3)
    return spaces.Box(0, 255, shape, jnp.uint8)

  def view(self, obs: chex.Array) -> chex.Array:
    """The frame [height, width, 3], uint8, that an observation [6] stands for.

    A platform is drawn with the config's radius.
    """
    return draw(self.config, obs)

  def reset_env(self, key, params):
    heading = jnp.float32(0)
    if self.config.random_heading:
      heading = jax.random.uniform(key, (), jnp.float32, -math.pi, math.pi)
    state = EnvState(time=jnp.int32(0), position=jnp.zeros(2, jnp.float32),
                     heading=heading, raised=jnp.bool_(False))
    return self.observe(key, state, None, params), state

  def step_env(self, key, state, action, params):
    position, heading = move(state.position, state.heading,
                             jnp.asarray(MOVES)[action])
    on = jnp.square(position - params.platform).sum() <= params.radius**2
    found = on & ~state.raised
    state = EnvState(time=state.time + 1, position=position, heading=heading,
                     raised=state.raised | on)
    return (self.observe(key, state, action, params), state,
            found.astype(jnp.float32), found & self.config.terminate, {})

  def observe(self, key, state, action, params):
    del key, action
    raised = state.raised.astype(jnp.float32)
    return jnp.concatenate([
        state.position, state.heading[None], raised * params.platform,
        raised[None]])


class Frames(Watermaze):
  """The same environment with the frame itself as its observation."""

  def observation_space(self, params=None) -> spaces.Box:
    return self.view_space(params)

  def observe(self, key, state, action, params):
    return draw(self.config, super().observe(key, state, action, params))

  def view(self, obs: chex.Array) -> chex.Array:
    return obs


def move(
    position: chex.Array, heading: chex.Array, moved: chex.Array
) -> tuple[chex.Array, chex.Array]:
  """Where a row [3] of MOVES leads: it turns first, then swims; the rim stops.

  At the rim only the part of a step that leads out of the pool is lost.
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


def draw(config: Config, obs: chex.Array) -> chex.Array:
  """The frame [height, width, 3], uint8, seen from a pose [6].

  One ray a pixel, ahead + u * right + v * up. How far away the wall and the
  platform are depends on the column u alone and how far the water is on the row
  v alone, so that a pixel costs a few multiplications and comparisons and no
  division or trigonometry.
  """
  arrays.check('obs [6] float', obs)
  height, width = config.height, config.width
  pixel = 2 * math.tan(math.radians(config.field_of_view) / 2) / width
  u = pixel * (np.arange(width, dtype=np.float32) + 0.5 - width / 2)
  v = pixel * (HORIZON * height - 0.5 - np.arange(height, dtype=np.float32))
  u, v = jnp.asarray(u, jnp.float32), jnp.asarray(v[:, None], jnp.float32)

  x, y, raised = obs[0], obs[1], obs[5] > 0
  cos, sin = jnp.cos(obs[2]), jnp.sin(obs[2])
  dx, dy = cos + u * sin, sin - u * cos  # [W], the ray on the ground.
  length = jnp.sqrt(1 + u * u)

  # Walls: the nearer of the two that a ray can meet.
  tx = (WALL - jnp.sign(dx) * x) / jnp.maximum(jnp.abs(dx), 1e-6)
  ty = (WALL - jnp.sign(dy) * y) / jnp.maximum(jnp.abs(dy), 1e-6)
  along_y = tx < ty
  wall = jnp.where(along_y, jnp.where(dx > 0, 0, 2), jnp.where(dy > 0, 1, 3))
  far = jnp.minimum(tx, ty)  # [W], in units of the ray.
  along = jnp.where(along_y, y + tx * dy, x + ty * dx)
  offset, slope, across = _texture(wall, along)
  z = EYE + far * v  # [H, W], above the water.
  odd = (jnp.floor(offset + slope * z) + jnp.floor(across * z)) * 0.5
  odd = odd != jnp.floor(odd)
  shade = 1 - _FADE * far * length
  colours = jnp.asarray(WALL_COLOURS)[wall] * shade[:, None, None]  # [W, 2, 3]

  # The water, its kerb and the sand around it.
  down = EYE / jnp.maximum(-v, 1e-6)  # [H, 1]
  square = (x * x + y * y + 2 * down * (x * dx + y * dy)
            + down * down * (dx * dx + dy * dy))
  dim = 1 - _FADE * jnp.minimum(down, 4)

  # The platform: a cylinder, its side met before its far edge.
  px, py = obs[3] - x, obs[4] - y
  ahead = (px * dx + py * dy) / (length * length)
  beside = (px * dy - py * dx) / length
  half = jnp.square(config.platform_radius) - beside * beside
  met = raised & (half > 0)
  half = jnp.sqrt(jnp.maximum(half, 0)) / length
  near, end = ahead - half, ahead + half
  foot = EYE + near * v
  side = met & (near > 0) & (foot >= 0) & (foot <= PLATFORM_TOP)
  level = (EYE - PLATFORM_TOP) / jnp.maximum(-v, 1e-6)
  top = met & (level >= near) & (level <= end)
  light = 1 - _FADE * jnp.maximum(near, 0) * length

  sky = jnp.clip(v / v[0], 0, 1)
  planes = []
  for c in range(3):
    ground = jnp.where(square < 1, WATER[c], jnp.where(
        square < RIM * RIM, KERB[c], SAND[c])) * dim
    plane = jnp.where(odd, colours[:, 0, c], colours[:, 1, c])
    plane = jnp.where(z < 0, ground, plane)
    plane = jnp.where(
        z > WALL_TOP, SKY[c] * sky + HAZE[c] * (1 - sky), plane)
    plane = jnp.where(side, SIDE[c] * light, plane)
    planes.append(jnp.where(top, TOP[c] * light, plane))
  # Packed, so that what the three channels share is computed once a pixel: a
  # stack of them is five times slower on a CPU.
  packed = sum((plane + 0.5).astype(jnp.uint32) << 8 * c
               for c, plane in enumerate(planes))
  return jax.lax.bitcast_convert_type(packed, jnp.uint8)[..., :3]


def _texture(wall, along):
  """Of a wall [W] at a place along it [W], what its pattern is made of.

  Returns:
    (offset, slope, across), [W] each: at height z the first colour is where
    floor(offset + slope * z) + floor(across * z) is odd.
  """
  a = along / 0.34
  chevron = jnp.abs(jnp.mod(a, 2) - 1) * 1.4
  offset = jnp.select([wall == 0, wall == 1, wall == 2], [a, a, chevron], a)
  slope = jnp.select([wall == 2, wall == 3], [1 / 0.25, 1 / 0.34], 0)
  return offset, slope, jnp.where(wall == 0, 1 / 0.25, 0)


def walk(obs: chex.Array, target: chex.Array, key: chex.PRNGKey) -> chex.Array:
  """An action on a near-shortest way from one observation [6] to another.

  To the platform that the target shows, or else to the place it is seen from.
  There it turns on the spot, as no action is to stay.
  """
  arrays.check('obs [6] float, target [6] float, key [] key',
               obs, target, key)
  goal = jnp.where(target[5] > 0, target[3:5], target[:2])
  return _towards(goal, obs[:2], obs[2], key)


def optimal_policy(
    task: EnvParams, state: EnvState, key: chex.PRNGKey
) -> chex.Array:
  """A near-shortest way to the platform; once there, turns on the spot."""
  arrays.check('task.platform [2] float, state.position [2] float, '
               'state.heading [] float, key [] key',
               task.platform, state.position, state.heading, key)
  return _towards(task.platform, state.position, state.heading, key)


def _towards(goal, position, heading, key):
  """The action that ends nearest to the goal."""
  places, _ = jax.vmap(move, (None, None, 0))(
      position, heading, jnp.asarray(MOVES))
  distance = jnp.sqrt(jnp.square(goal - places).sum(-1))
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

  Platforms of half the radius at the points of a hexagonal lattice, no
  place farther than the other half from one of them: who swims onto a
  hypothesis is on every platform that it stands for. Points beyond the disc of
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


def _params(config, platforms, radius):
  return EnvParams(
      platform=jnp.asarray(platforms, jnp.float32),
      radius=jnp.full(len(platforms), radius, jnp.float32),
      max_steps_in_episode=jnp.full(len(platforms), config.episode_length))


def tasks(config: Config = WATERMAZE) -> types.TaskDistribution:
  """The task distribution of a pool: three sets of platforms by the seed.

  `support` is not the law, which is continuous, but the `lattice` that covers
  it. An observation of the raised platform refutes all of it, so that a learner
  that compares with it has to compare rewards, as `learners.patrol` does.
  """
  rng = np.random.default_rng(config.split_seed)

  def sample(count):
    platforms = place(np, rng.random(count), rng.random(count))
    return _params(config, platforms.T, config.platform_radius)

  def place(xp, u, v):  # Uniformly on the disc of the centres.
    distance, angle = (1 - config.platform_radius) * xp.sqrt(u), 2 * np.pi * v
    return distance * xp.stack([xp.cos(angle), xp.sin(angle)])

  def fresh(key):
    platform = place(jnp, *jax.random.uniform(key, (2,)))
    return jax.tree.map(lambda x: x[0], _params(
        config, platform[None], config.platform_radius))

  held_out, validation, train = map(
      sample, (config.num_held_out, config.num_validation, config.num_train))
  return types.TaskDistribution(
      env=Watermaze(config), fresh=fresh, train=train, validation=validation,
      held_out=held_out, support=lattice(config),
      episode_length=config.episode_length, optimal_return=optimal_return,
      optimal_policy=optimal_policy, walk=walk)
