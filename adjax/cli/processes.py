"""Which processes and devices a run has, and whether they reach each other."""

import math
import time

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from adjax import devices


def describe() -> str:
  """'process 3 of 16 (from 0), 8 devices here, 128 in all, backend gpu'.

  They are counted from 0, as --process_id and schedulers do. Who sees 'of 1' in
  each of several processes has started as many runs.
  """
  here = jax.local_device_count()
  return (f'process {jax.process_index()} of {jax.process_count()} (from 0), '
          f'{here} device{"" if here == 1 else "s"} here, {jax.device_count()} '
          f'in all, backend {jax.default_backend()}')


def check() -> str:
  """Adds up one number from each device of all processes.

  Returns:
    What was found, in a line.

  Raises:
    RuntimeError: if the sum is wrong.
  """
  number = jax.device_count()
  mesh = devices.make_mesh()
  numbers = np.arange(1, number + 1, dtype=np.int32)
  laid = jax.make_array_from_callback(
      (number,), NamedSharding(mesh, PartitionSpec('data')),
      lambda index: numbers[index])
  all_reduce = jax.jit(
      jnp.sum, out_shardings=NamedSharding(mesh, PartitionSpec()))
  seconds = []
  for _ in range(2):
    start = time.perf_counter()
    found = int(devices.fetch(all_reduce(laid)))
    seconds.append(time.perf_counter() - start)
  expected = math.comb(number + 1, 2)
  what = f'the sum of 1 to {number}, a number from each device,'
  if found != expected:
    raise RuntimeError(
        f'check_devices: {what} must be {expected}; it is {found}')
  return (f'{what} is {found}, as it must be; {seconds[0]:.2f} s the first '
          f'time, {1e3 * seconds[1]:.2f} ms the second')
