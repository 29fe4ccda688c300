"""What the water maze looks like, in the first person.

The frame is a function of the pose alone: see `watermaze`, which has the units.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays

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


def render(
    obs: chex.Array, height: int, width: int, field_of_view: float,
    platform_radius: float,
) -> chex.Array:
  """The frame that is seen from a pose.

  One ray a pixel, ahead + u * right + v * up. How far away the wall and the
  platform are depends on the column u alone and how far the water is on the row
  v alone, so that a pixel costs a few multiplications and comparisons and no
  division or trigonometry.

  Args:
    obs: [6], the pose, an observation of Watermaze.
    height: of the frame, in pixels.
    width: of the frame, in pixels.
    field_of_view: from left to right, in degrees.
    platform_radius: in radii of the pool.

  Returns:
    [height, width, 3], uint8.
  """
  arrays.check('obs [6] float', obs)
  pixel = 2 * math.tan(math.radians(field_of_view) / 2) / width
  column, row = (np.arange(n, dtype=np.float32) for n in (width, height))
  u = jnp.asarray(pixel * (column + 0.5 - width / 2), jnp.float32)
  v = jnp.asarray(
      (pixel * (HORIZON * height - 0.5 - row))[:, None], jnp.float32)

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
  half = jnp.square(platform_radius) - beside * beside
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


def _texture(
    wall: chex.Array, along: chex.Array
) -> tuple[chex.Array, chex.Array, chex.Array]:
  """Of a wall [W], as far along it as [W], what its pattern is made of.

  Returns:
    (offset, slope, across), [W] each: at height z the first colour is where
    floor(offset + slope * z) + floor(across * z) is odd.
  """
  a = along / 0.34
  chevron = jnp.abs(jnp.mod(a, 2) - 1) * 1.4
  offset = jnp.select([wall == 0, wall == 1, wall == 2], [a, a, chevron], a)
  slope = jnp.select([wall == 2, wall == 3], [1 / 0.25, 1 / 0.34], 0)
  return offset, slope, jnp.where(wall == 0, 1 / 0.25, 0)
