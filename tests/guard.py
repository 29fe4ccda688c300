"""Nothing but a run's own programs touches arrays on several devices.

On a CPU, operations over several devices outside of one awaited program can
wait for each other for ever; which do depends on the machine and on luck. Here
every program over several devices that is compiled outside of clock.Clock, as
each operation on such an array is when it is first met, is an error, always.
"""

import contextlib

import jax
from jax._src import compiler

from adjax.experiment import clock


@contextlib.contextmanager
def only_programs_of_the_clock(monkeypatch):
  """Yields a list of how many devices each program was compiled for."""
  inside, compiled = [], []
  compile_or_get = compiler.compile_or_get_cached
  compile_program = clock.Clock.compile

  def guarded(backend, computation, devices, *args, **kwargs):
    compiled.append(devices.size)
    if devices.size > 1 and not inside:
      raise AssertionError(
          f'a program over {devices.size} devices is compiled outside of the '
          f'clock: {computation.operation.attributes["sym_name"]}')
    return compile_or_get(backend, computation, devices, *args, **kwargs)

  def entered(self, *args, **kwargs):
    inside.append(True)
    try:
      return compile_program(self, *args, **kwargs)
    finally:
      inside.pop()

  jax.clear_caches()  # Else what was compiled before would not be seen.
  with monkeypatch.context() as patch:
    patch.setattr(compiler, 'compile_or_get_cached', guarded)
    patch.setattr(clock.Clock, 'compile', entered)
    yield compiled
