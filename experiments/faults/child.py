"""A run that tells its stages, and in which a fault happens if asked for.

  python -m experiments.faults.child --inject=save_fails:3 --workdir=...

It is `adjax run` otherwise: same flags, same main.
"""

from collections.abc import Callable
import functools
import json
import resource
from typing import Any
import zlib

from absl import flags

from adjax.cli import launcher
from adjax.cli import run

_INJECT = flags.DEFINE_multi_string(
    'inject', [], 'A fault and its numbers, as in save_fails:3.')


def mark(*words: Any) -> None:
  """Prints a line for the process that watches this one."""
  print(*words, flush=True)


def wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
  """Replaces a function f of a module or class by wrapper(f, *args)."""
  inner = getattr(owner, name)

  @functools.wraps(inner)
  def outer(*args, **kwargs):
    return wrapper(inner, *args, **kwargs)

  setattr(owner, name, outer)


def tell() -> None:
  """Tells when a stage begins and ends, states, and what is in memory."""
  from adjax.experiment import clock
  from adjax.experiment import memory
  from adjax.storage import checkpoint

  def telling(name):
    def wrapper(inner, *args, **kwargs):
      told = name(*args)
      mark('@begin', *told)
      value = inner(*args, **kwargs)
      if told[0] == 'save':
        tell_state(*args[1:3])
      mark('@end', *told)
      return value
    return wrapper

  def running(clock, stage, program, *args):
    # An epoch has a number; before it, states are initialised.
    epoch = stage != 'train' or isinstance(args[0], int)
    return (stage if epoch else 'init',)

  def restoring(inner, *args, **kwargs):
    found = inner(*args, **kwargs)
    if found:
      tell_state(*found[:2])
    return found

  def checking(inner, *args):
    mark('@memory', memory.resident())
    return inner(*args)

  wrap(clock.Clock, 'compile', telling(lambda *args: ('compile',)))
  wrap(clock.Clock, 'run', telling(running))
  wrap(checkpoint.Checkpoints, 'save', telling(
      lambda checkpoints, step, state: ('save', step)))
  wrap(checkpoint.Checkpoints, 'restore', restoring)
  wrap(memory, 'check', checking)


def tell_state(epoch: int, states: Any) -> None:
  """Tells a CRC-32 of each field of each seed's state."""
  import jax
  import numpy as np
  digests: list[dict[str, int]] = [{} for _ in states.step]
  for name, field in states._asdict().items():
    for leaf in jax.tree.leaves(field):
      if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
      for digest, x in zip(digests, np.asarray(leaf)):
        digest[name] = zlib.crc32(x.tobytes(), digest.get(name, 0))
  mark('@state', json.dumps({'epoch': epoch, 'digests': digests}))


# Faults.


def save_fails(step: int) -> None:
  """In the save of a step, no file can grow beyond 1 kB.

  The system itself refuses, in whichever thread it is that writes.
  """
  from adjax.storage import checkpoint

  def saving(inner, checkpoints, number, state):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if number == step:
      resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
      return inner(checkpoints, number, state)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)

  wrap(checkpoint.Checkpoints, 'save', saving)


def cast(step: int, which: int) -> None:
  """One leaf of a step is saved as bfloat16: a state of another program."""
  import jax

  from adjax.storage import checkpoint

  def saving(inner, checkpoints, number, state):
    if number == step:
      leaves, tree = jax.tree.flatten(state)
      floats = [i for i, x in enumerate(leaves) if x.dtype == 'float32']
      index = floats[which % len(floats)]
      leaves[index] = leaves[index].astype('bfloat16')
      state = jax.tree.unflatten(tree, leaves)
    return inner(checkpoints, number, state)

  wrap(checkpoint.Checkpoints, 'save', saving)


def gradient(kind: str, first: int, count: int, seed: int) -> None:
  """Gradients of some updates are not finite.

  Args:
    kind: nan, of the loss and all gradients; inf, of one weight's alone.
    first: the first such update, from 0.
    count: so many.
    seed: of this training seed only; -1 for all.
  """
  import jax
  import jax.numpy as jnp

  from adjax import devices
  from adjax.methods import training
  now = {}

  def numbering(inner, one_seed, per_seed):
    def numbered(pair):
      now['seed'], x = pair
      return one_seed(x)
    return inner(numbered, (
        jnp.arange(jax.tree.leaves(per_seed)[0].shape[0]), per_seed))

  def applying(inner, optimizer, state, value, grads):
    hit = (state.step >= first) & (state.step < first + count) & (
        (seed < 0) | (now['seed'] == seed))
    leaves, tree = jax.tree.flatten(grads)
    if kind == 'nan':
      value, *leaves = (jnp.where(hit, jnp.nan, x) for x in (value, *leaves))
    else:
      index = (0,) * leaves[0].ndim
      leaves[0] = leaves[0].at[index].add(jnp.where(hit, jnp.inf, 0.0))
    return inner(optimizer, state, value, jax.tree.unflatten(tree, leaves))

  wrap(devices, 'map_seeds', numbering)
  wrap(training, 'apply_gradient', applying)


FAULTS = {function.__name__: function
          for function in (save_fails, cast, gradient)}


def main() -> int:
  """Runs what the flags tell; returns the exit code."""
  for text in _INJECT.value:
    name, *numbers = text.split(':')
    FAULTS[name](*(int(x) if x.lstrip('-').isdigit() else x for x in numbers))
  # Last, so that what is told is what the program meant.
  tell()
  code = run.main()
  mark('@memory', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
  return code


if __name__ == '__main__':
  launcher.start(main)
