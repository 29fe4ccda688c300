"""A run that tells its stages, and in which a fault happens if asked for.

  python -m experiments.faults_child --inject=save_fails:3 --workdir=...

It is experiments.run otherwise: same flags, same main.
"""

from collections.abc import Callable
import functools
import json
import resource
from typing import Any
import zlib

from absl import app
from absl import flags

from experiments import cli
from experiments import run as run_lib

_INJECT = flags.DEFINE_multi_string(
    'inject', [], 'A fault and its numbers, as in save_fails:3.')


def mark(*words: Any) -> None:
  """A line for the process that watches this one."""
  print(*words, flush=True)


def around(owner: Any, name: str, wrap: Callable[..., Any]) -> None:
  """Replaces a function f of a module or class by wrap(f, *args)."""
  inner = getattr(owner, name)

  @functools.wraps(inner)
  def outer(*args, **kwargs):
    return wrap(inner, *args, **kwargs)

  setattr(owner, name, outer)


# Marks.


def tell_stages() -> None:
  """Says when a stage begins and ends, and the state at each checkpoint."""
  from adjax import checkpoint
  from experiments import clock as clock_lib

  def compiling(inner, *args, **kwargs):
    mark('@begin compile')
    value = inner(*args, **kwargs)
    mark('@end compile')
    return value

  def running(inner, clock, stage, *args, **kwargs):
    mark('@begin', stage)
    value = inner(clock, stage, *args, **kwargs)
    mark('@end', stage)
    return value

  def saving(inner, checkpoints, step, state, **kwargs):
    mark('@begin save', step)
    value = inner(checkpoints, step, state, **kwargs)
    tell_state(step, state)
    mark('@end save', step)
    return value

  def restoring(inner, *args, **kwargs):
    found = inner(*args, **kwargs)
    if found:
      tell_state(*found[:2])
    return found

  around(clock_lib.Clock, 'compile', compiling)
  around(clock_lib.Clock, 'run', running)
  around(checkpoint.Checkpoints, 'save', saving)
  around(checkpoint.Checkpoints, 'restore', restoring)


def tell_state(epoch: int, states: Any) -> None:
  """A CRC-32 of each field of each seed's state, apart from any checkpoint."""
  import jax
  import numpy as np
  digests = [{} for _ in states.step]
  for name, field in states._asdict().items():
    for leaf in jax.tree.leaves(field):
      if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
      for digest, x in zip(digests, np.asarray(leaf)):
        digest[name] = zlib.crc32(x.tobytes(), digest.get(name, 0))
  mark('@state', json.dumps({'epoch': epoch, 'digests': digests}))


def tell_memory() -> None:
  """Says what is in memory before the programs of a run, and the most ever."""
  from experiments import memory

  def checking(inner, *args):
    mark('@memory', memory.resident())
    return inner(*args)

  around(memory, 'check', checking)


# Faults.


def save_fails(step: int) -> None:
  """In the save of a step, no file can grow beyond 1 kB.

  The system itself refuses, in whichever thread it is that writes.
  """
  from adjax import checkpoint

  def saving(inner, checkpoints, number, *args, **kwargs):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if number == step:
      resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
      return inner(checkpoints, number, *args, **kwargs)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)

  around(checkpoint.Checkpoints, 'save', saving)


def cast(step: int, which: int) -> None:
  """One leaf of a step is saved as bfloat16: a state of another program."""
  import jax

  from adjax import checkpoint

  def saving(inner, checkpoints, number, state, **kwargs):
    if number == step:
      leaves, tree = jax.tree.flatten(state)
      floats = [i for i, x in enumerate(leaves) if x.dtype == 'float32']
      index = floats[which % len(floats)]
      leaves[index] = leaves[index].astype('bfloat16')
      state = jax.tree.unflatten(tree, leaves)
    return inner(checkpoints, number, state, **kwargs)

  around(checkpoint.Checkpoints, 'save', saving)


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

  from adjax import distill
  from adjax import sharding
  now = {}

  def numbering(inner, one_seed, *args):
    def numbered(pair):
      now['seed'], state = pair
      return one_seed(state)
    run = inner(numbered, *args)
    return lambda states: run(
        (jnp.arange(jax.tree.leaves(states)[0].shape[0]), states))

  def updating(inner, config, model, state, *args, **kwargs):
    now['step'] = state.step
    return inner(config, model, state, *args, **kwargs)

  def losing(inner, params, *args, **kwargs):
    value = inner(params, *args, **kwargs)
    hit = (now['step'] >= first) & (now['step'] < first + count)
    if seed >= 0:
      hit &= now['seed'] == seed
    if kind == 'nan':
      return value * jnp.where(hit, jnp.nan, 1.0)
    weight = jax.tree.leaves(params)[0].ravel()[0]
    # 0, with a slope of infinity where it is hit and of 0 elsewhere.
    nothing = jnp.where(hit, weight - jax.lax.stop_gradient(weight), 1.0)
    return value + jnp.where(hit, jnp.sqrt(nothing), 0.0)

  around(sharding, 'over_seeds', numbering)
  around(distill, 'update_on', updating)
  around(distill, 'loss', losing)


def sick_learner(task: int, step: int) -> None:
  """The source learners of one training task get NaN into their state."""
  import jax
  import jax.numpy as jnp

  from experiments import configs

  def making(inner, config, tasks):
    learner = inner(config, tasks)
    sick = jax.tree.map(lambda x: x[task], tasks.train)

    def init(given, key):
      same = jnp.stack([jnp.all(a == b) for a, b in zip(
          jax.tree.leaves(given), jax.tree.leaves(sick))]).all()
      return learner.init(given, key), same, jnp.int32(0)

    def step_(given, state, key):
      state, same, count = state
      state, transition = learner.step(given, state, key)
      hit = same & (count >= step)
      state = jax.tree.map(
          lambda x: jnp.where(hit, jnp.nan, x).astype(x.dtype)
          if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
      return (state, same, count + 1), transition

    return learner._replace(init=init, step=step_)

  around(configs, 'make_source', making)


FAULTS = {function.__name__: function for function in (
    save_fails, cast, gradient, sick_learner)}


@cli.main
def main():
  for text in _INJECT.value:
    name, *numbers = text.split(':')
    FAULTS[name](*(int(x) if x.lstrip('-').isdigit() else x for x in numbers))
  # Last, so that what is told is what the program meant.
  tell_stages()
  tell_memory()
  code = run_lib.main.__wrapped__()
  mark('@memory', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
  return code


if __name__ == '__main__':
  app.run(main)
