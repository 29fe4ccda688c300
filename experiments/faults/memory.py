"""What a run says it needs of memory, beside what it then takes."""

import functools
import re

from experiments.faults.harness import Harness
from experiments.faults.table import Jobs
from experiments.faults.table import Trial

# The share of the truth by which an estimate may be wrong.
TOLERANCE = 0.2
_ONE = {'method.epochs': 1, 'method.updates_per_epoch': 1, 'tasks.size': 9,
        'tasks.episode_length': 20, 'tasks.num_train': 65}
# Runs of about 1 GB, whose memory goes to the stage that is named.
SIZES = {
    'training': _ONE | {
        'model.width': 128, 'model.window': 200, 'model.feed_forward': 512,
        'model.layers': 2, 'data.episodes': 20, 'method.batch_size': 64,
        'method.length': 300, 'seeds': 1},
    'histories': _ONE | {'data.histories': 1024, 'data.episodes': 40},
    'evaluation': _ONE | {'evaluate.held_out_runs': 5461,
                          'evaluate.episodes': 40, 'model.width': 32},
}
TOO_LARGE = {'data.histories': 2_000_000, 'data.episodes': 1000}


def estimates(harness: Harness, quick: bool) -> Jobs:
  """Estimates, each of another stage, and a run that cannot be."""
  for stage in () if quick else SIZES:
    yield functools.partial(_estimate, harness, stage)
  yield functools.partial(_too_large, harness)


def _estimate(harness, stage):
  process = harness.run(harness.new_folder(), settings=SIZES[stage])
  told = re.search(r'needs about ([\d.]+) GB', process.said)
  # Both less what there was before; rollouts look at it again.
  begun, *_, peak = (int(line.split()[1]) / 1e9
                     for _, line in process.heard('@memory'))
  said, true = float(told[1]) - begun, peak - begun
  return [Trial(
      'an estimate of memory', survived=process.code == 0,
      kept={f'{stage}: {said:.2f} GB said, {true:.2f} GB taken':
            abs(said - true) <= TOLERANCE * true})]


def _too_large(harness):
  workdir = harness.new_folder()
  process = harness.run(workdir, settings=TOO_LARGE)
  made = {path.name for path in workdir.rglob('*')
          if path.is_file() and path.stat().st_size}
  return [Trial(
      'a run too large for memory', detected='lower data.' in process.error,
      kept={'exits 1': process.code == 1, f'nothing is made but {made}':
            made <= {'config.json', 'lock'}})]
