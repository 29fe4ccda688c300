"""RL2: the same model, trained online to learn in its context.

Duan et al. (2016), Wang et al. (2016). Where Algorithm Distillation imitates a
learner, RL2 is rewarded: a trial is a life of several episodes on one task, the
return of the whole trial is what counts, and the ends of episodes between are
inputs and nothing more. Trained by PPO (Schulman et al. 2017) on whole trials
as sequences, so that acting and learning are `in_context` and the model's full
pass, as everywhere.
"""

import dataclasses
import functools
from typing import Any
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from adjax import arrays
from adjax import config as config_lib
from adjax import distill
from adjax import in_context as in_context_lib
from adjax import sharding
from adjax import types
from adjax.learners import actor_critic


@dataclasses.dataclass(frozen=True)
class Config:
  """How a model is trained online.

  Attributes:
    epochs: updates are followed by an evaluation this many times.
    updates_per_epoch: updates in one epoch.
    trials: lives an update is made from, each on a training task of its own.
    episodes: in a trial, at full length. It learns nothing about what comes
      after: a model should be evaluated over as many.
    passes: over the trials of an update (PPO's epochs).
    minibatches: in a pass.
    discount: of rewards within a trial, across its episodes.
    trace: lambda of the advantages.
    clip_ratio: PPO's.
    entropy: the weight of the policy's entropy, falling linearly
    final_entropy: to this.
    value_cost: the weight of the squared error of values.
    reward_scale: of rewards, where values and advantages are made of them.
    learning_rate: Adam's at first; it falls linearly to 0.
    weight_decay: of AdamW, on matrices.
    b1: Adam's.
    b2: Adam's.
    clip: the greatest global norm of a gradient.
  """
  epochs: int = 10
  updates_per_epoch: int = 100
  trials: int = 64
  episodes: int = 10
  passes: int = 3
  minibatches: int = 4
  discount: float = 0.99
  trace: float = 0.95
  clip_ratio: float = 0.2
  entropy: float = 0.01
  final_entropy: float = 0.0
  value_cost: float = 0.5
  reward_scale: float = 0.1
  learning_rate: float = 1e-3
  weight_decay: float = 0.0
  b1: float = 0.9
  b2: float = 0.98
  clip: float = 0.5

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'rl2')
    for name in ('epochs', 'updates_per_epoch', 'trials', 'episodes', 'passes',
                 'minibatches'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    check('minibatches', self.minibatches, self.trials % self.minibatches == 0,
          f'a divisor of rl2.trials={self.trials}')
    for name in ('clip_ratio', 'reward_scale', 'learning_rate', 'clip'):
      check(name, getattr(self, name), getattr(self, name) > 0, 'above 0')
    for name in ('entropy', 'final_entropy', 'value_cost', 'weight_decay'):
      check(name, getattr(self, name), getattr(self, name) >= 0, 'at least 0')
    for name in ('discount', 'trace'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value <= 1.0, 'from 0 to 1')
    for name in ('b1', 'b2'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value < 1.0, 'from 0 to below 1')

  @property
  def updates(self) -> int:
    return self.epochs * self.updates_per_epoch

  @property
  def batch_size(self) -> int:
    """B, trials of one gradient step."""
    return self.trials // self.minibatches


class Batch(NamedTuple):
  """Trials [N, T] and what was thought of them when they were lived.

  Attributes:
    inputs: Inputs [N, T].
    action: [N, T].
    log_prob: [N, T], of the action under the policy that took it.
    advantage: [N, T], normalised over the update.
    target: [N, T], of the values.
  """
  inputs: Any
  action: chex.Array
  log_prob: chex.Array
  advantage: chex.Array
  target: chex.Array


def check_devices(config: Config, mesh: Any) -> None:
  """Raises a ValueError if minibatches do not divide over the devices."""
  if config.batch_size % sharding.data_size(mesh):
    raise ValueError(
        f'rl2.trials / rl2.minibatches={config.batch_size}: must be a multiple '
        f'of the {sharding.data_size(mesh)} devices')


def optimizer(config: Config) -> optax.GradientTransformation:
  """AdamW with linear decay and clipping."""
  steps = config.updates * config.passes * config.minibatches
  return distill.adamw(
      config, optax.linear_schedule(config.learning_rate, 0.0, steps))


def init(
    config: Config, model: nn.Module, tasks: types.TaskDistribution,
    key: chex.PRNGKey,
) -> distill.TrainState:
  """A fresh state, for one training seed."""
  arrays.check('key [] key', key)
  init_key, task_key, key = jax.random.split(key, 3)
  learner = in_context_lib.in_context(tasks.env, model, None)
  sample_key, place_key = jax.random.split(task_key)
  start = learner.init(tasks.sample(sample_key), place_key).inputs
  params = model.init(
      init_key, jax.tree.map(lambda x: x[None], start),
      method='logits_and_values')
  return distill.TrainState(
      params, optimizer(config).init(params), jnp.int32(0), jnp.int32(0), key)


def live(
    config: Config, model: nn.Module, params: Any,
    tasks: types.TaskDistribution, key: chex.PRNGKey, mesh: Any = None,
) -> types.History:
  """Trials on training tasks drawn anew: History [N, T]."""
  arrays.check('key [] key', key)
  keys = sharding.spread(jax.random.split(key, config.trials), mesh)
  learner = in_context_lib.in_context(tasks.env, model, params)

  def trial(key):
    task_key, life_key = jax.random.split(key)
    return types.unroll(learner, tasks.sample(task_key), life_key,
                        config.episodes * tasks.episode_length)

  history = jax.vmap(trial)(keys)
  return jax.tree.map(lambda x: x[:config.trials, 0], history)


def assess(
    config: Config, model: nn.Module, params: Any, history: types.History
) -> Batch:
  """What the model that lived trials [N, T] thinks of them."""
  arrays.check_steps('history', history, 'N, T')
  inputs = in_context_lib.inputs_of(history)
  logits, values = jax.vmap(lambda x: model.apply(
      params, x, method='logits_and_values'))(inputs)
  # Only the trial's end is an end.
  ended = jnp.zeros_like(history.done).at[:, -1].set(True)
  following = jnp.roll(values, -1, 1)
  advantage = jax.vmap(actor_critic.gae, (0, 0, 0, 0, 0, None, None))(
      config.reward_scale * history.reward, values, following, ended, ended,
      config.discount, config.trace)
  return Batch(
      inputs, history.action,
      actor_critic.log_prob(jax.nn.log_softmax(logits), history.action),
      (advantage - advantage.mean()) / (advantage.std() + 1e-6),
      advantage + values)


def loss(
    params: Any, model: nn.Module, config: Config, batch: Batch,
    entropy: chex.Numeric, key: chex.PRNGKey,
) -> chex.Array:
  """PPO's clipped surrogate [], the values' error and the entropy."""
  arrays.check_steps('batch.inputs', batch.inputs, 'B, L')
  arrays.check('batch.action [*S] integer, batch.log_prob [*S] float, '
               'batch.advantage [*S] float, batch.target [*S] float, '
               'entropy [] number, key [] key',
               *batch[1:], entropy, key, S=batch.inputs.done.shape)
  keys = jax.random.split(key, batch.action.shape[0])
  logits, values = jax.vmap(lambda x, key: model.apply(
      params, x, deterministic=False, method='logits_and_values',
      rngs={'dropout': key}))(batch.inputs, keys)
  gain, spread = actor_critic.surrogate(
      logits, batch.action, batch.log_prob, batch.advantage, config.clip_ratio)
  error = optax.l2_loss(values, batch.target)
  return (config.value_cost * error - gain - entropy * spread).mean()


def update(
    config: Config, model: nn.Module, tasks: types.TaskDistribution,
    state: distill.TrainState, mesh: Any = None,
) -> tuple[distill.TrainState, dict[str, chex.Array]]:
  """Lives trials, then takes passes over them."""
  arrays.check('state.key [] key', state.key)
  key, live_key, learn_key = jax.random.split(state.key, 3)
  history = live(config, model, state.params, tasks, live_key, mesh)
  batch = sharding.spread(
      assess(config, model, state.params, history), mesh)
  share = state.step / config.updates
  entropy = config.entropy + share * (config.final_entropy - config.entropy)

  def learn(state, rows_and_key):
    rows, dropout_key = rows_and_key
    piece = sharding.spread(jax.tree.map(lambda x: x[rows], batch), mesh)
    value, gradient = jax.value_and_grad(loss)(
        state.params, model, config, piece, entropy, dropout_key)
    state, skipped = distill.descend(
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


def make_epoch(
    config: Config, model: nn.Module, tasks: types.TaskDistribution,
    evaluation: distill.Evaluation, mesh: Any = None,
) -> Any:
  """The compiled loop: states [seeds] -> (states, metrics).

  States are donated. Metrics: loss, gradient_norm, skipped (gradient steps) and
  trial_return, the mean return of an episode, [seeds, U]; returns, as of
  distill.make_epoch.

  Raises:
    ValueError: if the trials do not divide over the devices.
  """
  check_devices(config, mesh)

  def one_seed(state):
    state, trained = jax.lax.scan(
        lambda state, _: update(config, model, tasks, state, mesh),
        state, None, config.updates_per_epoch)
    return state, trained | {
        'returns': distill.curves(model, state.params, evaluation, mesh)}

  return jax.jit(
      sharding.over_seeds(one_seed, mesh), donate_argnums=0,
      out_shardings=(sharding.by_seed(mesh), None))
