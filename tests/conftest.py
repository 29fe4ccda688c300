"""Programs compiled by one test are kept for the others of the session."""

import tempfile

import jax


def pytest_configure(config):
  del config
  folder = tempfile.mkdtemp(prefix='adjax-tests-')
  jax.config.update('jax_compilation_cache_dir', folder)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
