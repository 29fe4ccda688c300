"""A run's programs cost no more than they did before they were rewritten.

Bounds are of the code at version 0.1, whose optimizer was AdamW, by the same
compiler at the same level of optimisation, for the same tiny experiments on one
device; and since then of the scaling of what enters a model, which took .03 to
.08 % of each (1.5 % where it looks at regenerated histories). XLA's flags in
conftest move them by as much.
"""

import jax
import pytest

from adjax.experiment import clock as clock_lib
from adjax.experiment import run as run_lib
from adjax.experiment import setup as setup_lib
from tests import test_run
from tests import tiny

# {experiment: {program: (flops, bytes accessed)}}.
BOUNDS = {
    'memory': {
        'held_out': (396671, 801604), 'generate': (1100629, 2283994),
        'epoch': (8219539, 7009522)},
    'regenerated': {'epoch': (9467339, 9460959)},
    'online': {'held_out': (239440, 339744), 'epoch': (10679175, 6097869)},
    'store': {
        'generate': (144435, 303684), 'updates': (7967814, 6328795)},
}
ADAMW = 'method.optimizer=adamw'
EXPERIMENTS = {
    'memory': lambda: tiny.quick(ADAMW),
    'regenerated': lambda: tiny.quick(ADAMW, 'data.regenerate_every=1'),
    'online': lambda: tiny.preset('dark_room_rl2', *test_run.RL2),
    'store': lambda: tiny.quick(ADAMW, 'data.store=nowhere'),
}
# Fusions may pad a scalar or two; a ring that is copied once is 20,000 bytes.
SLACK = 1.0001


class Costs(clock_lib.Clock):
  """Keeps the programs that it compiles by the name of their function."""

  def __init__(self, mesh=None):
    super().__init__(mesh)
    self.programs = {}

  def on(self, mesh):
    return self

  def compile(self, function, *args, **options):
    program = super().compile(function, *args, **options)
    name = getattr(function, 'func', function).__name__
    self.programs[name] = program
    return program


@pytest.mark.parametrize('name', [
    'memory', *(pytest.param(name, marks=pytest.mark.long)
                for name in ('online', 'regenerated', 'store'))])
@pytest.mark.on_cpu
@pytest.mark.skipif(jax.__version_info__ < (0, 8),
                    reason='bounds are of a later compiler')
def test_programs_cost_no_more_than_before(name):
  setup = setup_lib.make(EXPERIMENTS[name](), 'data:1')
  clock = Costs()
  states = run_lib.init_states(setup, clock)
  if 'held_out' in BOUNDS[name]:
    clock.programs['held_out'] = run_lib.compile_held_out(setup, clock, states)
  run_lib.make_data(setup, clock, tiny.Recorder()).compile(states)
  for program, (flops, accessed) in BOUNDS[name].items():
    found = clock.programs[program].cost_analysis()
    assert found['flops'] <= SLACK * flops, program
    assert found['bytes accessed'] <= SLACK * accessed, program


@pytest.mark.long
def test_a_run_compiles_no_more_programs_than_before(tmp_path, monkeypatch):
  """All of them, also those of single operations: 131 before."""
  from jax._src import compiler
  compiled = []
  compile_or_get = compiler.compile_or_get_cached

  def count(*args, **kwargs):
    compiled.append(args)
    return compile_or_get(*args, **kwargs)

  jax.clear_caches()
  monkeypatch.setattr(compiler, 'compile_or_get_cached', count)
  run_lib.run(tiny.quick(), str(tmp_path), tiny.Recorder(), mesh='data:1')
  assert len(compiled) <= 131
