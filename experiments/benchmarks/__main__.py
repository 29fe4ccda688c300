"""How fast each stage is, beside what else one could use and what is possible.

  python -m experiments.benchmarks [--stage=NAME] [--json=FILE]

Medians of several runs and their spread, each beside its peer in turn, so that
what else the machine does meets both; warm-up and compilation apart. Machines
differ and are noisy: quote ratios within one run. For the PyTorch peer install
`adjax[torch]`.
"""

import dataclasses
import importlib
import json
import os

from absl import flags

from adjax.cli import launcher

# {stage: module and function of its rows}.
STAGES = {
    'histories': 'histories:rows', 'train': 'train:rows', 'store': 'store:rows',
    'evaluate': 'evaluate:rows', 'pipeline': 'runs:pipeline',
    'scaling': 'runs:scaling'}
_STAGE = flags.DEFINE_enum(
    'stage', None, list(STAGES), 'Only this one; default: all of them.')
_JSON = flags.DEFINE_string(
    'json', None, 'A file for the rows {stage, case, metric, ours, unit, peer, '
    'peer_value, ratio}; a ratio above 1 means that we are ahead.')
_RUNS = flags.DEFINE_integer(
    'runs', 7, 'Timed runs of each case; fewer where one takes long.', 1)


def main() -> None:
  """Prints the rows of the stages."""
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
  from adjax.experiment import workdir
  machine = workdir.machine()
  print(machine['device'], 'jax', machine['versions']['jax'])
  found = []
  for stage in [_STAGE.value] if _STAGE.value else STAGES:
    module, name = STAGES[stage].split(':')
    rows = getattr(
        importlib.import_module(f'experiments.benchmarks.{module}'), name)
    for row in rows(_RUNS.value):
      print(row, flush=True)
      found.append({key: x for key, x in dataclasses.asdict(row).items()
                    if key != 'spread'})
      if _JSON.value:  # After each, so that none is lost.
        with open(_JSON.value, 'w', encoding='utf-8') as file:
          json.dump(found, file, indent=1)


if __name__ == '__main__':
  launcher.start(main)
