"""Programs compiled by one test are kept for the others of the session.

They are many and short: less is optimised, which saves a third of the time that
compilation takes here, and compilation is most of the time.
"""

import os
import tempfile

# Before jax is imported; for the programs that tests start, too.
os.environ['XLA_FLAGS'] = (os.environ.get('XLA_FLAGS', '')
                           + ' --xla_backend_optimization_level=1')

import jax

_FOLDER = tempfile.TemporaryDirectory(prefix='adjax-tests-')
jax.config.update('jax_compilation_cache_dir', _FOLDER.name)
# For the programs that tests start.
os.environ['JAX_COMPILATION_CACHE_DIR'] = _FOLDER.name
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
