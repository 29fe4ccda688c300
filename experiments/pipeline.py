"""One run: histories, training, held-out tasks, and the files about it."""

import contextlib
import functools
import math
import os
import time
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import checkpoint
from adjax import distill
from adjax import metrics
from adjax import processes
from adjax import rl2
from adjax import sharding
from adjax import types
from experiments import configs
from experiments import memory
from experiments import plot
from experiments import progress as progress_lib
from experiments import report
from experiments import stopping
from experiments import training as training_lib
from experiments import workdir as workdir_lib
from experiments.clock import Clock

# One stream of random numbers for each purpose; training seed i folds in i.
_DATA, _TRAIN, _EVALUATE, _HELD_OUT, _REFERENCES = range(5)


def run(
    experiment: configs.Experiment, workdir: str,
    progress: progress_lib.Progress | None = None,
    stop: stopping.Stop | None = None, layout: str = '',
    allow_version_change: bool = False,
) -> dict[str, Any]:
  """Runs an experiment, or takes up one that was stopped.

  Args:
    experiment: what to run.
    workdir: a folder for everything it writes, shared by all hosts.
    progress: is told how it goes.
    stop: is asked after every epoch whether to stop.
    layout: of the devices, as sharding.parse reads it; '' for all of them, or
      of cores as many as divide a batch.
    allow_version_change: take up a run that other versions of this code or of
      its packages began.

  Returns:
    What it also writes to result.json.

  Raises:
    ValueError: if the workdir holds a run with another config or is in use, if
      sizes do not fit together, or if there is too little memory.
    OSError: if the workdir cannot be written.
    FloatingPointError: if no training seed has finite gradients any more, or no
      source learner is sound; the last finite state is kept.
    stopping.Stopped: if it was asked to stop; the last epoch is saved.
  """
  progress = progress or progress_lib.Progress(
      experiment.training.epochs, quiet=jax.process_index() > 0)
  mesh = make_mesh(experiment, layout)
  tasks = configs.make_tasks(experiment.tasks)
  source = experiment.source and configs.make_source(experiment.source, tasks)
  with contextlib.ExitStack() as held:
    finished = processes.together(lambda: held.enter_context(workdir_lib.claim(
        workdir, experiment, allow_version_change, progress.say)))
    if finished is not None:
      progress.say(f'{workdir} holds this run, finished; nothing to do')
      return finished
    return _run(experiment, tasks, source, workdir, progress,
                stop or stopping.Stop(), mesh)


def _run(experiment, tasks, source, workdir, progress, stop, mesh):
  """The run itself, in a workdir that is its own."""
  clock = Clock()
  keys = functools.partial(
      jax.random.fold_in, jax.random.key(experiment.seed))
  model = configs.make_model(experiment.model, tasks)
  training = training_lib.make(
      experiment, tasks, source, model, keys(_DATA), mesh)
  states = init_states(experiment, training, keys(_TRAIN), mesh)
  live = held_out(experiment, tasks, model, states, keys(_HELD_OUT), clock,
                  mesh)
  states, lines = _train(
      experiment, tasks, training, states, keys(_EVALUATE), workdir, clock,
      progress, stop,
      {'evaluation': memory.program(live) + memory.size(states.opt_state)},
      sharding.local_size(mesh))
  training.release()
  lives = sharding.fetch(clock.run('evaluate', live, states.params))
  lived = sum(curves.size for curves, _ in lives.values())
  eval_rate = lived * tasks.episode_length / clock.seconds['evaluate']
  _split_epochs(experiment, tasks, model, states, lines, clock, mesh)
  trained = (experiment.seeds * experiment.training.epochs
             * training.transitions)
  result = report.result(
      experiment, tasks, source, lives, lines[-1], keys(_REFERENCES),
      sharding.flat(mesh))
  clock.seconds['total'] = time.perf_counter() - clock.begin
  result |= {
      'parameters': sum(x[0].size for x in jax.tree.leaves(states.params)),
      'updates': experiment.training.updates, 'transitions_trained': trained,
      'skipped': lines[-1]['skipped_in_all'],
      'ended_early': lines[-1]['ended_early'],
      'seconds': {name: round(x, 2) for name, x in clock.seconds.items()},
      'throughput': {
          'history_env_steps_per_s': training.rate,
          'train_transitions_per_s': trained / clock.seconds['train'],
          'eval_env_steps_per_s': eval_rate,
      }} | workdir_lib.machine()
  if jax.process_index() == 0:
    _write(experiment, tasks, lives, result, workdir)
  progress.say(report.summary(result, workdir))
  return result


def _write(experiment, tasks, lives, result, workdir):
  """The pictures, and last of all the result: with it a run is finished."""
  plot.curve(result, experiment.tasks, os.path.join(workdir, 'curve.png'))
  # The goal that is farthest away, where goals differ in that.
  which = int(np.argmin(result['heldout']['optimum']))
  plot.visits(
      jax.tree.map(lambda x: x[0, which, 0], lives['held_out'][1]),
      jax.tree.map(lambda x: np.asarray(x[which]), tasks.held_out),
      experiment.tasks, os.path.join(workdir, 'visits.png'))
  workdir_lib.write_json(os.path.join(workdir, 'result.json'), result)


def make_mesh(experiment: configs.Experiment, layout: str = '') -> Any:
  """The devices of a run; None for a single one.

  Args:
    experiment: whose batch and seeds must divide over them.
    layout: as sharding.parse reads it; '' for all devices, or of cores as many
      as divide a batch.

  Raises:
    ValueError: if they do not.
  """
  if layout:
    mesh = sharding.parse(layout)
  elif jax.default_backend() == 'cpu' and jax.process_count() == 1:
    mesh = sharding.mesh(math.gcd(
        jax.device_count(), experiment.training.batch_size))
  else:
    mesh = sharding.mesh()
  check = distill.check_devices if experiment.distill else rl2.check_devices
  check(experiment.training, mesh)
  if experiment.seeds % sharding.seed_size(mesh):
    raise ValueError(f'seeds={experiment.seeds}: must be a multiple of the '
                     f'{sharding.seed_size(mesh)} devices of --mesh={layout}')
  return mesh if mesh.size > 1 else None


def init_states(
    experiment: configs.Experiment, training: training_lib.Training,
    key: chex.PRNGKey, mesh: Any = None,
) -> distill.TrainState:
  """A fresh state for each training seed [seeds]."""
  states = jax.jit(jax.vmap(
      lambda seed: training.init(jax.random.fold_in(key, seed))))(
          jnp.arange(experiment.seeds))
  return sharding.put(states, sharding.by_seed(mesh))


def _train(experiment, tasks, training, states, key, workdir, clock, progress,
           stop, needs, devices):
  """Epochs from the newest checkpoint on: the last states, and all lines."""
  config = experiment.training
  evaluation = make_evaluation(experiment, tasks, key)
  optima = {name: report.optimum(tasks, some)
            for name, some in evaluation.tasks.items()}
  checkpoints = checkpoint.Checkpoints(
      os.path.abspath(os.path.join(workdir, 'checkpoints')))
  first, states = checkpoints.restore(states, progress.say) or (0, states)
  path = os.path.join(workdir, 'metrics.jsonl')
  lines = processes.together(lambda: workdir_lib.cut_lines(path, first))
  clock.begin -= sum(line['seconds'] for line in lines)
  if first:
    progress.say(f'taken up after epoch {first} of {config.epochs}')
    _check_finite(states, first)
  if first < config.epochs:
    needs = needs | training.compile(evaluation, states, clock)
    progress.say(f'compiled in {clock.seconds["compile"]:.1f} s')
    progress.say(processes.together(lambda: memory.check(needs, devices)))
    stop.check()
    training.begin(clock, progress)
  transitions = experiment.seeds * training.transitions
  with progress.epochs(first):
    for number in range(first + 1, config.epochs + 1):
      stop.check()
      with stop.epoch():
        start = time.perf_counter()
        states, measured = clock.run('train', training.epoch, number, states)
        measured = sharding.fetch(measured)
        spent = time.perf_counter() - start
        line = report.epoch_line(
            number, measured, optima, spent, transitions, lines,
            sharding.fetch(states.skipped) >= distill.PATIENCE)
        # In this order: a line too many is cut off on resume, one too few could
        # not be made up for.
        with stop.saving():
          processes.together(lambda line=line: workdir_lib.append_line(
              path, line))
          checkpoints.save(number, states)
      lines.append(line)
      progress.epoch(line, spent * (config.epochs - number))
      _check_finite(states, number)
  stop.check()
  return states, lines


def _check_finite(states, number):
  """Raises a FloatingPointError if no seed can be trained any further."""
  ended = sharding.fetch(states.skipped) >= distill.PATIENCE
  if ended.all():
    raise FloatingPointError(
        f'{distill.PATIENCE} updates in a row had a loss, gradient or weights '
        f'that are not finite, in every training seed, by epoch {number}; its '
        'checkpoint has the last finite ones; try a lower learning rate, in '
        'another --workdir')


def held_out(
    experiment: configs.Experiment, tasks: types.TaskDistribution, model: Any,
    states: distill.TrainState, key: chex.PRNGKey, clock: Clock,
    mesh: Any = None,
) -> Any:
  """A program: params of the last models -> their lives on held-out tasks.

  {set of tasks: (learning curves [seeds, N, R, E], History [seeds, N, 1, T] of
  the first run)}: of many lives, the histories would be most of what a run
  needs of memory.
  """
  evaluate = experiment.evaluate
  every, apart = distill.together(
      {'held_out': tasks.held_out} | dict(tasks.shifted))

  def live(args):
    params, seed = args
    history = distill.evaluate(
        tasks.env, model, params, every, jax.random.fold_in(key, seed),
        evaluate.held_out_runs, evaluate.episodes * tasks.episode_length,
        evaluate.temperature, mesh)
    curves = metrics.learning_curves(
        history.reward, history.done, evaluate.episodes)
    return apart((curves, jax.tree.map(lambda x: x[:, :1], history)))

  def all_seeds(params):
    return sharding.over_seeds(live, mesh)(
        (params, jnp.arange(experiment.seeds)))

  return clock.compile(jax.jit(all_seeds), states.params)


def _split_epochs(experiment, tasks, model, states, lines, clock, mesh):
  """Tells the seconds of training from those of the evaluations in epochs.

  An epoch is one program. What its evaluations cost is measured once more,
  alone.
  """
  evaluation = make_evaluation(experiment, tasks, jax.random.key(0))
  program = clock.compile(jax.jit(sharding.over_seeds(
      lambda params: distill.curves(model, params, evaluation, mesh), mesh)),
                          states.params)
  before = clock.seconds['evaluate']
  clock.run('evaluate', program, states.params)
  once = clock.seconds['evaluate'] - before
  epochs = sum(line['seconds'] for line in lines)
  evaluating = min(once * len(lines), 0.9 * epochs)
  clock.seconds['evaluate'] = before + evaluating
  clock.seconds['train'] = epochs - evaluating


def make_evaluation(
    experiment: configs.Experiment, tasks: types.TaskDistribution,
    key: chex.PRNGKey,
) -> distill.Evaluation:
  """What every epoch's model is put into."""
  evaluate = experiment.evaluate
  some = jax.tree.map(lambda x: x[:evaluate.train_tasks], tasks.train)
  return distill.Evaluation(
      tasks.env, {'validation': tasks.validation, 'train': some}, key,
      evaluate.runs, evaluate.episodes, tasks.episode_length,
      evaluate.temperature)
