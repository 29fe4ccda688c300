"""How fast each stage is, beside what else one could use and what is possible.

  python -m experiments.benchmark [--stage=NAME] [--json=FILE]

Medians of several runs and their spread, each beside its peer in turn, so that
what else the machine does meets both; warm-up and compilation apart. Machines
differ and are noisy: quote ratios within one run. For the PyTorch peer install
`adjax[torch]`.
"""

import dataclasses
import os

from absl import app
from absl import flags

from experiments import cli

_STAGES = ('histories', 'train', 'store', 'evaluate', 'pipeline', 'scaling')
_STAGE = flags.DEFINE_enum(
    'stage', None, _STAGES, 'Only this one; default: all of them.')
_JSON = flags.DEFINE_string(
    'json', None, 'A file for the rows {stage, case, metric, ours, unit, peer, '
    'peer_value, ratio}; a ratio above 1 means that we are ahead.')
_RUNS = flags.DEFINE_integer(
    'runs', 7, 'Timed runs of each case; fewer where one takes long.', 1)


@cli.main
def main():
  # The pipeline's runs are processes of their own, and want memory, too.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  if _JSON.value:  # Better now than after a quarter of an hour.
    folder = os.path.dirname(_JSON.value) or '.'
    if not os.access(folder, os.W_OK):
      raise ValueError(f'--json={_JSON.value}: {folder} must be a folder that '
                       'can be written')
  import jax
  # Compilation is among what is measured.
  jax.config.update('jax_enable_compilation_cache', False)
  from experiments import benchmark_evaluate
  from experiments import benchmark_histories
  from experiments import benchmark_runs
  from experiments import benchmark_store
  from experiments import benchmark_train
  from experiments import workdir
  run = {'histories': benchmark_histories.rows,
         'train': benchmark_train.rows,
         'store': benchmark_store.rows,
         'evaluate': benchmark_evaluate.rows,
         'pipeline': benchmark_runs.pipeline,
         'scaling': benchmark_runs.scaling}
  machine = workdir.machine()
  print(machine['device'], 'jax', machine['versions']['jax'])
  rows = []
  for stage in [_STAGE.value] if _STAGE.value else _STAGES:
    for row in run[stage](_RUNS.value):
      print(row, flush=True)
      rows.append(row)
      if _JSON.value:  # After each, so that none is lost.
        workdir.write_json(_JSON.value, [
            {name: x for name, x in dataclasses.asdict(row).items()
             if name != 'spread'} for row in rows])


if __name__ == '__main__':
  app.run(main)
