"""Training a sequence model on histories, and watching it learn in context.

`epoch` is one program: a scan of updates, then the model is put into tasks as a
learner. It knows no source; it is given histories.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
from typing import Any
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from adjax import config as config_lib
from adjax import histories as histories_lib
from adjax import in_context as in_context_lib
from adjax import metrics
from adjax import sharding
from adjax import types


@dataclasses.dataclass(frozen=True)
class Config:
  """How a model is trained.

  Attributes:
    epochs: updates are followed by an evaluation this many times.
    updates_per_epoch: updates in one epoch.
    batch_size: B, pieces of history an update.
    length: L, steps in a piece; 1.5 windows or more, so that the mask it is
      trained with is the one it acts with.
    learning_rate: the peak of a cosine schedule that ends at 0.
    warmup: updates in which it rises from 0.
    weight_decay: of AdamW, on matrices; strong, since it closes much of the gap
      between training and held-out goals.
    b1: Adam's.
    b2: Adam's.
    clip: the greatest global norm of a gradient.
    label_smoothing: the share of each target spread over all actions.
  """
  epochs: int = 5
  updates_per_epoch: int = 200
  batch_size: int = 16
  length: int = 300
  learning_rate: float = 2e-3
  warmup: int = 100
  weight_decay: float = 0.5
  b1: float = 0.9
  b2: float = 0.98
  clip: float = 1.0
  label_smoothing: float = 0.0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'distill')
    for name in ('epochs', 'updates_per_epoch', 'batch_size', 'length'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    for name in ('learning_rate', 'clip'):
      check(name, getattr(self, name), getattr(self, name) > 0, 'above 0')
    for name in ('warmup', 'weight_decay'):
      check(name, getattr(self, name), getattr(self, name) >= 0, 'at least 0')
    for name in ('b1', 'b2', 'label_smoothing'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value < 1.0, 'from 0 to below 1')

  @property
  def updates(self) -> int:
    return self.epochs * self.updates_per_epoch


class TrainState(NamedTuple):
  """All that a run carries from epoch to epoch; one per training seed."""
  params: Any
  opt_state: Any
  step: chex.Array
  key: chex.PRNGKey


def optimizer(config: Config) -> optax.GradientTransformation:
  """AdamW with warm-up, cosine decay and clipping."""
  schedule = optax.warmup_cosine_decay_schedule(
      0.0, config.learning_rate, config.warmup,
      max(config.updates, config.warmup + 1))
  return adamw(config, schedule)


def adamw(
    config: Any, schedule: optax.Schedule
) -> optax.GradientTransformation:
  """AdamW by config.clip, b1, b2 and weight_decay, which spares vectors."""
  matrices = lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
  return optax.chain(
      optax.clip_by_global_norm(config.clip),
      optax.adamw(schedule, config.b1, config.b2,
                  weight_decay=config.weight_decay, mask=matrices))


def init(
    config: Config, model: nn.Module, history: types.History, key: chex.PRNGKey
) -> TrainState:
  """A fresh state; the history [S, T] only tells the shapes."""
  init_key, key = jax.random.split(key)
  example = in_context_lib.inputs_of(
      jax.tree.map(lambda x: x[0, :1], history))
  params = model.init(init_key, example)
  return TrainState(
      params, optimizer(config).init(params), jnp.int32(0), key)


def loss(
    params: Any, model: nn.Module, inputs: Any, actions: chex.Array,
    key: chex.PRNGKey, label_smoothing: float = 0.0,
) -> chex.Array:
  """Mean cross-entropy [] of the actions [B, L], at every position."""
  chex.assert_rank(actions, 2)
  keys = jax.random.split(key, actions.shape[0])
  logits = jax.vmap(lambda x, key: model.apply(
      params, x, deterministic=False, rngs={'dropout': key}))(inputs, keys)
  targets = optax.smooth_labels(
      jax.nn.one_hot(actions, logits.shape[-1]), label_smoothing)
  return optax.softmax_cross_entropy(logits, targets).mean()


def update(
    config: Config, model: nn.Module, state: TrainState, sequences: Any,
    mesh: Any = None,
) -> tuple[TrainState, dict[str, chex.Array]]:
  """One gradient step on pieces of the sequences (Inputs, actions) [S, T]."""
  key, sample_key, dropout_key = jax.random.split(state.key, 3)
  inputs, actions = sharding.spread(
      histories_lib.sample_subsequences(
          sample_key, sequences, config.batch_size, config.length), mesh)
  value, gradient = jax.value_and_grad(loss)(
      state.params, model, inputs, actions, dropout_key,
      config.label_smoothing)
  changes, opt_state = optimizer(config).update(
      gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, changes)
  return (TrainState(params, opt_state, state.step + 1, key),
          {'loss': value, 'gradient_norm': optax.global_norm(gradient)})


def evaluate(
    env: Any, model: nn.Module, params: Any, tasks: types.Task,
    key: chex.PRNGKey, num_runs: int, num_steps: int, temperature: float = 1.0,
    mesh: Any = None,
) -> types.History:
  """In-context learning on tasks [N]: History [N, R, T]; weights frozen."""
  learner = in_context_lib.in_context(env, model, params, temperature)
  return histories_lib.run(
      learner, *histories_lib.repeat(tasks, key, num_runs), num_steps, mesh)


def together(
    sets: Mapping[str, types.Task]
) -> tuple[types.Task, Callable[[Any], dict[str, Any]]]:
  """Several sets of tasks as one, so that they are lived in one loop.

  Args:
    sets: {name: tasks [N]}.

  Returns:
    All of them, and a function that takes a tree [all of them, ...] apart into
    {name: tree [N, ...]}.
  """
  ends = np.cumsum([types.num_tasks(tasks) for tasks in sets.values()])

  def apart(tree):
    return {name: jax.tree.map(lambda x, a=a, b=b: x[a:b], tree)
            for name, a, b in zip(sets, [0, *ends[:-1]], ends)}

  return jax.tree.map(lambda *x: jnp.concatenate(x), *sets.values()), apart


class Evaluation(NamedTuple):
  """What every epoch's model is put into.

  Attributes:
    env: a gymnax environment.
    tasks: {name: tasks [N]}.
    key: one for all epochs, so that curves differ by the model alone.
    num_runs: R, runs on each task.
    num_episodes: E.
    episode_length: steps after which an episode has ended.
    temperature: of the actions.
  """
  env: Any
  tasks: dict[str, types.Task]
  key: chex.PRNGKey
  num_runs: int
  num_episodes: int
  episode_length: int
  temperature: float = 1.0

  @property
  def num_steps(self) -> int:
    return self.num_episodes * self.episode_length


def check_devices(config: Config, mesh: Any) -> None:
  """Raises a ValueError if the batch does not divide over the devices."""
  if mesh is not None and config.batch_size % mesh.size:
    raise ValueError(f'distill.batch_size={config.batch_size}: must be a '
                     f'multiple of the {mesh.size} devices')


def make_epoch(
    config: Config, model: nn.Module, evaluation: Evaluation, mesh: Any = None
) -> Any:
  """The compiled loop: (states [seeds], history [S, T]) -> (states, metrics).

  States are donated. Metrics: loss and gradient_norm [seeds, U]; returns, a
  learning curve [seeds, N, R, E] for each set of tasks.

  Raises:
    ValueError: if the batch does not divide over the devices.
  """
  check_devices(config, mesh)

  def epoch(states, history):
    sequences = in_context_lib.inputs_of(history), history.action

    def one_seed(state):
      state, trained = jax.lax.scan(
          lambda state, _: update(config, model, state, sequences, mesh),
          state, None, config.updates_per_epoch)
      return state, trained | {
          'returns': curves(model, state.params, evaluation, mesh)}

    return sharding.over_seeds(one_seed)(states)

  return jax.jit(epoch, donate_argnums=0)


def curves(
    model: nn.Module, params: Any, evaluation: Evaluation, mesh: Any = None
) -> dict[str, chex.Array]:
  """The learning curves [N, R, E] of one seed's model on each set of tasks."""
  tasks, apart = together(evaluation.tasks)
  history = evaluate(
      evaluation.env, model, params, tasks, evaluation.key,
      evaluation.num_runs, evaluation.num_steps, evaluation.temperature, mesh)
  return apart(metrics.learning_curves(
      history.reward, history.done, evaluation.num_episodes))
