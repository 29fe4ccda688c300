"""What an experiment is made of, and which object a config stands for.

`presets` has the experiments themselves.
"""

import dataclasses
import functools
import json
from typing import Any

from adjax import config as config_lib
from adjax import distill as distill_lib
from adjax import lstm
from adjax import model as model_lib
from adjax import rl2 as rl2_lib
from adjax import transformer
from adjax import types
from adjax.envs import adapters
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.learners import noise
from adjax.learners import patrol
from adjax.learners import posterior
from adjax.learners import rmax
from adjax.learners import tabular_q
from adjax.learners import thompson
from adjax.learners import ucb

Tasks = dark_room.Config | bandit.Config | watermaze.Config | adapters.Config
Model = transformer.Config | lstm.Config
Source = (
    actor_critic.Config | dqn.Config | noise.Config | patrol.Config
    | posterior.Config | rmax.Config | tabular_q.Config | thompson.Config
    | ucb.Config)


@dataclasses.dataclass(frozen=True)
class Data:
  """The histories that are distilled.

  Attributes:
    histories: source learners on every training task, each of which leaves as
      many histories as it has actors.
    episodes: episodes of a history, after thinning; where they may end early,
      as many steps as so many whole ones.
    every: one episode in so many is kept.
    tail: of these, only the last so many: what is distilled then is the expert
      that the source became (expert distillation). 0 keeps all.
    store: a folder to keep them in, where training reads from; '' for memory.
    refresh: epochs after which they are made anew, in the loop that trains; 0
      for never.
  """
  histories: int = 64
  episodes: int = 15
  every: int = 1
  tail: int = 0
  store: str = ''
  refresh: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'data')
    for name in ('histories', 'episodes', 'every'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    check('tail', self.tail, 0 <= self.tail <= self.episodes,
          f'from 0 to data.episodes={self.episodes}')
    check('refresh', self.refresh, self.refresh >= 0, 'at least 0')
    check('refresh', self.refresh, not (self.refresh and self.store),
          f'0 with data.store={self.store!r}, which keeps them')

  @property
  def kept(self) -> int:
    """Episodes of a history as it is distilled."""
    return self.tail or self.episodes


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


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A whole run: Algorithm Distillation of a source, or RL2.

  Attributes:
    name: the preset it began as.
    tasks: the environment and its split.
    source: the learner that is distilled, and what it is compared with; None
      for RL2 without one.
    data: its histories; None for RL2.
    model: the sequence model.
    distill: how it is trained on histories; None for RL2.
    rl2: how it is trained online; None for Algorithm Distillation.
    evaluate: its evaluation.
    seeds: training seeds, vmapped; histories are shared.
    seed: of everything random but the split.
  """
  name: str
  tasks: Tasks
  source: Source | None
  data: Data | None = Data()
  model: Model = transformer.Config()
  distill: distill_lib.Config | None = distill_lib.Config()
  rl2: rl2_lib.Config | None = None
  evaluate: Evaluate = Evaluate()
  seeds: int = 1
  seed: int = 0

  def __post_init__(self):
    config_lib.check_name('name', self.name)
    if (self.distill is None) == (self.rl2 is None):
      raise ValueError('distill, rl2: exactly one of them must be None')
    if self.rl2 is not None and self.data is not None:
      raise ValueError('data: must be None for rl2, which has no histories')
    if self.distill is not None:
      self._check_histories()
    if isinstance(self.source, thompson.Config):
      self._check_rewards()
    if self.evaluate.train_tasks > self.tasks.num_train:
      raise ValueError(
          f'evaluate.train_tasks={self.evaluate.train_tasks}: must be at most '
          f'tasks.num_train={self.tasks.num_train}')
    if self.seeds < 1:
      raise ValueError(f'seeds={self.seeds}: must be at least 1')
    if not 0 <= self.seed < 2**32:
      raise ValueError(f'seed={self.seed}: must be from 0 to 2**32 - 1')

  def _check_histories(self):
    if self.source is None or self.data is None:
      raise ValueError('source, data: must be there to distill from')
    # 0 is the environment's own limit; where an episode ends before any limit,
    # what is left is known only when it is sampled from.
    steps = self.data.kept * self.tasks.episode_length
    if steps and self.distill.length > steps:
      raise ValueError(
          f'distill.length={self.distill.length}: must be at most {steps}, the '
          f'steps of a history as it is distilled ({self.data.kept} episodes '
          f'of data, tasks.episode_length={self.tasks.episode_length})')
    if self.distill.length < self.model.least_length:
      raise ValueError(
          f'distill.length={self.distill.length}: must be at least '
          f'model.window={self.model.least_length}, better 1.5 times that: a '
          'model cannot use a distance that it was never shown')

  def _check_rewards(self):
    """Thompson sampling has a posterior for one kind of reward."""
    given = self.source.rewards, self.source.noise
    right = getattr(self.tasks, 'reward', None), getattr(
        self.tasks, 'noise', None)
    if given[0] != right[0] or (given[0] == 'gaussian' and given != right):
      raise ValueError(
          f'source.rewards={given[0]!r}, source.noise={given[1]}: must be '
          f'those of the tasks, reward={right[0]!r}, noise={right[1]}')

  @property
  def training(self) -> distill_lib.Config | rl2_lib.Config:
    """Whichever of distill and rl2 it is."""
    return self.distill or self.rl2


def describe(experiment: Experiment) -> dict[str, Any]:
  """An experiment as JSON has it; the kind of each choice is its module."""
  config = json.loads(json.dumps(dataclasses.asdict(experiment)))
  for name in ('tasks', 'source', 'model'):
    if config[name] is not None:
      module = type(getattr(experiment, name)).__module__
      config[name]['kind'] = module.split('.')[-1]
  return config


def make_tasks(config: Tasks) -> types.TaskDistribution:
  """The task distribution of a config."""
  return {
      adapters.Config: adapters.tasks,
      bandit.Config: bandit.tasks,
      dark_room.Config: dark_room.tasks,
      watermaze.Config: watermaze.tasks,
  }[type(config)](config)


def make_source(
    config: Source, tasks: types.TaskDistribution
) -> types.Learner:
  """The source learner of a config."""
  return {
      actor_critic.Config: actor_critic.learner,
      dqn.Config: dqn.learner,
      noise.Config: noise.learner,
      patrol.Config: patrol.learner,
      posterior.Config: posterior.learner,
      rmax.Config: rmax.learner,
      tabular_q.Config: tabular_q.learner,
      thompson.Config: thompson.learner,
      ucb.Config: ucb.learner,
  }[type(config)](config, tasks)


def make_model(
    config: Model, tasks: types.TaskDistribution
) -> model_lib.SequenceModel:
  """The sequence model of a config, for the tasks' environment."""
  return {
      lstm.Config: lstm.LSTM,
      transformer.Config: transformer.Transformer,
  }[type(config)](config, tasks.env)
