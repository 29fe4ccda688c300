"""Training a model on whatever a method trains it on, and evaluating it.

A method makes a Trainer, which says what one update is. The loop around it is
the same for all: `epoch` is one program, a scan of updates after which the
model is put into tasks as a learner.
"""

from collections.abc import Callable
from collections.abc import Mapping
from typing import NamedTuple
from typing import Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

from adjax import arrays
from adjax import config as config_lib
from adjax import devices
from adjax import histories as histories_lib
from adjax import metrics
from adjax import types
from adjax.models import in_context
from adjax.models import sequence_model

# So many updates in a row that are not finite end the training of a seed: what
# would have to change for the next to be is outside of it.
MAX_SKIPPED = 10

Metrics = dict[str, chex.Array]


class TrainState(NamedTuple):
  """All that a run carries from epoch to epoch; one per training seed.

  Attributes:
    params: weights, always finite.
    opt_state: the optimizer's.
    step: updates so far [], skipped ones among them.
    skipped: gradient steps [] skipped in a row up to now; from MAX_SKIPPED on,
      all are.
    key: of what is random in the next update.
    extra: what else a method carries, such as target parameters.
  """
  params: types.PyTree
  opt_state: types.PyTree
  step: chex.Array
  skipped: chex.Array
  key: chex.PRNGKey
  extra: types.PyTree = ()


class Trainer(NamedTuple):
  """How a model is trained: what a method's configuration makes.

  Attributes:
    init: key -> TrainState of one training seed.
    update: (state, Batch [B, L]) -> (state, metrics []), one update of one
      seed; metrics have loss, gradient_norm and skipped. The Batch is None for
      a method that makes its own data.
    learner: (params, temperature) -> the learner that is evaluated.
    epochs: an evaluation follows each.
    updates_per_epoch: U.
    batch_size: B, what is sharded over 'data' in an update.
    transitions: steps of environments that an update is trained on.
    length: L, steps of a subsequence; 0 for a method that makes its own data.
    subsequences: (key of a state, num_streams [], steps []) -> (streams and
      starts [B] of the Batch that its update takes, the key of the state after
      that update); None for a method that makes its own data.
  """
  init: Callable[[chex.PRNGKey], TrainState]
  update: Callable[
      [TrainState, histories_lib.Batch | None], tuple[TrainState, Metrics]]
  learner: Callable[[types.PyTree, float], types.Learner]
  epochs: int
  updates_per_epoch: int
  batch_size: int
  transitions: int
  length: int = 0
  subsequences: Callable[
      [chex.PRNGKey, chex.Numeric, chex.Numeric],
      tuple[tuple[chex.Array, chex.Array], chex.PRNGKey]] | None = None


class Data(Protocol):
  """What a method is told of the histories that it is to be trained on."""

  @property
  def selected_episodes(self) -> int:
    """Episodes of a history as it is trained on."""

  @property
  def starts(self) -> str:
    """Where subsequences begin, as histories.sample_subsequences has it."""


class Method(config_lib.Dataclass, Protocol):
  """A configuration of how a model is trained, and on what."""

  def make(
      self, tasks: types.TaskDistribution, source: types.Learner | None,
      model: sequence_model.SequenceModel, data: Data | None,
  ) -> Trainer:
    """The trainer; refuses what does not fit together."""


class Evaluation(NamedTuple):
  """What a model is put into.

  Attributes:
    tasks: {name: tasks [N]}.
    key: one for all epochs, so that curves differ by the model alone.
    num_runs: R, runs on each task.
    num_episodes: E.
    episode_length: steps after which an episode has ended.
    temperature: of the actions' distribution; 0 takes the likeliest.
  """
  tasks: Mapping[str, types.Task]
  key: chex.PRNGKey
  num_runs: int
  num_episodes: int
  episode_length: int
  temperature: float = 1.0


def example_inputs(
    model: sequence_model.SequenceModel, tasks: types.TaskDistribution
) -> sequence_model.Inputs:
  """Inputs [1] of the shapes that a model of an environment is given."""
  learner = in_context.in_context(tasks.env, model, None)
  task = jax.tree.map(lambda x: x[0], tasks.train)
  shapes = jax.eval_shape(
      lambda key: learner.init(task, key).inputs, jax.random.key(0))
  return jax.tree.map(lambda x: jnp.zeros((1, *x.shape), x.dtype), shapes)


OPTIMIZERS = ('muon', 'adamw')


def optimizer(
    name: str, schedule: optax.Schedule, max_grad_norm: float, b1: float,
    b2: float, weight_decay: float,
) -> optax.GradientTransformation:
  """Muon or AdamW on clipped gradients; weight decay spares vectors.

  Muon (Jordan et al. 2024) is for matrices between the embedding and the heads;
  all else is AdamW's. The root mean square of its update of a matrix is the
  learning rate, in the manner of Liu et al. (2025), who take a fifth of that.

  Args:
    name: one of OPTIMIZERS.
    schedule: of the learning rate.
    max_grad_norm: the greatest global norm of a gradient.
    b1: the decay of Adam's mean gradient.
    b2: the decay of Adam's mean squared gradient.
    weight_decay: of matrices.
  """
  matrices = lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
  update = optax.adamw(
      schedule, b1, b2, weight_decay=weight_decay, mask=matrices)
  if name == 'muon':
    update = optax.partition({
        'muon': optax.contrib.muon(
            schedule, weight_decay=weight_decay, consistent_rms=1.0),
        'adamw': update}, _hidden_matrices)
  return optax.chain(optax.clip_by_global_norm(max_grad_norm), update)


def _hidden_matrices(params: types.PyTree) -> types.PyTree:
  """'muon' for each matrix between embedding and heads, else 'adamw'.

  They are told by the names that sequence_model.SequenceModel gives its own.
  """
  def label(path: tuple, x: chex.Array) -> str:
    outer = {'embedding', 'head', 'value_head'} & {
        getattr(key, 'key', None) for key in path}
    return 'muon' if x.ndim == 2 and not outer else 'adamw'

  return jax.tree_util.tree_map_with_path(label, params)


def apply_gradient(
    optimizer: optax.GradientTransformation, state: TrainState,
    value: chex.Array, gradient: types.PyTree,
) -> tuple[TrainState, chex.Array]:
  """One step of an optimizer, skipped if it leads out of finite numbers.

  Then weights and the optimizer's state stay as they were, bit for bit.

  Args:
    optimizer: the optimizer.
    state: before the step.
    value: the loss [].
    gradient: of it.

  Returns:
    The state after it, step and key untouched, and whether it was skipped [].
  """
  arrays.check('value [] float', value)
  arrays.check_like('gradient', gradient, state.params)
  changes, opt_state = optimizer.update(
      gradient, state.opt_state, state.params)
  params = optax.apply_updates(state.params, changes)
  # A gradient that is finite may still throw the weights out of range.
  skip = ~(jnp.isfinite(value) & jnp.isfinite(optax.global_norm(gradient))
           & jnp.isfinite(optax.global_norm(params))
           & (state.skipped < MAX_SKIPPED))
  params, opt_state = jax.tree.map(
      lambda old, new: jnp.where(skip, old, new),
      (state.params, state.opt_state), (params, opt_state))
  return state._replace(
      params=params, opt_state=opt_state,
      skipped=jnp.where(skip, state.skipped + 1, 0)), skip


def scale(
    state: TrainState, statistics: sequence_model.Statistics
) -> TrainState:
  """A state before its first update, with these; any other as it is."""
  new = sequence_model.with_statistics((state.params, state.extra), statistics)
  params, extra = jax.tree.map(
      lambda new, old: old if new is old else jnp.where(
          state.step == 0, new, old), new, (state.params, state.extra))
  return state._replace(params=params, extra=extra)


def epoch(
    trainer: Trainer, evaluation: Evaluation, states: TrainState,
    selected: histories_lib.Selected | None = None,
) -> tuple[TrainState, dict[str, types.PyTree]]:
  """Updates on histories, then an evaluation, for every training seed.

  Args:
    trainer: how the model is trained.
    evaluation: what it is put into.
    states: [seeds].
    selected: what is trained on; None for a method that makes its own data.

  Returns:
    States, and metrics: of the updates [seeds, U], and returns, a learning
    curve [seeds, N, R, E] for each set of tasks.
  """
  def one_seed(state: TrainState) -> tuple[TrainState, dict[str, types.PyTree]]:
    state, trained = train(
        trainer, state, selected, trainer.updates_per_epoch)
    return state, trained | {
        'returns': learning_curves(trainer, state.params, evaluation)}

  return devices.map_seeds(one_seed, states)


def train(
    trainer: Trainer, state: TrainState,
    selected: histories_lib.Selected | None, number: int,
) -> tuple[TrainState, Metrics]:
  """Updates of one training seed on histories.

  Args:
    trainer: how the model is trained.
    state: of one seed.
    selected: what is trained on; None for a method that makes its own data.
    number: U, how many updates.

  Returns:
    The state after them, and metrics [U].
  """
  def update(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
    batch = None
    if trainer.subsequences is not None:
      assert selected is not None
      places, _ = trainer.subsequences(
          state.key, selected.num_streams, selected.steps)
      batch = histories_lib.gather(selected.history, *places, trainer.length)
    return trainer.update(state, batch)

  return jax.lax.scan(update, state, None, number)


def updates(
    trainer: Trainer, states: TrainState, batches: histories_lib.Batch
) -> tuple[TrainState, Metrics]:
  """Updates [U] on batches that were gathered elsewhere.

  Args:
    trainer: how the model is trained.
    states: [seeds].
    batches: Batch [seeds, U, B].

  Returns:
    States, and metrics [seeds, U].
  """
  return devices.map_seeds(
      lambda args: jax.lax.scan(trainer.update, *args), (states, batches))


def all_subsequences(
    trainer: Trainer, keys: chex.PRNGKey, num_streams: int, steps: int
) -> tuple[chex.Array, chex.Array]:
  """Streams and starts [seeds, U, B] that epoch takes from states' keys.

  Args:
    trainer: how the model is trained.
    keys: [seeds], of states at the beginning of an epoch.
    num_streams: S.
    steps: T.
  """
  take = trainer.subsequences
  assert take is not None

  def one_seed(key: chex.PRNGKey) -> tuple[chex.Array, chex.Array]:
    return jax.lax.scan(
        lambda key, _: take(key, num_streams, steps)[::-1],
        key, None, trainer.updates_per_epoch)[1]

  return jax.vmap(one_seed)(keys)


def merge_task_sets(
    sets: Mapping[str, types.Task]
) -> tuple[types.Task, Callable[[types.PyTree], dict[str, types.PyTree]]]:
  """Several sets of tasks as one, so that they are evaluated in one loop.

  Args:
    sets: {name: tasks [N]}.

  Returns:
    All of them, and a function that splits a tree [all of them, ...] into
    {name: tree [N, ...]}.
  """
  ends = np.cumsum([types.num_tasks(tasks) for tasks in sets.values()])

  def split(tree: types.PyTree) -> dict[str, types.PyTree]:
    return {name: jax.tree.map(lambda x, a=a, b=b: x[a:b], tree)
            for name, a, b in zip(sets, [0, *ends[:-1]], ends)}

  return jax.tree.map(lambda *x: jnp.concatenate(x), *sets.values()), split


def evaluate(
    trainer: Trainer, params: types.PyTree, evaluation: Evaluation
) -> tuple[types.PyTree, Callable[[types.PyTree], dict[str, types.PyTree]]]:
  """In-context learning on all sets of tasks, weights frozen.

  Args:
    trainer: whose learner is evaluated.
    params: the weights of one training seed.
    evaluation: what it is put into.

  Returns:
    History [N, R, T] on all tasks, and a function that splits a tree of arrays
    [N, ...] into {name of a set: tree}.
  """
  tasks, split = merge_task_sets(evaluation.tasks)
  history, _ = histories_lib.run(
      trainer.learner(params, evaluation.temperature),
      *histories_lib.repeat(tasks, evaluation.key, evaluation.num_runs),
      evaluation.num_episodes * evaluation.episode_length)
  return history, split


def learning_curves(
    trainer: Trainer, params: types.PyTree, evaluation: Evaluation
) -> Metrics:
  """The learning curves [N, R, E] of one seed's model on each set of tasks."""
  history, split = evaluate(trainer, params, evaluation)
  return split(metrics.learning_curves(
      history.reward, history.done, evaluation.num_episodes))
