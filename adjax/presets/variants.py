"""What can be made of any preset: other methods, other models, other sizes."""

import dataclasses
from typing import Any

from adjax.envs import watermaze
from adjax.experiment import specification as experiment
from adjax.methods import distill
from adjax.methods import rl2
from adjax.models import lstm
from adjax.models import transformer

Preset = experiment.Experiment


def experts(
    preset: Preset, episodes: int, last_episodes: int, histories: int = 0
) -> Preset:
  """Expert distillation: the end of the histories instead of the whole.

  Args:
    preset: whose histories.
    episodes: of a history; so many that no source still searches at its end.
    last_episodes: how many of these are distilled.
    histories: on a task; 0 for as many as the preset's.
  """
  assert preset.data is not None
  return dataclasses.replace(
      preset, name=f'{preset.name}_ed', seeds=1,
      data=dataclasses.replace(
          preset.data, episodes=episodes, last_episodes=last_episodes,
          histories=histories or preset.data.histories))


def online(preset: Preset, **fields: Any) -> Preset:
  """RL2 with the preset's model; its source is only compared with.

  It is evaluated over as many episodes as its trials have, and its window holds
  all of them: it never learnt what to do beyond.
  """
  method = rl2.Config(**fields)
  return dataclasses.replace(
      preset, name=f'{preset.name}_rl2', seeds=1, data=None, method=method,
      model=dataclasses.replace(preset.model, dropout=0.0),
      evaluate=dataclasses.replace(
          preset.evaluate, episodes=method.episodes))


def recurrent(preset: Preset, **fields: Any) -> Preset:
  """The same with an LSTM in the transformer's place."""
  return dataclasses.replace(
      preset, name=f'{preset.name}_lstm', seeds=1,
      model=lstm.Config(**fields))


def gpu(preset: Preset) -> Preset:
  """The gpu size of a preset; sizes by what fills such a chip, not tuned."""
  model, method = preset.model, preset.method
  if isinstance(model, transformer.Config):
    model = dataclasses.replace(model, width=256, heads=4, feed_forward=1024)
  else:
    model = dataclasses.replace(model, width=512)
  if isinstance(preset.tasks, watermaze.Config):  # Frames fill it.
    return dataclasses.replace(
        preset, tasks=dataclasses.replace(preset.tasks, height=72, width=96),
        model=dataclasses.replace(model, channels=(16, 32, 32, 32)))
  if isinstance(method, distill.Config):
    method = dataclasses.replace(
        method, updates_per_epoch=2 * method.updates_per_epoch, batch_size=64,
        optimizer='adamw', learning_rate=1e-3)
  elif isinstance(method, rl2.Config):
    method = dataclasses.replace(
        method, updates_per_epoch=2 * method.updates_per_epoch, trials=512,
        learning_rate=5e-4)
  return dataclasses.replace(preset, model=model, seeds=5, method=method)
