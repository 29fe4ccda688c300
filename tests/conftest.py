"""Programs compiled by one test are kept for the others of the session.

They are many and short: less is optimised, which saves a third of the time that
compilation takes here, and compilation is most of the time. Four devices are
there, of which one is used unless a test makes a mesh.
"""

import os
import tempfile

# Before jax is imported; for the programs that tests start, too.
os.environ['XLA_FLAGS'] = (os.environ.get('XLA_FLAGS', '')
                           + ' --xla_backend_optimization_level=0')
_FOLDER = tempfile.TemporaryDirectory(prefix='adjax-tests-')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', _FOLDER.name)

import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_compilation_cache_dir',
                  os.environ['JAX_COMPILATION_CACHE_DIR'])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)


def pytest_runtest_setup(item):
  if item.get_closest_marker('four_devices') and jax.device_count() < 4:
    pytest.skip('needs four devices')
  if item.get_closest_marker('on_cpu') and jax.default_backend() != 'cpu':
    pytest.skip('about what is compiled for a CPU')
