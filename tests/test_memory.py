"""What a run needs of memory is told, and refused if it is not there."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from adjax.experiment import cgroups
from adjax.experiment import memory
from tests import tiny


@pytest.mark.on_cpu
def test_a_program_has_its_arguments_its_values_and_what_is_between():
  x = jnp.ones((1000, 1000))
  times = jax.jit(lambda x: x @ x).lower(x).compile()
  assert 8e6 <= memory.program(times) < 8.1e6
  between = jax.jit(
      lambda x: jnp.sin(jnp.sin(x @ x) @ x).sum()).lower(x).compile()
  assert 8e6 <= memory.program(between) <= 12.1e6
  replaced = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
  assert memory.program(replaced) == 4e6


@pytest.mark.on_cpu
def test_the_largest_stage_is_told(monkeypatch):
  monkeypatch.setattr(memory, 'available', lambda: 10**10)
  monkeypatch.setattr(memory, 'resident', lambda: 10**9)
  needs = {'training': 2 * 10**9, 'histories': 10**9}
  assert memory.check(needs) == (
      'needs about 3.00 GB of memory, the most for training; 11.00 GB are '
      'there')


@pytest.mark.on_cpu
def test_a_run_that_does_not_fit_is_refused_before_it_begins(
    tmp_path, monkeypatch):
  monkeypatch.setattr(memory, 'available', lambda: 10**5)
  with pytest.raises(ValueError, match=r'needs about .* lower data\.histories'):
    tiny.run(tiny.fast(), tmp_path)
  assert not (tmp_path / 'checkpoints').exists()
  assert (tmp_path / 'metrics.jsonl').read_text() == ''


def test_what_there_is_is_known_here():
  assert 10**7 < memory.resident() < 10**11
  assert 10**7 < memory.available() < 10**14


def test_addresses_that_are_limited_are_what_there_is():
  """As `ulimit -v` does."""
  code = (
      'import resource\n'
      'from adjax.experiment import memory\n'
      'before = memory.available()\n'
      'used = memory._statm()[0]\n'
      'resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))\n'
      'print(before, memory.available())')
  before, after = map(int, subprocess.run(
      [sys.executable, '-c', code], check=True, capture_output=True, text=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'}).stdout.split())
  assert 0 < after <= 2**28 < before


def test_the_least_of_cgroup_and_machine_is_there(monkeypatch):
  monkeypatch.setattr(cgroups, 'memory', lambda: 10**6)
  assert memory.available() == 10**6
  monkeypatch.setattr(cgroups, 'memory', lambda: -1)
  assert memory.available() == 0
