"""The presets: experiments by name, a file an environment.

`cpu` sizes are minutes on two cores. `gpu` sizes are the same experiments with
a wider model, larger batches and five seeds.
"""

from adjax.experiment import specification
from adjax.presets import adapters
from adjax.presets import bandit
from adjax.presets import dark_room
from adjax.presets import dark_room_hard
from adjax.presets import key_to_door
from adjax.presets import paper
from adjax.presets import variants
from adjax.presets import watermaze

PRESETS = {
    preset.name: preset
    for module in (dark_room, dark_room_hard, key_to_door, bandit, watermaze,
                   adapters, paper)
    for preset in module.PRESETS}


def get(name: str, size: str = 'cpu') -> specification.Experiment:
  """A preset by name and size.

  Raises:
    ValueError: if there is none of that name or size.
  """
  if name not in PRESETS:
    raise ValueError(
        f'experiment={name}: must be one of ' + ', '.join(PRESETS)
        + ', or path/to/file.py[:NAME], or module:NAME')
  if size not in ('cpu', 'gpu'):
    raise ValueError(f'size={size}: must be cpu or gpu')
  # The paper's sizes are the paper's.
  grow = size == 'gpu' and not name.startswith('paper')
  return variants.gpu(PRESETS[name]) if grow else PRESETS[name]


def describe(name: str) -> str:
  """A preset in one line: environment, source, method, model, seeds."""
  preset = get(name)
  kind = lambda x: type(x).__module__.rpartition('.')[2] if x else 'none'
  parts = [f'{kind(preset.tasks)} tasks', f'{kind(preset.source)} source',
           kind(preset.method), kind(preset.model)]
  if preset.data and preset.data.last_episodes:
    parts.append('last episodes only')
  seeds = f'{preset.seeds} seed' + 's' * (preset.seeds > 1)
  return ', '.join([*parts, seeds])
