"""RL2: the same model, trained online to learn in its context.

Duan et al. (2016), Wang et al. (2016). Where Algorithm Distillation imitates a
learner, RL2 is rewarded: a trial is several episodes on one task, the return of
the whole trial is what counts, and the ends of episodes between are inputs and
nothing more. Trained by PPO (Schulman et al. 2017) on whole trials as
sequences, so that acting and learning are `in_context` and the model's full
pass, as everywhere.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from adjax import arrays
from adjax import config as config_lib
from adjax import devices
from adjax import histories as histories_lib
from adjax import types
from adjax.learners import policy_gradient
from adjax.methods import training
from adjax.models import in_context
from adjax.models import sequence_model


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """How a model is trained online.

  Attributes:
    epochs: updates are followed by an evaluation this many times.
    updates_per_epoch: updates in one epoch.
    trials: what an update is made from, each on a training task of its own.
    episodes: in a trial, at full length. It learns nothing about what comes
      after: a model should be evaluated over as many.
    passes: over the trials of an update (PPO's epochs).
    minibatches: in a pass; a divisor of trials.
    discount: of rewards within a trial, across its episodes.
    lambda_: of generalised advantage estimation.
    clip_ratio: PPO's.
    entropy: the weight of the policy's entropy at first; it changes linearly.
    final_entropy: the weight of the policy's entropy at the end.
    value_cost: the weight of the squared error of values.
    reward_scale: of rewards, where values and advantages are made of them.
    learning_rate: Adam's at first; it falls linearly to 0.
    weight_decay: of AdamW, on matrices.
    b1: the decay of Adam's mean gradient.
    b2: the decay of Adam's mean squared gradient.
    max_grad_norm: the greatest global norm of a gradient.
  """
  epochs: config_lib.Count = 10
  updates_per_epoch: config_lib.Count = 100
  trials: config_lib.Count = 64
  episodes: config_lib.Count = 10
  passes: config_lib.Count = 3
  minibatches: config_lib.Count = 4
  discount: config_lib.Fraction = 0.99
  lambda_: config_lib.Fraction = 0.95
  clip_ratio: config_lib.Positive = 0.2
  entropy: config_lib.NonNegative = 0.01
  final_entropy: config_lib.NonNegative = 0.0
  value_cost: config_lib.NonNegative = 0.5
  reward_scale: config_lib.Positive = 0.1
  learning_rate: config_lib.Positive = 1e-3
  weight_decay: config_lib.NonNegative = 0.0
  b1: config_lib.Rate = 0.9
  b2: config_lib.Rate = 0.98
  max_grad_norm: config_lib.Positive = 0.5

  def check(self) -> None:
    config_lib.check(
        'minibatches', self.minibatches, self.trials % self.minibatches == 0,
        f'a divisor of trials={self.trials}')

  @property
  def updates(self) -> int:
    """Updates of a whole run."""
    return self.epochs * self.updates_per_epoch

  def make(
      self, tasks: types.TaskDistribution, source: types.Learner | None,
      model: sequence_model.SequenceModel, data: training.Data | None,
  ) -> training.Trainer:
    """The trainer of a model on trials of its own.

    Args:
      tasks: what it is trained on.
      source: only compared with.
      model: the sequence model.
      data: must be None.

    Raises:
      ValueError: if there is data.
    """
    del source
    if data is not None:
      raise ValueError('data: must be None for rl2, which has no histories')
    return training.Trainer(
        init=functools.partial(init, self, model, tasks),
        update=functools.partial(update, self, model, tasks),
        learner=functools.partial(in_context.in_context, tasks.env, model),
        epochs=self.epochs, updates_per_epoch=self.updates_per_epoch,
        batch_size=self.trials // self.minibatches,
        transitions=self.trials * self.episodes * tasks.episode_length)


class Batch(NamedTuple):
  """Trials [N, T] and what the policy that made them said of them.

  Attributes:
    inputs: Inputs [N, T].
    action: [N, T].
    log_prob: [N, T], of the action under the policy that took it.
    advantage: [N, T], normalised over the update.
    target: [N, T], of the values.
  """
  inputs: sequence_model.Inputs
  action: chex.Array
  log_prob: chex.Array
  advantage: chex.Array
  target: chex.Array


def optimizer(config: Config) -> optax.GradientTransformation:
  """AdamW with linear decay and clipping."""
  steps = config.updates * config.passes * config.minibatches
  return training.optimizer(
      'adamw', optax.linear_schedule(config.learning_rate, 0.0, steps),
      config.max_grad_norm, config.b1, config.b2, config.weight_decay)


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
  init_key, _, key = jax.random.split(key, 3)
  params = model.init(init_key, training.example_inputs(model, tasks),
                      method='logits_and_values')
  return training.TrainState(
      params, optimizer(config).init(params), jnp.int32(0), jnp.int32(0), key)


def collect_trials(
    config: Config, model: sequence_model.SequenceModel, params: types.PyTree,
    tasks: types.TaskDistribution, key: chex.PRNGKey,
) -> types.History:
  """Trials on training tasks drawn anew.

  Args:
    config: how many, and how long.
    model: the sequence model.
    params: its weights.
    tasks: what it is trained on.
    key: of tasks and actions.

  Returns:
    History [N, T].
  """
  arrays.check('key [] key', key)
  keys = devices.shard(jax.random.split(key, config.trials))
  learner = in_context.in_context(tasks.env, model, params)

  def trial(key: chex.PRNGKey) -> types.History:
    task_key, rollout_key = jax.random.split(key)
    history, _ = types.unroll(learner, tasks.sample(task_key), rollout_key,
                              config.episodes * tasks.episode_length)
    return history

  history = jax.vmap(trial)(keys)
  return jax.tree.map(lambda x: x[:config.trials, 0], history)


def assess(
    config: Config, model: sequence_model.SequenceModel, params: types.PyTree,
    history: types.History,
) -> Batch:
  """Log-probabilities, advantages and targets of trials.

  Args:
    config: of discount and lambda.
    model: the model that made the trials.
    params: its weights then.
    history: History [N, T].
  """
  arrays.check_steps('history', history, 'N, T')
  inputs = in_context.inputs_of(history)
  outputs: types.PyTree = jax.vmap(lambda x: model.apply(
      params, x, method='logits_and_values'))(inputs)
  logits, values = outputs
  # Only the trial's end is an end.
  ended = jnp.zeros_like(history.done).at[:, -1].set(True)
  following = jnp.roll(values, -1, 1)
  advantage = jax.vmap(policy_gradient.gae, (0, 0, 0, 0, 0, None, None))(
      config.reward_scale * history.reward, values, following, ended, ended,
      config.discount, config.lambda_)
  return Batch(
      inputs, history.action,
      policy_gradient.log_prob(jax.nn.log_softmax(logits), history.action),
      (advantage - advantage.mean()) / (advantage.std() + 1e-6),
      advantage + values)


def loss(
    params: types.PyTree, model: sequence_model.SequenceModel, config: Config,
    batch: Batch, entropy: chex.Numeric, key: chex.PRNGKey,
) -> chex.Array:
  """PPO's clipped surrogate [], the values' error and the entropy.

  Args:
    params: the weights.
    model: the sequence model.
    config: of the weights of the terms.
    batch: Batch [B, L].
    entropy: the weight of the entropy [].
    key: of dropout and input masking.
  """
  arrays.check_steps('batch.inputs', batch.inputs, 'B, L')
  arrays.check('batch.action [*S] integer, batch.log_prob [*S] float, '
               'batch.advantage [*S] float, batch.target [*S] float, '
               'entropy [] number, key [] key',
               *batch[1:], entropy, key, S=batch.inputs.done.shape)
  keys = jax.random.split(key, batch.action.shape[0])
  logits, values = jax.vmap(lambda x, key: model.apply(
      params, x, deterministic=False, method='logits_and_values',
      rngs={'dropout': key}))(batch.inputs, keys)
  gain, spread = policy_gradient.surrogate(
      logits, batch.action, batch.log_prob, batch.advantage, config.clip_ratio)
  error = optax.l2_loss(values, batch.target)
  return (config.value_cost * error - gain - entropy * spread).mean()


def update(
    config: Config, model: sequence_model.SequenceModel,
    tasks: types.TaskDistribution, state: training.TrainState,
    batch: histories_lib.Batch | None = None,
) -> tuple[training.TrainState, training.Metrics]:
  """Collects trials, then takes passes over them.

  Args:
    config: how the model is trained.
    model: the sequence model.
    tasks: what it is trained on.
    state: of one training seed.
    batch: None; it makes its own data.

  Returns:
    The next state, and metrics: loss, gradient_norm, skipped (gradient steps)
    and trial_return, the mean return of an episode.
  """
  del batch
  arrays.check('state.key [] key', state.key)
  key, trial_key, learn_key = jax.random.split(state.key, 3)
  history = collect_trials(config, model, state.params, tasks, trial_key)
  # How large numbers are is learnt from the first trials, whose actions no
  # number had a part in: the weights of the head are 0.
  state = training.scale(state, sequence_model.statistics(
      tasks.env, history.obs, history.reward))
  trials = devices.shard(assess(config, model, state.params, history))
  share = state.step / config.updates
  entropy = config.entropy + share * (config.final_entropy - config.entropy)

  def learn(
      state: training.TrainState, rows_and_key: tuple[chex.Array, chex.PRNGKey]
  ) -> tuple[training.TrainState, tuple[chex.Array, ...]]:
    rows, dropout_key = rows_and_key
    minibatch = devices.shard(jax.tree.map(lambda x: x[rows], trials))
    value, gradient = jax.value_and_grad(loss)(
        state.params, model, config, minibatch, entropy, dropout_key)
    state, skipped = training.apply_gradient(
        optimizer(config), state, value, gradient)
    return state, (value, optax.global_norm(gradient), skipped)

  order_key, dropout_key = jax.random.split(learn_key)
  rows = jax.vmap(lambda key: jax.random.permutation(key, config.trials))(
      jax.random.split(order_key, config.passes))
  number = config.passes * config.minibatches
  state, (losses, norms, skipped) = jax.lax.scan(
      learn, state,
      (rows.reshape(number, -1), jax.random.split(dropout_key, number)))
  return (state._replace(step=state.step + 1, key=key),
          {'loss': losses.mean(), 'gradient_norm': norms.mean(),
           'skipped': skipped.sum(), 'trial_return': (
               history.reward.sum() / jnp.maximum(history.done.sum(), 1))})
