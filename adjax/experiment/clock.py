"""Where the programs of a run are compiled and timed."""

from collections.abc import Callable
import time
from typing import Any

import jax

from adjax import devices
from adjax import types

Program = Callable[..., types.PyTree]


class Clock:
  """Compiles the programs of a run, runs them, and counts the seconds.

  No operation outside of these programs touches an array that is laid over
  several devices, and each is waited for before the next begins.

  Attributes:
    mesh: what programs are traced under.
    seconds: {stage: seconds}, compilation apart.
    start: when the run began, moved back by what it had done when stopped.
  """

  def __init__(self, mesh: jax.sharding.Mesh | None = None):
    self.mesh = mesh
    self.seconds = dict.fromkeys(
        ('compile', 'generate', 'train', 'evaluate'), 0.0)
    self.start = time.perf_counter()

  def on(self, mesh: jax.sharding.Mesh | None) -> 'Clock':
    """A clock that counts the same seconds, for programs on another mesh."""
    other = Clock(mesh)
    other.seconds, other.start = self.seconds, self.start
    return other

  def compile(
      self, function: Callable[..., types.PyTree], *args: types.PyTree,
      **options: Any,
  ) -> Program:
    """The program of a function for such arguments.

    Args:
      function: what is traced under the mesh.
      *args: arrays, or what tells their shapes and shardings.
      **options: of jax.jit.
    """
    start = time.perf_counter()
    with devices.use(self.mesh):
      program = jax.jit(function, **options).lower(*args).compile()
    self.seconds['compile'] += time.perf_counter() - start
    return program

  def run(
      self, stage: str, program: Program, *args: types.PyTree
  ) -> types.PyTree:
    """What a program returns, once it is there.

    Args:
      stage: where its seconds are counted.
      program: from compile, or what calls such programs.
      *args: its arguments.
    """
    start = time.perf_counter()
    value = jax.block_until_ready(program(*args))
    self.seconds[stage] += time.perf_counter() - start
    return value


def output_shapes(program: Any) -> types.PyTree:
  """What a compiled program returns, as shapes with shardings."""
  return jax.tree.map(
      lambda x, sharding: jax.ShapeDtypeStruct(
          x.shape, x.dtype, sharding=sharding),
      program.out_info, program.output_shardings)
