"""The devices: one mesh of one axis, 'data', or two. Nothing else knows them.

What is spread over 'data' is the flat axis of independent learners, and the
batch. Neither needs communication to be made; the mean of the gradient is the
only sum over devices. Over 'seed', if there is such an axis, training seeds are
spread, which never speak to one another.
"""

from collections.abc import Callable
import math
from typing import Any

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np


def mesh(num_devices: int | None = None, seeds: int = 1) -> Mesh:
  """A mesh over the first devices.

  Args:
    num_devices: how many, or None for all.
    seeds: the size of the axis 'seed', a divisor of their number; there is no
      such axis if it is 1.
  """
  devices = jax.devices()[:num_devices]
  shape = {'seed': seeds, 'data': len(devices) // seeds}
  if seeds == 1:
    del shape['seed']
  return jax.make_mesh(
      tuple(shape.values()), tuple(shape), devices=devices,
      axis_types=(jax.sharding.AxisType.Auto,) * len(shape))


def parse(text: str) -> Mesh:
  """A mesh from 'data:8', or from 'seed:2,data:4'.

  Raises:
    ValueError: if it is neither, or wants more devices than there are.
  """
  allowed = f'--mesh={text}: must look like data:8 or seed:2,data:4'
  shape = {}
  for part in text.split(','):
    name, _, size = part.strip().partition(':')
    if (name not in ('seed', 'data') or name in shape or not size.isdecimal()
        or not 0 < int(size) < 10**6):
      raise ValueError(allowed)
    shape[name] = int(size)
  if 'data' not in shape:
    raise ValueError(allowed)
  number = math.prod(shape.values())
  if number > jax.device_count():
    raise ValueError(f'--mesh={text}: must be over at most '
                     f'{jax.device_count()} devices, those there are')
  if jax.process_count() > 1 and number < jax.device_count():
    raise ValueError(f'--mesh={text}: must be over all {jax.device_count()} '
                     'devices, since each process has to take part')
  return mesh(number, shape.get('seed', 1))


def local_size(over: Mesh | None) -> int:
  """How many of its devices are this process's."""
  return 1 if over is None else len(over.local_devices)


def data_size(over: Mesh | None) -> int:
  """How many devices a batch is laid over."""
  return 1 if over is None else over.shape['data']


def seed_size(over: Mesh | None) -> int:
  """How many devices training seeds are laid over."""
  return 1 if over is None else dict(over.shape).get('seed', 1)


def flat(over: Mesh | None) -> Mesh | None:
  """All devices of a mesh along 'data': for what has no training seeds."""
  if seed_size(over) == 1:
    return over
  return Mesh(over.devices.reshape(-1), ('data',))


def local(over: Mesh | None) -> Mesh | None:
  """This process's devices of a mesh, along 'data'."""
  if over is None or over.size == 1:
    return None
  mine = [device for device in over.devices.reshape(-1)
          if device.process_index == jax.process_index()]
  return Mesh(np.array(mine), ('data',)) if len(mine) > 1 else None


def split_over(over: Mesh) -> NamedSharding:
  """Of arrays whose leading axis [N] is laid over the mesh."""
  return NamedSharding(over, PartitionSpec('data'))


def spread(tree: Any, over: Mesh | None) -> Any:
  """Inside jit: lays leading axes [N] over the mesh, padded to its multiple.

  The padding repeats entries from the front, so that it is as valid as they
  are; who asked for [N] drops what comes after. It is explicit because a
  constraint on a size that does not divide silently gives every device all.
  """
  if data_size(over) == 1:
    return tree

  def lay(x):
    size = -(-x.shape[0] // data_size(over)) * data_size(over)
    if size != x.shape[0]:
      x = x[jnp.arange(size) % x.shape[0]]
    return jax.lax.with_sharding_constraint(x, split_over(over))

  return jax.tree.map(lay, tree)


def over_seeds(
    function: Callable[..., Any], over: Mesh | None = None
) -> Callable[..., Any]:
  """function(per_seed) for every training seed [seeds] of a tree.

  On accelerators seeds are vmapped, which fills the chip. On a CPU they follow
  one another inside the same program: products with a batch of weights are slow
  there (three seeds trained 1.3 times and decoded 5 times slower when vmapped).
  Over an axis 'seed' they are vmapped and laid.
  """
  if seed_size(over) > 1:
    return jax.vmap(function, spmd_axis_name='seed')
  if jax.default_backend() == 'cpu':
    return lambda tree: jax.lax.map(function, tree)
  return jax.vmap(function)


def by_seed(over: Mesh | None) -> NamedSharding | None:
  """Of training seeds [seeds]: laid over 'seed', copied along 'data'."""
  if seed_size(over) == 1:
    return replicated(over)
  return NamedSharding(over, PartitionSpec('seed'))


def replicated(over: Mesh | None) -> NamedSharding | None:
  """Of what every device has a copy of; None if there is but one."""
  if over is None or over.size == 1:
    return None
  return NamedSharding(over, PartitionSpec())


def put(tree: Any, sharding: NamedSharding | None) -> Any:
  """A tree laid as told; as it is for None."""
  if sharding is None:
    return tree
  if jax.process_count() > 1:
    # Between processes only a program can move what is laid otherwise.
    return jax.jit(lambda x: x, out_shardings=sharding)(tree)
  return jax.device_put(tree, sharding)


def replicate(tree: Any, over: Mesh | None) -> Any:
  """A copy on every device of the mesh."""
  return put(tree, replicated(over))


def batch_part(batch_size: int, over: Mesh | None) -> tuple[int, int]:
  """First and last + 1 of a batch [B] that this process's devices need."""
  if over is None or over.size == 1:
    return 0, batch_size
  parts = [index[0].indices(batch_size) for index in split_over(
      over).addressable_devices_indices_map((batch_size,)).values()]
  return min(part[0] for part in parts), max(part[1] for part in parts)


def put_batches(tree: Any, batch_size: int, over: Mesh | None) -> Any:
  """Arrays [seeds, U, B, ...], each device with its own seeds and part of B.

  Args:
    tree: NumPy arrays [seeds, U, last - first, ...] of this batch_part.
    batch_size: B.
    over: the mesh.
  """
  if over is None or over.size == 1:
    return jax.device_put(tree)
  first, _ = batch_part(batch_size, over)
  seed = 'seed' if seed_size(over) > 1 else None
  laid = NamedSharding(over, PartitionSpec(seed, None, 'data'))

  def one(x):
    def part(index):
      begin, end, _ = index[2].indices(batch_size)
      return x[index[0], :, begin - first:end - first]
    return jax.make_array_from_callback(
        (*x.shape[:2], batch_size, *x.shape[3:]), laid, part)

  return jax.tree.map(one, tree)


def fetch(tree: Any) -> Any:
  """A tree of arrays as NumPy arrays, on every process."""
  def one(x):
    if isinstance(x, jax.Array) and not (
        x.is_fully_addressable or x.is_fully_replicated):
      return multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)
  return jax.tree.map(one, tree)
