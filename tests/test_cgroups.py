"""What a job may use, whichever cgroups it is in, and wherever they are."""

import math
import os

import hypothesis
from hypothesis import strategies as st
import pytest

from adjax.cli import launcher
from adjax.experiment import cgroups

GIGA = 10**9
FILES = {  # For each version: allowed, used, and what of that is files.
    1: ('memory.limit_in_bytes', 'memory.usage_in_bytes',
        'total_inactive_file', str(2**63 - 4096)),
    2: ('memory.max', 'memory.current', 'inactive_file', 'max')}


def write(folder, **texts):
  folder.mkdir(parents=True, exist_ok=True)
  for name, text in texts.items():
    (folder / name).write_text(f'{text}\n')


def machine(root, version, controller, path, base='/'):
  """A machine on which this process is in a cgroup; returns the mount point.

  Args:
    root: its folder.
    version: of cgroups.
    controller: the only one, in version 1.
    path: of the cgroup, as the kernel tells it.
    base: what of that tree is mounted, in a container.
  """
  point = '/sys/fs/cgroup' if version == 2 else f'/sys/fs/cgroup/{controller}'
  kind = 'cgroup2 cgroup2 rw' if version == 2 else (
      f'cgroup cgroup rw,{controller},more')
  line = f'0::{path}' if version == 2 else f'7:other:/\n5:{controller}:{path}'
  write(root / 'proc' / 'self', cgroup=line, mountinfo=(
      '20 1 0:4 / / rw - ext4 /dev/vda rw\n'
      f'31 23 0:28 {base} {point} rw,relatime shared:9 - {kind}'))
  return root / point[1:]


def limit(folder, version, most, used=0, files=0):
  """A cgroup that allows so much memory, None for any."""
  allowed, usage, inactive, unlimited = FILES[version]
  write(folder, **{
      allowed: unlimited if most is None else most, usage: used,
      'memory.stat': f'anon 5\n{inactive} {files}\nactive_file 7'})


_LIMITS = st.lists(st.none() | st.integers(1, 10**12), min_size=1, max_size=5)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(version=st.sampled_from([1, 2]), limits=_LIMITS,
                  base=st.sampled_from(['/', '/docker/a b']))
def test_the_least_of_all_ancestors_is_what_there_is(
    tmp_path_factory, version, limits, base):
  """The first of the limits is the mount's; version 2 has none at the root."""
  root = tmp_path_factory.mktemp('machine')
  inside = ''.join(f'/level{i}' for i in range(len(limits) - 1))
  folder = machine(root, version, 'memory', base.rstrip('/') + inside or '/',
                   base.replace(' ', '\\040'))
  if version == 2:
    limits[0] = None
  for depth, most in enumerate(limits):
    if depth:
      folder = folder / f'level{depth - 1}'
    if depth or version == 1:
      limit(folder, version, most)
  found, wanted = cgroups.memory(root), [x for x in limits if x is not None]
  assert found == min(wanted) if wanted else found > 2**62


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    version=st.sampled_from([1, 2]),
    quotas=st.lists(st.none() | st.floats(0.01, 40), min_size=1, max_size=5),
    may=st.integers(1, 64))
def test_cores_are_those_that_every_ancestor_gives_time_for(
    tmp_path_factory, version, quotas, may):
  root = tmp_path_factory.mktemp('machine')
  folder = machine(root, version, 'cpu', '/a' * len(quotas))
  for quota in quotas:
    folder = folder / 'a'
    if version == 2:
      write(folder, **{'cpu.max': 'max 50000' if quota is None
                       else f'{round(quota * 50000)} 50000'})
    else:
      write(folder, **{
          'cpu.cfs_quota_us': -1 if quota is None else round(quota * 50000),
          'cpu.cfs_period_us': 50000})
  least = min([may, *(round(x * 50000) / 50000 for x in quotas
                      if x is not None)])
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(os, 'sched_getaffinity', lambda _: range(may), raising=False)
    assert cgroups.cores(root) == max(1, math.floor(least))


def test_what_is_used_counts_but_for_files_that_were_read(tmp_path):
  limit(machine(tmp_path, 2, '', '/job') / 'job', 2, 5 * GIGA, 3 * GIGA, GIGA)
  assert cgroups.memory(tmp_path) == 3 * GIGA
  limit(tmp_path / 'sys/fs/cgroup/job', 2, GIGA, 3 * GIGA)
  assert cgroups.memory(tmp_path) < 0


def test_a_machine_of_both_versions_has_the_limits_of_both(tmp_path):
  machine(tmp_path, 1, 'memory', '/slurm/job')
  limit(tmp_path / 'sys/fs/cgroup/memory/slurm', 1, 2 * GIGA)
  with (tmp_path / 'proc/self/cgroup').open('a') as file:
    file.write('0::/user\n')
  with (tmp_path / 'proc/self/mountinfo').open('a') as file:
    file.write('9 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n')
  assert cgroups.memory(tmp_path) == 2 * GIGA
  limit(tmp_path / 'sys/fs/cgroup/unified/user', 2, GIGA)
  assert cgroups.memory(tmp_path) == GIGA


@pytest.mark.parametrize('path', ['/elsewhere', '/../other', '/'])
def test_a_container_that_is_told_paths_from_outside_has_its_mounts_limit(
    tmp_path, path):
  limit(machine(tmp_path, 1, 'memory', path, '/docker/x'), 1, GIGA)
  assert cgroups.memory(tmp_path) == GIGA


def test_without_cgroups_nothing_is_limited(tmp_path, monkeypatch):
  monkeypatch.setattr(
      os, 'sched_getaffinity', lambda _: range(3), raising=False)
  assert cgroups.memory(tmp_path) == math.inf and cgroups.cores(tmp_path) == 3


@pytest.mark.parametrize('cores, devices', [
    (1, 1), (2, 2), (6, 4), (8, 8), (96, 8)])
def test_a_processor_is_a_power_of_two_of_devices(monkeypatch, cores, devices):
  monkeypatch.setattr(cgroups, 'cores', lambda: cores)
  assert launcher.cpu_devices() == devices
