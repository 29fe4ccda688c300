"""Devices and processes: the mesh, what is laid over it, what hosts agree on.

A mesh has one axis, 'data', or two. Over 'data' the flat axis of independent
learners and the batch are sharded: the first needs no communication, and the
mean of the gradient is the only sum over devices. Over 'seed', if there is such
an axis, training seeds are sharded, which never communicate.

Programs are traced under one current mesh, `with use(mesh)`, so that library
functions take no mesh and jit's cache sees which it was. Nothing outside a
compiled program may touch an array that is laid over several devices: on a CPU
such operations can wait for each other for ever.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import math
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

PyTree = Any


def make_mesh(num_devices: int | None = None, seeds: int = 1) -> Mesh:
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


def parse_mesh(text: str) -> Mesh:
  """A mesh from 'data:8', or from 'seed:2,data:4'.

  Raises:
    ValueError: if it is neither, or wants more devices than there are.
  """
  allowed = f'mesh={text}: must look like data:8 or seed:2,data:4'
  shape: dict[str, int] = {}
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
    raise ValueError(f'mesh={text}: must be over at most '
                     f'{jax.device_count()} devices, those there are')
  if jax.process_count() > 1 and number < jax.device_count():
    raise ValueError(f'mesh={text}: must be over all {jax.device_count()} '
                     'devices, since each process has to take part')
  return make_mesh(number, shape.get('seed', 1))


def use(mesh: Mesh | None) -> contextlib.AbstractContextManager[Any]:
  """Makes a mesh the current one while programs are traced; None changes none.
  """
  return contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh)


def data_size(mesh: Mesh | None = None) -> int:
  """How many devices a batch is laid over, by default on the current mesh."""
  return _axes(mesh).get('data', 1)


def seed_size(mesh: Mesh | None = None) -> int:
  """How many devices training seeds are laid over."""
  return _axes(mesh).get('seed', 1)


def _axes(mesh: Mesh | None) -> dict[str, int]:
  return dict((mesh or jax.sharding.get_abstract_mesh()).shape)


# Inside traced programs.


def shard(tree: PyTree) -> PyTree:
  """Lays leading axes [N] over 'data', padded to its multiple.

  The padding repeats entries from the front, so that it is as valid as they
  are; who asked for [N] drops what comes after. It is explicit because a
  constraint on a size that does not divide silently gives every device all.
  """
  return _shard(tree, data_size(), 'data')


def shard_over_all(tree: PyTree) -> PyTree:
  """As shard, over all devices: for what has no training seeds."""
  if seed_size() == 1:
    return shard(tree)
  return _shard(tree, seed_size() * data_size(), ('seed', 'data'))


def _shard(tree: PyTree, number: int, axes: str | tuple[str, ...]) -> PyTree:
  if number == 1:
    return tree

  def lay(x: jax.Array) -> jax.Array:
    size = -(-x.shape[0] // number) * number
    if size != x.shape[0]:
      x = x[jax.numpy.arange(size) % x.shape[0]]
    return jax.lax.with_sharding_constraint(x, PartitionSpec(axes))

  return jax.tree.map(lay, tree)


def evenly(tree: PyTree) -> PyTree:
  """What a program returns: axes [N] that do not divide are copied to all.

  JAX before 0.8 has no name for the sharding that a compiler finds for them.
  """
  number = seed_size() * data_size()
  return jax.tree.map(
      lambda x: x if x.shape[0] % number == 0 else
      jax.lax.with_sharding_constraint(x, PartitionSpec()), tree)


def map_seeds(function: Callable[[PyTree], PyTree], per_seed: PyTree) -> PyTree:
  """function for every training seed [seeds] of a tree.

  On accelerators seeds are vmapped, which fills the chip. On a CPU they follow
  one another inside the same program: products with a batch of weights are slow
  there (three seeds trained 1.3 times and decoded 5 times slower when vmapped).
  Over an axis 'seed' they are vmapped and sharded.
  """
  if seed_size() > 1:
    return jax.vmap(function, spmd_axis_name='seed')(per_seed)
  if jax.default_backend() == 'cpu':
    return jax.lax.map(function, per_seed)
  return jax.vmap(function)(per_seed)


# Outside of them.


def by_seed(mesh: Mesh | None) -> NamedSharding | None:
  """The sharding of training seeds [seeds]: over 'seed', copied along 'data'.
  """
  if seed_size(mesh) == 1:
    return replicated(mesh)
  assert mesh is not None
  return NamedSharding(mesh, PartitionSpec('seed'))


def replicated(mesh: Mesh | None) -> NamedSharding | None:
  """The sharding of what every device has a copy of; None if there is one."""
  if mesh is None or mesh.size == 1:
    return None
  return NamedSharding(mesh, PartitionSpec())


def local(mesh: Mesh | None) -> Mesh | None:
  """This process's devices of a mesh, along 'data'; None for a single one."""
  if mesh is None or mesh.size == 1:
    return None
  mine = [device for device in mesh.devices.reshape(-1)
          if device.process_index == jax.process_index()]
  return Mesh(np.array(mine), ('data',)) if len(mine) > 1 else None


def local_size(mesh: Mesh | None) -> int:
  """How many of its devices are this process's."""
  return 1 if mesh is None else len(mesh.local_devices)


def batch_part(batch_size: int, mesh: Mesh | None) -> tuple[int, int]:
  """First and last + 1 of a batch [B] that this process's devices need."""
  if mesh is None or mesh.size == 1:
    return 0, batch_size
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  indices = sharding.addressable_devices_indices_map((batch_size,)).values()
  parts = [index[0].indices(batch_size) for index in indices if index]
  return min(part[0] for part in parts), max(part[1] for part in parts)


def place_batches(tree: PyTree, batch_size: int, mesh: Mesh | None) -> PyTree:
  """Arrays [seeds, U, B, ...], each device with its own seeds and part of B.

  Args:
    tree: NumPy arrays [seeds, U, last - first, ...] of this batch_part.
    batch_size: B.
    mesh: the mesh.
  """
  if mesh is None or mesh.size == 1:
    return jax.device_put(tree)
  first, _ = batch_part(batch_size, mesh)
  seed = 'seed' if seed_size(mesh) > 1 else None
  sharding = NamedSharding(mesh, PartitionSpec(seed, None, 'data'))

  def one(x: np.ndarray) -> jax.Array:
    def part(index: Any) -> np.ndarray:
      begin, end, _ = index[2].indices(batch_size)
      return x[index[0], :, begin - first:end - first]
    return jax.make_array_from_callback(
        (*x.shape[:2], batch_size, *x.shape[3:]), sharding, part)

  return jax.tree.map(one, tree)


def fetch(tree: PyTree) -> PyTree:
  """A tree of arrays as NumPy arrays, on every process."""
  def one(x: Any) -> np.ndarray:
    if isinstance(x, jax.Array) and not (
        x.is_fully_addressable or x.is_fully_replicated):
      return multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)
  return jax.tree.map(one, tree)


# What one process does, all know of.


def collectively(action: Callable[[], Any]) -> Any:
  """The value of an action that all processes take; all fail if one does.

  Raises:
    Exception: the action's, or a RuntimeError that names another process whose
      action raised.
  """
  value, failed = None, None
  try:
    value = action()
  except Exception as error:
    failed = error
  if jax.process_count() > 1:
    all_failed = multihost_utils.process_allgather(
        np.asarray(failed is not None))
    if failed is None and all_failed.any():
      failed = RuntimeError(
          f'process {int(np.argmax(all_failed))} of this run failed; it has '
          'said why')
  if failed is not None:
    raise failed
  return value


def largest(number: int) -> int:
  """The largest of the integers that the processes have."""
  if jax.process_count() == 1:
    return number
  return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def as_first(numbers: list[int]) -> list[int]:
  """The integers that the first process has."""
  if jax.process_count() == 1:
    return numbers
  tell = multihost_utils.broadcast_one_to_all
  count = int(tell(np.int32(len(numbers))))
  ours = numbers if jax.process_index() == 0 else [0] * count
  return tell(np.asarray(ours, np.int32)).tolist()


@contextlib.contextmanager
def barriers() -> Iterator[Callable[[str], None]]:
  """A barrier(name) for work in which any process may fail: all fail then."""
  told = False

  def barrier(name: str) -> None:
    nonlocal told
    del name
    told = True  # Of whatever is raised here, the others know.
    collectively(lambda: None)
    told = False

  try:
    yield barrier
  except Exception as error:
    if not told:
      failed = error
      def fail() -> None:
        raise failed
      collectively(fail)
    raise
