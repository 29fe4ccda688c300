"""A trained model for any program: StableHLO of its step and of its reset.

  adjax export runs/quick

Writes step.stablehlo and reset.stablehlo beside weights.npz, which
jax.export.deserialize reads, for CPUs, GPUs and TPUs, with the weights inside:

  reset() -> cache
  step(cache, observation, action, reward, done) -> (logits [A], cache)

where action [] is the previous one, -1 at first, reward [] and done [] are what
it brought, and a cache is a tuple of arrays. With --batch=B all of these have a
leading axis [B]. examples/read_export.py is a reader.
"""

import importlib.util
import os
from typing import Any

from absl import flags

from adjax.cli import folders

flags.declare_key_flag('seed')
_BATCH = flags.DEFINE_integer(
    'batch', None, 'How many environments it acts in at once. Default: one, '
    'without an axis.', 1)

PLATFORMS = ('cpu', 'cuda', 'tpu')


def main(workdirs: list[str]) -> None:
  """Exports what the arguments tell."""
  from adjax import agent
  from adjax.storage import files
  from adjax.storage import weights
  if not workdirs:
    raise ValueError('WORKDIR: must be given, as in adjax export runs/quick')
  source = agent.find(workdirs[0])
  header, nested = weights.load(source)
  exported = export(
      header, weights.params(header, nested, folders.SEED.value), _BATCH.value)
  for name, data in exported.items():
    path = os.path.join(os.path.dirname(source), f'{name}.stablehlo')
    files.write(path, data)
    print(f'{path}: {len(data) / 2**20:.2f} MiB')


def export(
    header: dict[str, Any], params: Any, batch: int | None = None
) -> dict[str, bytes]:
  """{'step' and 'reset': jax.export's serialised programs}.

  Args:
    header: of a file of weights.
    params: of one seed.
    batch: B, or None.

  Raises:
    ValueError: if the package flatbuffers is not there.
  """
  import jax
  from jax import export as jax_export

  from adjax import agent
  from adjax.storage import weights
  if importlib.util.find_spec('flatbuffers') is None:
    raise ValueError('adjax export: must have flatbuffers, which jax writes '
                     'such files with; pip install flatbuffers')
  model = weights.model(header)
  step, empty = agent.programs(model, batch)
  first = agent.null_inputs(model, batch)
  structure = jax.tree.structure(jax.eval_shape(empty))

  def reset() -> Any:
    return tuple(jax.tree.leaves(empty()))

  def flat_step(cache: Any, *inputs: Any) -> Any:
    logits, after = step(params, type(first)(*inputs),
                         jax.tree.unflatten(structure, cache))
    return logits, tuple(jax.tree.leaves(after))

  return {name: bytes(jax_export.export(
      jax.jit(function), platforms=PLATFORMS)(*given).serialize())
          for name, function, given in (
              ('reset', reset, ()),
              ('step', flat_step, (jax.eval_shape(reset), *first)))}


def start(argv: list[str] | None = None) -> None:
  """The program."""
  folders.start(main, argv, most=1)


if __name__ == '__main__':
  start()
