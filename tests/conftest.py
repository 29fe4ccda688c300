"""Programs compiled by one test are kept for the others of the session.

They are many and short: less is optimised, and by fewer threads, which saves
two thirds of the time that compilation takes here, and compilation is most of
the time. Four devices are there, of which one is used unless a test makes a
mesh.
"""

import os
import subprocess
import sys
import tempfile

_SHORT = (' --xla_backend_optimization_level=0'
          ' --xla_cpu_use_fusion_emitters=false'
          ' --xla_cpu_parallel_codegen_split_count=1')
# Before jax is imported; for the programs that tests start, too. A flag that an
# XLA does not know ends the process.
_FLAGS = os.environ.get('XLA_FLAGS', '')
if _SHORT not in _FLAGS:
  _known = subprocess.run(
      [sys.executable, '-c', 'import jax; jax.devices()'], check=False,
      capture_output=True, env=os.environ | {
          'XLA_FLAGS': _FLAGS + _SHORT, 'JAX_PLATFORMS': 'cpu'})
  os.environ['XLA_FLAGS'] = _FLAGS + (
      _SHORT if _known.returncode == 0 else
      ' --xla_backend_optimization_level=0')
_FOLDER = tempfile.TemporaryDirectory(prefix='adjax-tests-')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _FOLDER.name)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_compilation_cache_dir',
                  os.environ['JAX_COMPILATION_CACHE_DIR'])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


def pytest_collection_modifyitems(items):
  # A file is one worker's; the longest ones begin first.
  longest = 'test_run.py', 'test_data.py', 'test_adapters.py'
  items.sort(key=lambda item: item.path.name not in longest)


def pytest_runtest_setup(item):
  if item.get_closest_marker('four_devices') and jax.device_count() < 4:
    pytest.skip('needs four devices')
  if item.get_closest_marker('on_cpu') and jax.default_backend() != 'cpu':
    pytest.skip('about what is compiled for a CPU')
