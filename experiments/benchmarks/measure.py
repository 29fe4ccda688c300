"""Timing functions beside each other, and the rows that come of it."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import devices
from adjax import types


@dataclasses.dataclass(frozen=True)
class Row:
  """One figure, and what it is measured against.

  Attributes:
    stage: of experiments/benchmarks.
    case: what was run.
    metric: what was measured of it.
    ours: the median.
    unit: of ours and peer_value.
    peer: what it is measured against, or None.
    peer_value: the peer's median.
    ratio: above 1 where we are ahead.
    spread: least and most of ours, for the eye only.
  """
  stage: str
  case: str
  metric: str
  ours: float
  unit: str
  peer: str | None = None
  peer_value: float | None = None
  ratio: float | None = None
  spread: tuple[float, float] | None = None

  def __str__(self):
    text = (f'{self.stage:9} {self.case:48} {self.metric:24} '
            f'{digits(self.ours):>9} {self.unit}')
    if self.spread:
      text += ' ({} to {})'.format(*map(digits, self.spread))
    if self.peer:
      text += f' | {self.peer}: {digits(self.peer_value)}, {self.ratio:.2f}x'
    return text


def digits(x: float) -> str:
  """As few digits as are worth anything."""
  if x >= 1e4:
    return f'{x:,.0f}'
  return f'{x:.3g}' if x < 1e3 else f'{x:,.1f}'


class Seconds(list):
  """Seconds of several runs of one case, in order."""

  @property
  def median(self) -> float:
    return sorted(self)[len(self) // 2]


def measure(
    cases: Mapping[str, Callable[[], Any]], runs: int, budget: float = 5.0
) -> dict[str, Seconds]:
  """Seconds of functions, run in turn after a warm-up of each.

  Args:
    cases: {name: function}; jax arrays that it returns are waited for.
    runs: of each case.
    budget: seconds after which no further round is begun, once there were
      three.
  """
  for function in cases.values():
    jax.block_until_ready(function())
  found = {name: Seconds() for name in cases}
  begin = time.perf_counter()
  for done in range(runs):
    if done >= 3 and time.perf_counter() - begin > budget:
      break
    for name, function in cases.items():
      start = time.perf_counter()
      jax.block_until_ready(function())
      found[name].append(time.perf_counter() - start)
  return found


def alone(function: Callable[[], Any], runs: int) -> Seconds:
  """Seconds of one function, measured beside nothing."""
  return measure({'it': function}, runs)['it']


def rate(
    stage: str, case: str, unit: str, amount: float, seconds: Seconds,
    peer: str | None = None, peer_amount: float | None = None,
    peer_seconds: Seconds | None = None, metric: str = 'speed',
) -> Row:
  """The row of an amount done in some seconds, per second."""
  row = Row(stage, case, metric, amount / seconds.median, unit,
            spread=(amount / max(seconds), amount / min(seconds)))
  if peer is None:
    return row
  return against(row, peer, peer_amount / peer_seconds.median)


def against(row: Row, peer: str, value: float) -> Row:
  """The row beside a peer's value, where more is better."""
  return dataclasses.replace(
      row, peer=peer, peer_value=value, ratio=row.ours / value)


def compiled(
    function: Callable[..., Any], *args: Any
) -> tuple[Callable[[], Any], float]:
  """A jitted function of no arguments, and the seconds it took to compile."""
  start = time.perf_counter()
  with devices.use(mesh()):
    program = jax.jit(function).lower(*args).compile()
  return lambda: program(*args), time.perf_counter() - start


def mesh() -> jax.sharding.Mesh | None:
  """Over all devices; None for a single one."""
  return devices.make_mesh() if jax.device_count() > 1 else None


def replicate(tree: types.PyTree) -> types.PyTree:
  """A copy of a tree of arrays on every device."""
  sharding = devices.replicated(mesh())
  if sharding is None:
    return tree
  return jax.block_until_ready(
      jax.jit(lambda x: x, out_shardings=sharding)(tree))


def split(x: np.ndarray) -> jax.Array:
  """An array [devices, ...], a part on each."""
  return jax.device_put(x, jax.sharding.NamedSharding(
      devices.make_mesh(), jax.sharding.PartitionSpec('data')))


def first_tasks(tasks: types.Task, num: int) -> types.Task:
  """The first tasks, over again if there are fewer."""
  index = jnp.arange(num) % types.num_tasks(tasks)
  return jax.tree.map(lambda x: x[index], tasks)


def torch_baseline(
    shape: dict[str, int], window: int
) -> tuple[Any, tuple[Any, Any], str] | None:
  """The PyTorch peer of a model: its module, its make(...), what it is called.

  None where there is no PyTorch.
  """
  try:
    from experiments.benchmarks import torch_baseline
  except ImportError:
    return None
  device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
  *models, name = torch_baseline.make(shape, window, os.cpu_count(), device)
  return torch_baseline, models, name


def products() -> tuple[Callable[[], Any], float]:
  """A program of products of 2048 x 2048 float32 matrices, and its FLOPs.

  One on each device, in a loop, so that memory is not asked for anew.
  """
  # Enough of them to forget what starting a program costs.
  times = 4 if jax.default_backend() == 'cpu' else 400
  size, count = 2048, jax.device_count()
  x = split(np.ones((count, size, size), np.float32))
  program, _ = compiled(lambda x: jax.lax.fori_loop(
      0, times, lambda _, y: jax.vmap(jnp.matmul)(y, x) / size, x), x)
  return program, 2 * size**3 * times * count


def copy_bandwidth(runs: int) -> float:
  """Bytes/s read and written by an addition in place, on all devices."""
  count, times = jax.device_count(), 32
  x = split(np.zeros((count, 2**26 // count), np.float32))
  program, _ = compiled(lambda x: jax.lax.fori_loop(
      0, times, lambda _, y: y + 1, x), x)
  return 2 * x.nbytes * times / alone(program, runs).median
