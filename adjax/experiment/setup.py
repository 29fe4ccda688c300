"""The objects of a run, made once from its configuration and handed on."""

import inspect
import math
from typing import Any
from typing import NamedTuple

import chex
import jax

from adjax import devices
from adjax import histories
from adjax import types
from adjax.experiment import contract
from adjax.experiment import specification
from adjax.methods import training
from adjax.models import sequence_model


class Keys(NamedTuple):
  """One stream of random numbers for each purpose.

  Attributes:
    data: of the histories.
    train: of the training states; seed i folds in i.
    evaluate: of the evaluation in every epoch.
    held_out: of the evaluation on held-out tasks; seed i folds in i.
    references: of the source and the references on held-out tasks.
  """
  data: chex.PRNGKey
  train: chex.PRNGKey
  evaluate: chex.PRNGKey
  held_out: chex.PRNGKey
  references: chex.PRNGKey


class Setup(NamedTuple):
  """All that a run is made of.

  Attributes:
    experiment: its configuration.
    tasks: its task distribution.
    source: its source learner, if it has one.
    model: its sequence model.
    trainer: how the model is trained.
    keys: of all that is random.
    mesh: its devices, None for a single one.
  """
  experiment: specification.Experiment
  tasks: types.TaskDistribution
  source: types.Learner | None
  model: sequence_model.SequenceModel
  trainer: training.Trainer
  keys: Keys
  mesh: jax.sharding.Mesh | None

  @property
  def evaluation(self) -> training.Evaluation:
    """What every epoch's model is put into."""
    evaluate = self.experiment.evaluate
    train = jax.tree.map(lambda x: x[:evaluate.train_tasks], self.tasks.train)
    return training.Evaluation(
        {'validation': self.tasks.validation, 'train': train},
        self.keys.evaluate, evaluate.runs, evaluate.episodes,
        self.tasks.episode_length, evaluate.temperature)

  @property
  def transitions(self) -> int:
    """Steps of environments that one seed is trained on in an epoch."""
    return self.trainer.updates_per_epoch * self.trainer.transitions


def make(experiment: specification.Experiment, mesh: str = '') -> Setup:
  """The objects of an experiment; nothing is computed or written yet.

  Args:
    experiment: the configuration.
    mesh: as devices.parse_mesh reads it; '' for all devices, or of cores as
      many as divide a batch.

  Raises:
    ValueError: if sizes do not fit together.
  """
  source = None
  tasks = make_tasks(experiment)
  if experiment.source is not None:
    source = made('source', experiment.source, types.Learner, tasks)
  model = made('model', experiment.model, sequence_model.SequenceModel,
               tasks.env)
  trainer = made('method', experiment.method, training.Trainer, tasks, source,
                 model, experiment.data)
  for name, given in ('source', source), ('data', experiment.data):
    if given is None and trainer.subsequences is not None:
      raise ValueError(f'{name}: must be there, the method trains on histories')
  if experiment.data is not None and trainer.subsequences is None:
    raise ValueError('data: must be None, the method makes its own')
  key = jax.random.key(experiment.seed)
  histories.check_key('jax_default_prng_impl', key)
  keys = Keys(*(jax.random.fold_in(key, i) for i in range(len(Keys._fields))))
  return Setup(experiment, tasks, source, model, trainer, keys,
               _mesh(experiment, trainer, mesh))


def make_tasks(
    experiment: specification.Experiment
) -> types.TaskDistribution:
  """The tasks of an experiment, which can be learnt from; errors as of make."""
  tasks = made('tasks', experiment.tasks, types.TaskDistribution)
  contract.check(tasks)
  return tasks


def made(name: str, component: Any, kind: type, *args: Any) -> Any:
  """What a component makes; its errors tell whose field they are about.

  Args:
    name: the component's.
    component: a configuration.
    kind: of what it makes.
    *args: what it makes it from.
  """
  try:
    inspect.signature(component.make).bind(*args)
  except TypeError as error:
    raise ValueError(f'{name}: its make must take {len(args)} arguments; '
                     f'{error}') from error
  try:
    found = component.make(*args)
  except ValueError as error:
    field = str(error).partition('=')[0]
    whose = f'{name}.' if hasattr(component, field) else ''
    raise ValueError(f'{whose}{error}') from error
  if not isinstance(found, kind):
    raise ValueError(f'{name}: its make must return an adjax.{kind.__name__}, '
                     f'not {type(found).__name__}')
  return found


def _mesh(
    experiment: specification.Experiment, trainer: training.Trainer, text: str
) -> jax.sharding.Mesh | None:
  """The devices of a run; None for a single one."""
  if text:
    mesh = devices.parse_mesh(text)
  elif jax.default_backend() == 'cpu' and jax.process_count() == 1:
    mesh = devices.make_mesh(math.gcd(
        jax.device_count(), trainer.batch_size))
  else:
    mesh = devices.make_mesh()
  if trainer.batch_size % devices.data_size(mesh):
    raise ValueError(
        f'method: its batches of {trainer.batch_size} must be a multiple of '
        f'the {devices.data_size(mesh)} devices')
  if experiment.seeds % devices.seed_size(mesh):
    raise ValueError(f'seeds={experiment.seeds}: must be a multiple of the '
                     f'{devices.seed_size(mesh)} devices of mesh={text}')
  return mesh if mesh.size > 1 else None
