"""What a job may use of its machine: the limits of its Linux cgroups.

A container, a Slurm job or a systemd service is in a cgroup, which is in
others; the least that any of them allows is what there is. Version 1 has a tree
for each controller, version 2 one for all; a machine may have both. Elsewhere
there are none.
"""

from collections.abc import Iterator
import math
import os
import pathlib
import re

# For each version: what is allowed, what is used, and what of that is files
# that have been read, which the system lets go of when memory is wanted.
_MEMORY = (
    ('memory.max', 'memory.current', 'inactive_file'),
    ('memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'))


def memory(root: str | os.PathLike[str] = '/') -> float:
  """Bytes of memory that this process can still have; infinity if not limited.

  Args:
    root: the folder that has proc/ and what is mounted.
  """
  return min((
      _number(folder / limit) - _number(folder / used, 0.0)
      + _statistics(folder).get(files, 0)
      for folder in _folders(pathlib.Path(root), 'memory')
      for limit, used, files in _MEMORY), default=math.inf)


def cores(root: str | os.PathLike[str] = '/') -> int:
  """CPU cores that this process may keep busy, at least one.

  Args:
    root: the folder that has proc/ and what is mounted.
  """
  # Those that it may run on, where the system tells.
  most = (len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity')
          else os.cpu_count() or 1)
  quotas = [quota for folder in _folders(pathlib.Path(root), 'cpu')
            for quota in _quotas(folder)]
  return max(1, int(min([most, *quotas])))


def _quotas(folder: pathlib.Path) -> Iterator[float]:
  """CPU time in the unit of time that a cgroup may take."""
  for names in ('cpu.max',), ('cpu.cfs_quota_us', 'cpu.cfs_period_us'):
    text = ' '.join(_read(folder / name) for name in names)
    # 'max' in version 2, and -1 in version 1, is no limit.
    found = re.fullmatch(r'(\d+) ([1-9]\d*)', text)
    if found:
      yield int(found[1]) / int(found[2])


def _folders(root: pathlib.Path, controller: str) -> Iterator[pathlib.Path]:
  """The cgroups this process is in: its own, and all that these are in."""
  names = [line.split(':', 2) for line in
           _read(root / 'proc/self/cgroup').splitlines()]
  for line in _read(root / 'proc/self/mountinfo').splitlines():
    # ID, parent, device, root, mount point, options, ... - kind, source, more.
    mount, _, rest = line.partition(' - ')
    kind, _, more = rest.split(' ', 2)
    if kind not in ('cgroup', 'cgroup2'):
      continue
    base, point = map(_unescape, mount.split(' ')[3:5])
    top = root / point.lstrip('/')
    for _, controllers, path in names:
      mine = (controllers == '' if kind == 'cgroup2' else
              controller in controllers.split(',') and
              controller in more.split(','))
      if mine:
        inside = os.path.relpath(path, base)
        # In a container, paths may be those outside of it.
        outside = inside.split('/')[0] == '..'
        folder = top if outside else top / inside
        yield folder
        while folder != top:
          folder = folder.parent
          yield folder


def _unescape(text: str) -> str:
  """Of mountinfo, which writes a blank as \\040."""
  return re.sub(r'\\([0-7]{3})', lambda found: chr(int(found[1], 8)), text)


def _read(path: pathlib.Path) -> str:
  """The text of a small file, '' if there is none."""
  try:
    return path.read_text(encoding='utf-8', errors='replace').strip()
  except OSError:
    return ''


def _number(path: pathlib.Path, default: float = math.inf) -> float:
  text = _read(path)  # 'max' is no limit.
  return int(text) if text.isdecimal() else default


def _statistics(folder: pathlib.Path) -> dict[str, int]:
  """The numbers of a memory.stat."""
  return {name: int(value) for name, value in re.findall(
      r'^(\w+) (\d+)$', _read(folder / 'memory.stat'), re.MULTILINE)}
