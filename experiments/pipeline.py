"""One run: histories, training, held-out tasks, and the files about it."""

from collections.abc import Callable
import functools
import math
import os
import time
from typing import Any
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import checkpoint
from adjax import distill
from adjax import histories
from adjax import rl2
from adjax import sharding
from adjax import types
from experiments import configs
from experiments import plot
from experiments import progress as progress_lib
from experiments import report
from experiments import workdir as workdir_lib

# One stream of random numbers for each purpose; training seed i folds in i.
_DATA, _TRAIN, _EVALUATE, _HELD_OUT, _REFERENCES = range(5)


class Training(NamedTuple):
  """How a model is trained, whatever it is trained by.

  Attributes:
    init: key -> TrainState, of one training seed.
    make_epoch: Evaluation -> (states [seeds], *data) -> (states, metrics).
    data: what every epoch is given beside the states.
    transitions: that a seed is trained on in one epoch.
    rate: env-steps/s at which histories were made, if any were.
  """
  init: Callable[[chex.PRNGKey], distill.TrainState]
  make_epoch: Callable[[distill.Evaluation], Any]
  data: tuple
  transitions: int
  rate: float | None


class Clock:
  """Seconds by stage.

  Attributes:
    seconds: {stage: seconds}, compilation apart.
    begin: when the run began, moved back by what it had done when stopped.
  """

  def __init__(self):
    self.seconds = dict.fromkeys(
        ('compile', 'generate', 'train', 'evaluate'), 0.0)
    self.begin = time.perf_counter()

  def compile(self, function: Callable[..., Any], *args) -> Callable[..., Any]:
    """The program of a function for such arguments."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    self.seconds['compile'] += time.perf_counter() - start
    return compiled

  def run(self, stage: str, function: Callable[..., Any], *args) -> Any:
    """The value of a program, its seconds added to a stage."""
    start = time.perf_counter()
    value = jax.block_until_ready(function(*args))
    self.seconds[stage] += time.perf_counter() - start
    return value


def run(
    experiment: configs.Experiment, workdir: str,
    progress: progress_lib.Progress | None = None,
) -> dict[str, Any]:
  """Runs an experiment, or takes up one that was stopped.

  Args:
    experiment: what to run.
    workdir: a folder for everything it writes.
    progress: is told how it goes.

  Returns:
    What it also writes to result.json.

  Raises:
    ValueError: if the workdir holds a run with another config, or sizes do not
      fit together.
    OSError: if the workdir cannot be written.
    FloatingPointError: if a loss is not finite; the last finite state is kept.
  """
  progress = progress or progress_lib.Progress(experiment.training.epochs)
  clock = Clock()
  mesh = make_mesh(experiment.training.batch_size)
  check = distill.check_devices if experiment.distill else rl2.check_devices
  check(experiment.training, mesh)
  tasks = configs.make_tasks(experiment.tasks)
  source = experiment.source and configs.make_source(experiment.source, tasks)
  finished = workdir_lib.claim(workdir, experiment)
  if finished is not None:
    progress.say(f'{workdir} holds this run, finished; nothing to do')
    return finished
  keys = functools.partial(
      jax.random.fold_in, jax.random.key(experiment.seed))

  model = configs.make_model(experiment.model, tasks)
  training = make_training(
      experiment, tasks, source, model, keys(_DATA), clock, progress, mesh)
  states = sharding.replicate(
      init_states(experiment, training, keys(_TRAIN)), mesh)
  states, lines = _train(
      experiment, tasks, training, states, keys(_EVALUATE), workdir, clock,
      progress, mesh)
  lives = held_out(experiment, tasks, model, states, keys(_HELD_OUT), clock,
                   mesh)
  lived = sum(life.done.size for life in lives.values())
  eval_rate = lived / clock.seconds['evaluate']
  _split_epochs(experiment, tasks, model, states, lines, clock, mesh)
  trained = (experiment.seeds * experiment.training.epochs
             * training.transitions)
  result = report.result(
      experiment, tasks, source, lives, lines[-1], keys(_REFERENCES), mesh)
  clock.seconds['total'] = time.perf_counter() - clock.begin
  result |= {
      'parameters': sum(x[0].size for x in jax.tree.leaves(states.params)),
      'updates': experiment.training.updates, 'transitions_trained': trained,
      'seconds': {name: round(x, 2) for name, x in clock.seconds.items()},
      'throughput': {
          'history_env_steps_per_s': training.rate,
          'train_transitions_per_s': trained / clock.seconds['train'],
          'eval_env_steps_per_s': eval_rate,
      }} | workdir_lib.machine()
  plot.curve(result, experiment.tasks, os.path.join(workdir, 'curve.png'))
  # The goal that is farthest away, where goals differ in that.
  which = int(np.argmin(result['heldout']['optimum']))
  plot.visits(
      jax.tree.map(lambda x: np.asarray(x[0, which, 0]), lives['held_out']),
      jax.tree.map(lambda x: np.asarray(x[which]), tasks.held_out),
      experiment.tasks, os.path.join(workdir, 'visits.png'))
  workdir_lib.write_json(os.path.join(workdir, 'result.json'), result)
  progress.say(report.summary(result, workdir))
  return result


def make_mesh(batch_size: int) -> Any:
  """All devices, None for a single one; of cores, as many as divide a batch."""
  count = jax.device_count()
  if jax.default_backend() == 'cpu':
    count = math.gcd(count, batch_size)
  return sharding.mesh(count) if count > 1 else None


def make_training(
    experiment: configs.Experiment, tasks: types.TaskDistribution,
    source: types.Learner | None, model: Any, key: chex.PRNGKey, clock: Clock,
    progress: progress_lib.Progress, mesh: Any = None,
) -> Training:
  """Distillation of histories that are made here, or RL2."""
  config = experiment.training
  if experiment.rl2 is not None:
    return Training(
        init=lambda key: rl2.init(config, model, tasks, key),
        make_epoch=lambda evaluation: rl2.make_epoch(
            config, model, tasks, evaluation, mesh),
        data=(), rate=None,
        transitions=(config.updates_per_epoch * config.trials * config.episodes
                     * tasks.episode_length))
  history, generated = make_histories(
      experiment, tasks, source, key, clock, mesh)
  rate = generated / clock.seconds['generate']
  progress.say(f'{history.done.shape[0]} histories of {history.done.shape[1]} '
               f'steps at {rate / 1e6:.2f} M env-steps/s')
  return Training(
      init=lambda key: distill.init(config, model, history, key),
      make_epoch=lambda evaluation: distill.make_epoch(
          config, model, evaluation, mesh),
      data=(sharding.replicate(history, mesh),), rate=rate,
      transitions=config.updates_per_epoch * config.batch_size * config.length)


def make_histories(
    experiment: configs.Experiment, tasks: types.TaskDistribution,
    source: types.Learner, key: chex.PRNGKey, clock: Clock, mesh: Any = None,
) -> tuple[types.History, int]:
  """Histories [S, T] as they are distilled, and the steps they took."""
  data = experiment.data
  steps = data.episodes * data.every * tasks.episode_length

  def generate(train, key):
    return histories.streams(histories.generate(
        source, train, key, data.histories, steps, mesh))

  program = clock.compile(generate, tasks.train, key)
  history = clock.run('generate', program, tasks.train, key)
  generated = history.done.size
  history = histories.thin(history, data.every)
  if data.tail:
    history = histories.tail(history, data.tail)
  return history, generated


def init_states(
    experiment: configs.Experiment, training: Training, key: chex.PRNGKey
) -> distill.TrainState:
  """A fresh state for each training seed [seeds]."""
  return jax.jit(jax.vmap(
      lambda seed: training.init(jax.random.fold_in(key, seed))))(
          jnp.arange(experiment.seeds))


def _train(experiment, tasks, training, states, key, workdir, clock, progress,
           mesh):
  """Epochs from the newest checkpoint on: the last states, and all lines."""
  config = experiment.training
  evaluation = _evaluation(experiment, tasks, key)
  optima = {name: report.optimum(tasks, some)
            for name, some in evaluation.tasks.items()}
  checkpoints = checkpoint.Checkpoints(
      os.path.abspath(os.path.join(workdir, 'checkpoints')))
  first, states = checkpoints.restore(states, progress.say) or (0, states)
  path = os.path.join(workdir, 'metrics.jsonl')
  lines = workdir_lib.cut_lines(path, first)
  clock.begin -= sum(line['seconds'] for line in lines)
  if first:
    progress.say(f'taken up after epoch {first} of {config.epochs}')
  if first < config.epochs:
    epoch = training.make_epoch(evaluation)
    start = time.perf_counter()
    epoch = epoch.lower(states, *training.data).compile()
    clock.seconds['compile'] += time.perf_counter() - start
    progress.say(f'compiled in {clock.seconds["compile"]:.1f} s')
  transitions = experiment.seeds * training.transitions
  with progress.epochs(first):
    for number in range(first + 1, config.epochs + 1):
      start = time.perf_counter()
      states, measured = epoch(states, *training.data)
      measured = jax.tree.map(np.asarray, measured)
      spent = time.perf_counter() - start
      if not all(np.isfinite(measured[name]).all()
                 for name in ('loss', 'gradient_norm')):
        raise FloatingPointError(
            f'a loss or gradient of epoch {number} is not finite; nothing of '
            f'this epoch is kept; try a learning_rate below '
            f'{config.learning_rate} in another --workdir')
      line = report.epoch_line(number, measured, optima, spent, transitions)
      # In this order: a line too many is cut off on resume, one too few could
      # not be made up for.
      workdir_lib.append_line(path, line)
      checkpoints.save(number, states)
      lines.append(line)
      progress.epoch(line, spent * (config.epochs - number))
  checkpoints.close()
  return states, lines


def held_out(
    experiment: configs.Experiment, tasks: types.TaskDistribution, model: Any,
    states: distill.TrainState, key: chex.PRNGKey, clock: Clock,
    mesh: Any = None,
) -> dict[str, types.History]:
  """History [seeds, N, R, T] of the last models on every held-out set."""
  evaluate = experiment.evaluate
  every, apart = distill.together(
      {'held_out': tasks.held_out} | dict(tasks.shifted))

  def live(args):
    params, seed = args
    return apart(distill.evaluate(
        tasks.env, model, params, every, jax.random.fold_in(key, seed),
        evaluate.held_out_runs, evaluate.episodes * tasks.episode_length,
        evaluate.temperature, mesh))

  args = states.params, jnp.arange(experiment.seeds)
  program = clock.compile(sharding.over_seeds(live), args)
  return clock.run('evaluate', program, args)


def _split_epochs(experiment, tasks, model, states, lines, clock, mesh):
  """Tells the seconds of training from those of the evaluations in epochs.

  An epoch is one program. What its evaluations cost is measured once more,
  alone.
  """
  evaluation = _evaluation(experiment, tasks, jax.random.key(0))
  program = clock.compile(sharding.over_seeds(
      lambda params: distill.curves(model, params, evaluation, mesh)),
                          states.params)
  before = clock.seconds['evaluate']
  clock.run('evaluate', program, states.params)
  once = clock.seconds['evaluate'] - before
  epochs = sum(line['seconds'] for line in lines)
  evaluating = min(once * len(lines), 0.9 * epochs)
  clock.seconds['evaluate'] = before + evaluating
  clock.seconds['train'] = epochs - evaluating


def _evaluation(experiment, tasks, key):
  """What every epoch's model is put into."""
  evaluate = experiment.evaluate
  some = jax.tree.map(lambda x: x[:evaluate.train_tasks], tasks.train)
  return distill.Evaluation(
      tasks.env, {'validation': tasks.validation, 'train': some}, key,
      evaluate.runs, evaluate.episodes, tasks.episode_length,
      evaluate.temperature)
