"""What a run will take of memory, told before it begins."""

import math
import os
import sys
from typing import Any

import jax

from adjax.experiment import cgroups

try:
  import resource
except ImportError:  # On Windows.
  resource = None  # type: ignore[assignment]

# What lowers the need of each stage.
_LOWER = {
    'histories': 'data.histories, data.episodes or data.episode_stride, or set '
                 'data.store to a folder',
    'training': 'data.histories, method.batch_size, method.length or '
                'method.trials, model.width or model.layers',
    'evaluation': 'evaluate.held_out_runs, evaluate.episodes or model.window',
    'references': 'evaluate.reference_runs or evaluate.episodes',
    'rollouts': 'evaluate.episodes',
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
             else 'how much there is, nothing tells'))
  if need > there:
    raise ValueError(f'{line}; lower {_LOWER[stage]}')
  return line


def resident() -> int:
  """Bytes of memory that this process has now; 0 if nothing tells."""
  told = _statm()
  if told:
    return told[1]
  if resource is None:
    return 0
  # The most it ever had, in KiB but on macOS.
  most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return most if sys.platform == 'darwin' else most * 1024


def available() -> float:
  """Bytes of memory that this process can still have; infinity if unknown."""
  free = [cgroups.memory()]
  if hasattr(os, 'sysconf'):
    free.append(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
  try:
    with open('/proc/meminfo', encoding='ascii') as file:
      free += [int(line.split()[1]) * 1024 for line in file
               if line.startswith('MemAvailable')]
  except OSError:
    pass
  told = _statm()
  if told and resource is not None:
    # As `ulimit -v` sets it: of addresses, used or not.
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
      free.append(limit - told[0])
  return max(0, min(free))


def _statm() -> list[int]:
  """Bytes of addresses and of memory that this process has, on Linux."""
  try:
    with open('/proc/self/statm', encoding='ascii') as file:
      return [int(pages) * os.sysconf('SC_PAGE_SIZE')
              for pages in file.read().split()[:2]]
  except OSError:
    return []
