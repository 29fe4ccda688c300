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

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_compilation_cache_dir',
                  os.environ['JAX_COMPILATION_CACHE_DIR'])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
