"""What a run will take of memory, told before it begins."""

import math
import os
import pathlib
import resource
from typing import Any

import jax

# What lowers the need of each stage.
_LOWER = {
    'histories': 'data.histories, data.episodes or data.episode_stride, or set '
                 'data.store to a folder',
    'training': 'data.histories, method.batch_size, method.length or '
                'method.trials, model.width or model.layers',
    'evaluation': 'evaluate.held_out_runs, evaluate.episodes or model.window',
    'references': 'evaluate.reference_runs or evaluate.episodes',
}


def program(compiled: Any) -> int:
  """Bytes that a compiled program has on each device while it runs."""
  told = compiled.memory_analysis()
  if told is None:  # Not every backend tells.
    return 0
  return (told.argument_size_in_bytes + told.output_size_in_bytes
          + told.temp_size_in_bytes - told.alias_size_in_bytes)


def size(tree: Any) -> int:
  """Bytes of all arrays of a tree, or of what they would be."""
  return sum(math.prod(x.shape) * x.dtype.itemsize
             for x in jax.tree.leaves(tree))


def check(needs: dict[str, int], devices: int = 1) -> str:
  """Says what the stages of a run need.

  Args:
    needs: {stage: bytes on each device}; stages follow one another.
    devices: how many of this process are used.

  Returns:
    A line: the most that is needed at once, of what there is, on each device
    of an accelerator, or by the process where the devices are its cores.

  Raises:
    ValueError: if it is more than there is, naming what to lower.
  """
  stage = max(needs, key=lambda stage: needs[stage])
  if jax.default_backend() == 'cpu':
    begun = resident()
    need = begun + needs[stage] * devices
    there, where = begun + available(), 'of memory'
  else:
    need = needs[stage]
    there = min((device.memory_stats() or {}).get('bytes_limit', math.inf)
                for device in jax.local_devices())
    where = 'on each device'
  line = (f'needs about {need / 1e9:.2f} GB {where}, the most for {stage}; '
          + (f'{there / 1e9:.2f} GB are there' if math.isfinite(there)
             else 'how much there is, the backend does not tell'))
  if need > there:
    raise ValueError(f'{line}; lower {_LOWER[stage]}')
  return line


def resident() -> int:
  """Bytes of memory that this process has now."""
  try:
    with open('/proc/self/statm', encoding='ascii') as file:
      return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
  except OSError:  # Elsewhere the most it ever had, in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def available() -> int:
  """Bytes of memory that this process can still have."""
  free = [os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')]
  try:
    with open('/proc/meminfo', encoding='ascii') as file:
      free += [int(line.split()[1]) * 1024 for line in file
               if line.startswith('MemAvailable')]
  except OSError:
    pass
  # A container may have less than its machine.
  try:
    limit, used, told = (
        pathlib.Path('/sys/fs/cgroup', name).read_text(encoding='ascii')
        for name in ('memory.max', 'memory.current', 'memory.stat'))
    # What files have been read is let go of when it is wanted.
    files = dict(line.split() for line in told.splitlines())['inactive_file']
    free += [int(limit) - int(used) + int(files)]
  except (OSError, ValueError, KeyError):  # No cgroup, or 'max'.
    pass
  return min(free)
