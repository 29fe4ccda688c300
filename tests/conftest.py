"""Programs compiled by one test are kept for the others of the session."""

import os
import tempfile

import jax

_FOLDER = tempfile.TemporaryDirectory(prefix='adjax-tests-')
jax.config.update('jax_compilation_cache_dir', _FOLDER.name)
# For the programs that tests start.
os.environ['JAX_COMPILATION_CACHE_DIR'] = _FOLDER.name
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
