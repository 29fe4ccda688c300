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

from adjax import arrays
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


# So many updates in a row that are not finite end the training of a seed: what
# would have to change for the next to be is outside of it.
PATIENCE = 10


class TrainState(NamedTuple):
  """All that a run carries from epoch to epoch; one per training seed.

  Attributes:
    params: weights, always finite.
    opt_state: the optimizer's.
    step: updates so far [], skipped ones among them.
    skipped: gradient steps [] skipped in a row up to now; from PATIENCE on,
      all are.
    key: of what is random in the next update.
  """
  params: Any
  opt_state: Any
  step: chex.Array
  skipped: chex.Array
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
  arrays.check('key [] key', key)
  arrays.check_steps('history', history, 'S, T')
  init_key, key = jax.random.split(key)
  example = in_context_lib.inputs_of(
      jax.tree.map(lambda x: x[0, :1], history))
  params = model.init(init_key, example)
  return TrainState(
      params, optimizer(config).init(params), jnp.int32(0), jnp.int32(0), key)


def loss(
    params: Any, model: nn.Module, inputs: Any, actions: chex.Array,
    key: chex.PRNGKey, label_smoothing: float = 0.0,
) -> chex.Array:
  """Mean cross-entropy [] of the actions [B, L], at every position."""
  arrays.check_steps('inputs', inputs, 'B, L')
  arrays.check('actions [*S] integer, key [] key', actions, key,
               S=inputs.done.shape)
  keys = jax.random.split(key, actions.shape[0])
  logits = jax.vmap(lambda x, key: model.apply(
      params, x, deterministic=False, rngs={'dropout': key}))(inputs, keys)
  targets = optax.smooth_labels(
      jax.nn.one_hot(actions, logits.shape[-1]), label_smoothing)
  return optax.softmax_cross_entropy(logits, targets).mean()


def update(
    config: Config, model: nn.Module, state: TrainState, sequences: Any,
    mesh: Any = None, steps: chex.Array | None = None,
) -> tuple[TrainState, dict[str, chex.Array]]:
  """One gradient step on pieces of the sequences (Inputs, actions) [S, T].

  Of these, the first so many steps, or all.
  """
  arrays.check('state.key [] key, sequences [S, T, ...] any', state.key,
               sequences)
  num, length = sequences[1].shape
  streams, starts = places(
      config, state.key, num, length if steps is None else steps)
  pieces = histories_lib.cut(sequences, streams, starts, config.length)
  return update_on(config, model, state, pieces, mesh)


def places(
    config: Config, key: chex.PRNGKey, num: int, steps: chex.Numeric
) -> tuple[chex.Array, chex.Array]:
  """The streams and starts [B] of the pieces that a state of this key takes."""
  arrays.check('key [] key', key)
  return histories_lib.sample_places(
      jax.random.split(key, 3)[1], num, steps, config.batch_size,
      config.length)


def update_on(
    config: Config, model: nn.Module, state: TrainState, pieces: Any,
    mesh: Any = None,
) -> tuple[TrainState, dict[str, chex.Array]]:
  """One gradient step on pieces (Inputs, actions) [B, L].

  Returns:
    The next state, and loss, gradient_norm and skipped [].
  """
  arrays.check('state.key [] key, pieces [B, L, ...] any', state.key, pieces)
  key, _, dropout_key = jax.random.split(state.key, 3)
  inputs, actions = sharding.spread(pieces, mesh)
  value, gradient = jax.value_and_grad(loss)(
      state.params, model, inputs, actions, dropout_key,
      config.label_smoothing)
  state, skipped = descend(optimizer(config), state, value, gradient)
  return (state._replace(step=state.step + 1, key=key),
          {'loss': value, 'gradient_norm': optax.global_norm(gradient),
           'skipped': skipped})


def descend(
    with_optimizer: optax.GradientTransformation, state: TrainState,
    value: chex.Array, gradient: Any,
) -> tuple[TrainState, chex.Array]:
  """One step of an optimizer, skipped if it leads out of finite numbers.

  Then weights and the optimizer's state stay as they were, bit for bit.

  Args:
    with_optimizer: the optimizer.
    state: before the step.
    value: the loss [].
    gradient: of it.

  Returns:
    The state after it, step and key untouched, and whether it was skipped [].
  """
  arrays.check('value [] float', value)
  arrays.check_like('gradient', gradient, state.params)
  changes, opt_state = with_optimizer.update(
      gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, changes)
  # A gradient that is finite may still throw the weights out of range.
  skip = ~(jnp.isfinite(value) & jnp.isfinite(optax.global_norm(gradient))
           & jnp.isfinite(optax.global_norm(params))
           & (state.skipped < PATIENCE))
  params, opt_state = jax.tree.map(
      lambda old, new: jnp.where(skip, old, new),
      (state.params, state.opt_state), (params, opt_state))
  return state._replace(
      params=params, opt_state=opt_state,
      skipped=jnp.where(skip, state.skipped + 1, 0)), skip


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
  if config.batch_size % sharding.data_size(mesh):
    raise ValueError(f'distill.batch_size={config.batch_size}: must be a '
                     f'multiple of the {sharding.data_size(mesh)} devices')


def make_epoch(
    config: Config, model: nn.Module, evaluation: Evaluation, mesh: Any = None
) -> Any:
  """The compiled loop: (states [seeds], history [S, T]) -> (states, metrics).

  States are donated. Metrics: loss, gradient_norm and skipped [seeds, U];
  returns, a learning curve [seeds, N, R, E] for each set of tasks.

  Raises:
    ValueError: if the batch does not divide over the devices.
  """
  check_devices(config, mesh)
  return jax.jit(
      _epoch(config, model, evaluation, mesh), donate_argnums=0,
      out_shardings=(sharding.by_seed(mesh), None))


def make_endless_epoch(
    config: Config, model: nn.Module, evaluation: Evaluation,
    make: Callable[[chex.PRNGKey], histories_lib.Fresh], mesh: Any = None,
) -> Any:
  """The same, with new histories made inside of it when it is told to.

  Args:
    config: how the model is trained.
    model: the sequence model.
    evaluation: what it is put into.
    make: key -> Fresh, as histories.endless has it.
    mesh: the devices.

  Returns:
    A jitted (states, Fresh, key, whether to make others of this key []) ->
    (states, Fresh, metrics). States and histories are donated.

  Raises:
    ValueError: if the batch does not divide over the devices.
  """
  check_devices(config, mesh)
  train = _epoch(config, model, evaluation, mesh)

  def epoch(states, fresh, key, renew):
    fresh = jax.lax.cond(renew, lambda: make(key), lambda: fresh)
    states, measured = train(states, fresh.history, fresh.steps)
    return states, fresh, measured

  return jax.jit(
      epoch, donate_argnums=(0, 1), out_shardings=(
          sharding.by_seed(mesh), sharding.replicated(mesh), None))


def _epoch(config, model, evaluation, mesh):
  """(states [seeds], history [S, T], its steps) -> (states, metrics)."""

  def epoch(states, history, steps=None):
    sequences = in_context_lib.inputs_of(history), history.action

    def one_seed(state):
      state, trained = jax.lax.scan(
          lambda state, _: update(
              config, model, state, sequences, mesh, steps),
          state, None, config.updates_per_epoch)
      return state, trained | {
          'returns': curves(model, state.params, evaluation, mesh)}

    return sharding.over_seeds(one_seed, mesh)(states)

  return epoch


def make_updates(config: Config, model: nn.Module, mesh: Any = None) -> Any:
  """Updates on pieces that were cut elsewhere, from a store of histories.

  Returns:
    A jitted (states [seeds], rows [seeds, U, B, L + 1], start [seeds, U, B]) ->
    (states, metrics [seeds, U]); rows as in_context.inputs_of_piece wants them.
    States are donated.

  Raises:
    ValueError: if the batch does not divide over the devices.
  """
  check_devices(config, mesh)

  def one_seed(args):
    def one(state, pieces):
      rows, starts = pieces
      return update_on(
          config, model, state,
          jax.vmap(in_context_lib.inputs_of_piece)(rows, starts == 0), mesh)
    state, *pieces = args
    return jax.lax.scan(one, state, tuple(pieces))

  return jax.jit(
      lambda *args: sharding.over_seeds(one_seed, mesh)(args),
      donate_argnums=0, out_shardings=(sharding.by_seed(mesh), None))


def make_places(config: Config, num: int, steps: int) -> Any:
  """A jitted keys [seeds] -> streams and starts [seeds, U, B] of an epoch.

  They are those that make_epoch takes from states with these keys.
  """
  def one_seed(key):
    def one(key, _):
      return (jax.random.split(key, 3)[0], places(config, key, num, steps))
    return jax.lax.scan(one, key, None, config.updates_per_epoch)[1]

  return jax.jit(jax.vmap(one_seed))


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
