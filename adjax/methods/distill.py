"""Algorithm Distillation (Laskin et al. 2022): predict a history's actions.

The model is trained by cross-entropy at every position of subsequences of
learning histories. It knows no source; it is given histories.
"""

import dataclasses
import functools
from typing import Annotated

import chex
import jax
import jax.numpy as jnp
import optax

from adjax import arrays
from adjax import config as config_lib
from adjax import devices
from adjax import histories as histories_lib
from adjax import types
from adjax.methods import training
from adjax.models import in_context
from adjax.models import sequence_model


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """How a model is trained on histories.

  Attributes:
    epochs: updates are followed by an evaluation this many times.
    updates_per_epoch: updates in one epoch.
    batch_size: B, subsequences an update.
    length: L, steps in a subsequence; at least a window, and 1.5 were found to
      work. What a step depends on is more: n (W - 1) + 1 steps through n
      layers.
    optimizer: 'muon', for matrices between embedding and heads with AdamW for
      the rest, or 'adamw' for all.
    learning_rate: the peak of a cosine schedule that ends at 0.
    warmup: updates in which the learning rate rises from 0.
    weight_decay: on matrices; strong, since it closes much of the gap between
      training and held-out goals.
    b1: the decay of Adam's mean gradient; Muon's is .95.
    b2: the decay of Adam's mean squared gradient.
    max_grad_norm: the greatest global norm of a gradient.
    label_smoothing: the share of each target spread over all actions.
  """
  epochs: config_lib.Count = 5
  updates_per_epoch: config_lib.Count = 200
  batch_size: config_lib.Count = 16
  length: config_lib.Count = 300
  optimizer: Annotated[str, config_lib.Bound(
      lambda x: x in training.OPTIMIZERS,
      'one of ' + ', '.join(map(repr, training.OPTIMIZERS)))] = 'muon'
  learning_rate: config_lib.Positive = 4e-3
  warmup: config_lib.Index = 50
  weight_decay: config_lib.NonNegative = 0.3
  b1: config_lib.Rate = 0.9
  b2: config_lib.Rate = 0.98
  max_grad_norm: config_lib.Positive = 1.0
  label_smoothing: config_lib.Rate = 0.0

  def make(
      self, tasks: types.TaskDistribution, source: types.Learner | None,
      model: sequence_model.SequenceModel, data: training.Data | None,
  ) -> training.Trainer:
    """The trainer of a model on histories of a source.

    Args:
      tasks: what the source learns.
      source: whose histories are distilled.
      model: the sequence model.
      data: which histories.

    Raises:
      ValueError: if there is no source or no data, or if the length does not
        lie between the model's window and a history.
    """
    if source is None or data is None:
      raise ValueError('source, data: must be there to distill from')
    steps = data.selected_episodes * tasks.episode_length
    config_lib.check(
        'length', self.length, self.length <= steps,
        f'at most {steps}, the steps of a history as it is distilled '
        f'({data.selected_episodes} episodes of data, '
        f'episode_length={tasks.episode_length})')
    least = model.config.min_length
    config_lib.check(
        'length', self.length, self.length >= least,
        f'at least model.window={least}, better 1.5 times that: a model '
        'cannot use a distance that it was never shown')
    return training.Trainer(
        init=functools.partial(init, self, model, tasks),
        update=functools.partial(update, self, model),
        learner=functools.partial(in_context.in_context, tasks.env, model),
        epochs=self.epochs, updates_per_epoch=self.updates_per_epoch,
        batch_size=self.batch_size, transitions=self.batch_size * self.length,
        length=self.length, subsequences=functools.partial(
            subsequences, self, starts=data.starts))


def optimizer(config: Config) -> optax.GradientTransformation:
  """Muon or AdamW with warm-up, cosine decay and clipping."""
  updates = config.epochs * config.updates_per_epoch
  schedule = optax.warmup_cosine_decay_schedule(
      0.0, config.learning_rate, config.warmup,
      max(updates, config.warmup + 1))
  return training.optimizer(
      config.optimizer, schedule, config.max_grad_norm, config.b1, config.b2,
      config.weight_decay)


def init(
    config: Config, model: sequence_model.SequenceModel,
    tasks: types.TaskDistribution, key: chex.PRNGKey,
) -> training.TrainState:
  """A fresh state of one training seed.

  Args:
    config: how the model is trained.
    model: the sequence model.
    tasks: whose environment tells the shapes.
    key: of the weights and of all updates.
  """
  arrays.check('key [] key', key)
  init_key, key = jax.random.split(key)
  params = model.init(init_key, training.example_inputs(model, tasks))
  return training.TrainState(
      params, optimizer(config).init(params), jnp.int32(0), jnp.int32(0), key)


def loss(
    params: types.PyTree, model: sequence_model.SequenceModel,
    inputs: sequence_model.Inputs, actions: chex.Array, key: chex.PRNGKey,
    label_smoothing: float = 0.0,
) -> chex.Array:
  """Mean cross-entropy [] of the actions, at every position.

  Args:
    params: the weights.
    model: the sequence model.
    inputs: Inputs [B, L].
    actions: [B, L].
    key: of dropout and input masking.
    label_smoothing: the share of each target spread over all actions.
  """
  arrays.check_steps('inputs', inputs, 'B, L')
  arrays.check('actions [*S] integer, key [] key', actions, key,
               S=inputs.done.shape)
  keys = jax.random.split(key, actions.shape[0])
  logits: types.PyTree = jax.vmap(lambda x, key: model.apply(
      params, x, deterministic=False, rngs={'dropout': key}))(inputs, keys)
  targets = optax.smooth_labels(
      jax.nn.one_hot(actions, logits.shape[-1]), label_smoothing)
  return optax.softmax_cross_entropy(logits, targets).mean()


# What the key of a state is split into: the next state's key, and those of the
# subsequences and of dropout in this update.
_NEXT, _SUBSEQUENCES, _DROPOUT = range(3)


def subsequences(
    config: Config, key: chex.PRNGKey, num_streams: chex.Numeric,
    steps: chex.Numeric, starts: str = 'uniform',
) -> tuple[tuple[chex.Array, chex.Array], chex.PRNGKey]:
  """What the update of a state of this key takes.

  Args:
    config: how the model is trained.
    key: the state's.
    num_streams: S [].
    steps: T [].
    starts: where they begin.

  Returns:
    Streams and starts [B], and the key of the state after the update.
  """
  arrays.check('key [] key', key)
  keys = jax.random.split(key, 3)
  return histories_lib.sample_subsequences(
      keys[_SUBSEQUENCES], num_streams, steps, config.batch_size,
      config.length, starts), keys[_NEXT]


def update(
    config: Config, model: sequence_model.SequenceModel,
    state: training.TrainState, batch: histories_lib.Batch,
) -> tuple[training.TrainState, training.Metrics]:
  """One gradient step.

  Args:
    config: how the model is trained.
    model: the sequence model.
    state: of one training seed.
    batch: Batch [B, L].

  Returns:
    The next state, and loss, gradient_norm and skipped [].
  """
  arrays.check('state.key [] key', state.key)
  keys = jax.random.split(state.key, 3)
  inputs, actions = devices.shard(in_context.inputs_and_actions(batch))
  value, gradient = jax.value_and_grad(loss)(
      state.params, model, inputs, actions, keys[_DROPOUT],
      config.label_smoothing)
  state, skipped = training.apply_gradient(
      optimizer(config), state, value, gradient)
  return (state._replace(step=state.step + 1, key=keys[_NEXT]),
          {'loss': value, 'gradient_norm': optax.global_norm(gradient),
           'skipped': skipped})
