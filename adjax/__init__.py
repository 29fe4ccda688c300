"""adjax: Algorithm Distillation in JAX, end to end on the accelerator.

  import adjax
  adjax.run(adjax.presets.get('quick'), 'runs/quick')
  agent = adjax.Agent.load('runs/quick')

Reinforcement-learning algorithms run by the thousand and leave their learning
histories in device memory; a causal transformer is trained to predict the
actions in them; put into tasks it has never seen, its weights frozen, it learns
in context. An environment, a learner, a model or a method of one's own is a
frozen dataclass with a method `make`:

  adjax.run(adjax.Experiment(tasks=MyTasks(), source=MyLearner()), 'runs/mine')

Names here are the public API. They are imported when they are first used, so
that `import adjax` starts no backend.
"""

from collections.abc import Callable
import importlib
from typing import Any

__version__ = '0.2.0'

_WHERE = {
    'Experiment': 'adjax.experiment.specification',
    'Data': 'adjax.experiment.specification',
    'Evaluate': 'adjax.experiment.specification',
    'run': 'adjax.experiment.run',
    'Agent': 'adjax.agent',
    'Progress': 'adjax.experiment.progress',
    'TaskDistribution': 'adjax.types',
    'Learner': 'adjax.types',
    'Transition': 'adjax.types',
    'History': 'adjax.types',
    'unroll': 'adjax.types',
    'generate': 'adjax.histories',
    'in_context': 'adjax.models.in_context',
    'SequenceModel': 'adjax.models.sequence_model',
    'Trainer': 'adjax.methods.training',
}
_PACKAGES = ('envs', 'experiment', 'learners', 'methods', 'models', 'presets',
             'pretrained', 'storage', 'histories', 'metrics', 'spaces', 'types',
             'config', 'arrays', 'devices')

__all__ = [*_WHERE, 'presets', '__version__']


def lazily(package: str) -> Callable[[str], Any]:
  """A package's __getattr__ that imports its modules when they are asked for.
  """
  def find(name: str) -> Any:
    try:
      return importlib.import_module(f'{package}.{name}')
    except ModuleNotFoundError as error:
      if error.name != f'{package}.{name}':
        raise
      raise AttributeError(
          f'module {package} has no attribute {name!r}') from None
  return find


def __getattr__(name: str) -> Any:
  if name in _WHERE:
    return getattr(importlib.import_module(_WHERE[name]), name)
  if name in _PACKAGES:
    return importlib.import_module(f'adjax.{name}')
  raise AttributeError(f'module adjax has no attribute {name!r}')


def __dir__() -> list[str]:
  return sorted([*globals(), *_WHERE, *_PACKAGES])
