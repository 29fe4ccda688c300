"""Every table of names: what an experiment is made of, and the presets."""

import dataclasses
import functools
from typing import Any

from adjax import config as config_lib
from adjax import distill as distill_lib
from adjax import model as model_lib
from adjax import types
from adjax.envs import dark_room
from adjax.learners import noise
from adjax.learners import posterior
from adjax.learners import rmax
from adjax.learners import tabular_q


@dataclasses.dataclass(frozen=True)
class Data:
  """The histories that are distilled.

  Attributes:
    histories: source learners on every training task.
    episodes: episodes of a history, after thinning.
    every: one episode in so many is kept.
  """
  histories: int = 64
  episodes: int = 15
  every: int = 1

  def __post_init__(self):
    for name in ('histories', 'episodes', 'every'):
      value = getattr(self, name)
      config_lib.check('data', name, value, value >= 1, 'at least 1')


@dataclasses.dataclass(frozen=True)
class Evaluate:
  """In-context learning, weights frozen.

  Attributes:
    episodes: E, episodes of every evaluation.
    runs: runs on each validation and each of the training tasks, every epoch.
    train_tasks: how many training tasks are evaluated on.
    held_out_runs: runs on each held-out task, once, at the end.
    reference_runs: the same for the source and the references.
    temperature: of the actions; 0 takes the likeliest.
  """
  episodes: int = 50
  runs: int = 4
  train_tasks: int = 10
  held_out_runs: int = 32
  reference_runs: int = 32
  temperature: float = 1.0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'evaluate')
    for name in ('episodes', 'runs', 'train_tasks', 'held_out_runs',
                 'reference_runs'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    check('temperature', self.temperature, self.temperature >= 0, 'at least 0')


Source = (posterior.Config | tabular_q.Config | rmax.Config | noise.Config)


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A whole run.

  Attributes:
    name: the preset it began as.
    tasks: the environment and its split.
    source: the learner that is distilled.
    data: its histories.
    model: the transformer.
    distill: its training.
    evaluate: its evaluation.
    seeds: training seeds, vmapped; histories are shared.
    seed: of everything random but the split.
  """
  name: str
  tasks: dark_room.Config
  source: Source
  data: Data = Data()
  model: model_lib.Config = model_lib.Config()
  distill: distill_lib.Config = distill_lib.Config()
  evaluate: Evaluate = Evaluate()
  seeds: int = 1
  seed: int = 0

  def __post_init__(self):
    steps = self.data.episodes * self.tasks.episode_length
    if self.distill.length > steps:
      raise ValueError(
          f'distill.length={self.distill.length}: must be at most {steps}, the '
          f'steps of a thinned history (data.episodes={self.data.episodes} of '
          f'tasks.episode_length={self.tasks.episode_length})')
    if self.evaluate.train_tasks > self.tasks.num_train:
      raise ValueError(
          f'evaluate.train_tasks={self.evaluate.train_tasks}: must be at most '
          f'tasks.num_train={self.tasks.num_train}')
    if self.distill.length < self.model.window:
      raise ValueError(
          f'distill.length={self.distill.length}: must be at least '
          f'model.window={self.model.window}, better 1.5 times that: a '
          'model cannot use a distance that it was never shown')
    if self.seeds < 1:
      raise ValueError(f'seeds={self.seeds}: must be at least 1')
    if not 0 <= self.seed < 2**32:
      raise ValueError(f'seed={self.seed}: must be from 0 to 2**32 - 1')


def make_tasks(config: Any) -> types.TaskDistribution:
  """The task distribution of a config."""
  return {dark_room.Config: dark_room.tasks}[type(config)](config)


def make_source(config: Any, tasks: types.TaskDistribution) -> types.Learner:
  """The source learner of a config."""
  return {
      posterior.Config: posterior.learner,
      tabular_q.Config: tabular_q.learner,
      rmax.Config: rmax.learner,
      noise.Config: noise.learner,
  }[type(config)](config, tasks)


# Each field that differs from a default was chosen on validation tasks; what
# else was tried is in experiments/README.md.
_QUICK = Experiment(
    name='quick', tasks=dark_room.DARK_ROOM, source=posterior.Config(),
    data=Data(histories=256, episodes=15),
    distill=distill_lib.Config(epochs=5, updates_per_epoch=300))

_DARK_ROOM = dataclasses.replace(
    _QUICK, name='dark_room', seeds=3, data=Data(histories=512, episodes=15),
    distill=distill_lib.Config(epochs=8, updates_per_epoch=250))

_DARK_ROOM_Q = dataclasses.replace(
    _DARK_ROOM, name='dark_room_q',
    source=tabular_q.Config(
        learning_rate=1.0, discount=0.9, optimism=1.0, epsilon=0.1,
        final_epsilon=0.0, epsilon_episodes=120),
    data=Data(histories=128, episodes=20, every=12),
    model=model_lib.Config(dropout=0.0, input_masking=0.05),
    distill=dataclasses.replace(_QUICK.distill, weight_decay=0.3))

_DARK_ROOM_RMAX = dataclasses.replace(
    _DARK_ROOM_Q, name='dark_room_rmax', seeds=1, source=rmax.Config(),
    data=Data(histories=128, episodes=20, every=3))

_DARK_ROOM_NOISE = dataclasses.replace(
    _QUICK, name='dark_room_noise',
    source=noise.Config(anneal_episodes=15),
    data=Data(histories=512, episodes=20))

_DARK_ROOM_HARD = dataclasses.replace(
    _QUICK, name='dark_room_hard', tasks=dark_room.DARK_ROOM_HARD,
    data=Data(histories=128, episodes=35),
    model=model_lib.Config(layers=4, window=400),
    distill=distill_lib.Config(epochs=5, updates_per_epoch=300, length=700),
    evaluate=Evaluate(episodes=100, runs=1, train_tasks=32, held_out_runs=20))

_KEY_TO_DOOR = dataclasses.replace(
    _QUICK, name='key_to_door', tasks=dark_room.KEY_TO_DOOR,
    data=Data(histories=2, episodes=12),
    model=model_lib.Config(layers=4, window=400),
    distill=distill_lib.Config(epochs=5, updates_per_epoch=300, length=600),
    evaluate=Evaluate(episodes=30, runs=1, train_tasks=32, held_out_runs=20,
                      reference_runs=2))

PRESETS = {preset.name: preset for preset in (
    _QUICK, _DARK_ROOM, _DARK_ROOM_Q, _DARK_ROOM_RMAX, _DARK_ROOM_NOISE,
    _DARK_ROOM_HARD, _KEY_TO_DOOR)}


def get(name: str) -> Experiment:
  """A preset by name.

  Raises:
    ValueError: if there is none of that name.
  """
  if name not in PRESETS:
    raise ValueError(
        f'--experiment={name}: must be one of ' + ', '.join(PRESETS))
  return PRESETS[name]
