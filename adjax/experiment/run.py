"""One run: histories, training, held-out tasks, and the files about it."""

from collections.abc import Iterator
import contextlib
import functools
import json
import os
import time
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import devices
from adjax import metrics
from adjax import types
from adjax.experiment import again
from adjax.experiment import clock as clock_lib
from adjax.experiment import data as data_lib
from adjax.experiment import keep
from adjax.experiment import memory
from adjax.experiment import plot
from adjax.experiment import progress as progress_lib
from adjax.experiment import report
from adjax.experiment import rollouts
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.experiment import stopping
from adjax.experiment import stored
from adjax.experiment import workdir as workdir_lib
from adjax.methods import training
from adjax.page import data as page_data
from adjax.page import write as page
from adjax.storage import checkpoint
from adjax.storage import files


@arrays.standard_promotion()
def run(
    experiment: specification.Experiment, workdir: str | os.PathLike[str],
    progress: progress_lib.Progress | None = None,
    stop: stopping.Stop | None = None, mesh: str = '',
    allow_version_change: bool = False, held_out: bool = True,
) -> dict[str, Any]:
  """Runs an experiment, or resumes one that was stopped.

  It sets no signal handler and no option of JAX, prints nothing by itself, and
  uses the devices that JAX has. KeyboardInterrupt stops it, and the same call
  resumes it from the last epoch that was saved.

  Args:
    experiment: what to run.
    workdir: a folder for everything it writes, shared by all hosts.
    progress: is told how it goes; by default the logger 'adjax' is.
    stop: is asked after every epoch whether to stop.
    mesh: how devices are used, as 'data:8' for a batch over eight, or
      'seed:2,data:4' for two groups of seeds besides; '' for all of them, or of
      cores as many as divide a batch.
    allow_version_change: resume a run that other versions of adjax, of its
      packages or of the components' files began.
    held_out: meet the held-out tasks once it is trained, and write the result.
      With False it ends after the last epoch, before anything is made of them;
      the same call with True goes on from there.

  Returns:
    What it also writes to result.json; without held_out, the last line of
    metrics.jsonl.

  Raises:
    ValueError: if the workdir holds a run with another config or is in use, if
      sizes do not fit together, or if there is too little memory.
    OSError: if the workdir cannot be written.
    FloatingPointError: if no training seed has finite gradients any more, or no
      source learner stayed finite; the last finite state is kept.
    stopping.Stopped: if it was asked to stop; the last epoch is saved.
  """
  workdir = files.folder('workdir', workdir)
  if not isinstance(experiment, specification.Experiment):
    raise ValueError(f'experiment={experiment!r}: must be an adjax.Experiment')
  progress = progress or progress_lib.Progress()
  setup = setup_lib.make(experiment, mesh)
  with contextlib.ExitStack() as held:
    finished = devices.collectively(lambda: held.enter_context(
        workdir_lib.claim(workdir, experiment, allow_version_change,
                          progress.say)))
    if finished is not None and held_out:
      progress.say(f'{workdir} holds this run, finished; nothing to do')
      return finished
    stop = stop or stopping.Stop()
    if held_out:
      return _run(setup, workdir, progress, stop)
    return _run_epochs(setup, workdir, progress, stop)


def _run_epochs(
    setup: setup_lib.Setup, workdir: str, progress: progress_lib.Progress,
    stop: stopping.Stop,
) -> dict[str, Any]:
  """All epochs, in a workdir that is its own: the last one's line."""
  last_line = lambda: devices.collectively(lambda: workdir_lib.cut_lines(
      os.path.join(workdir, 'metrics.jsonl'), setup.trainer.epochs))[-1]
  saved = devices.as_first(devices.collectively(lambda: _checkpoints(
      workdir).steps[-1:]))
  # Unless it diverged: that is to be said again.
  if saved == [setup.trainer.epochs] and (
      len(last_line()['ended_early']) < setup.experiment.seeds):
    progress.say(f'{workdir} holds all epochs of this run')
    return last_line()
  clock = clock_lib.Clock(setup.mesh)
  data = make_data(setup, clock, progress)
  _train(setup, data, init_states(setup, clock), workdir, clock, progress, stop,
         {})
  data.release()
  return last_line()


def _run(
    setup: setup_lib.Setup, workdir: str, progress: progress_lib.Progress,
    stop: stopping.Stop,
) -> dict[str, Any]:
  """The run itself, in a workdir that is its own."""
  clock = clock_lib.Clock(setup.mesh)
  data = make_data(setup, clock, progress)
  states = init_states(setup, clock)
  held_out = compile_held_out(setup, clock, states)
  references = report.compile_references(setup, clock)
  states, lines = _train(
      setup, data, states, workdir, clock, progress, stop,
      {'evaluation': memory.program(held_out) + memory.size(states.opt_state),
       'references': max(memory.program(program) for of_set in
                         references.values() for program in of_set.values())})
  data.release()
  evaluated = devices.fetch(clock.run('evaluate', held_out, states.params))
  steps = sum(curves.size for curves, _ in evaluated.values())
  eval_rate = steps * setup.tasks.episode_length / clock.seconds['evaluate']
  _split_epochs(data, states, lines, clock)
  trained = setup.experiment.seeds * setup.trainer.epochs * setup.transitions
  curves = report.run_references(setup, references)
  result = {'format': files.FORMAT} | report.result(
      setup, curves, evaluated, lines[-1])
  clock.seconds['total'] = time.perf_counter() - clock.start
  result |= {
      'parameters': sum(
          x.size for x in jax.tree.leaves(states.params)
      ) // setup.experiment.seeds,
      'updates': setup.trainer.epochs * setup.trainer.updates_per_epoch,
      'transitions_trained': trained,
      'skipped_total': lines[-1]['skipped_total'],
      'ended_early': lines[-1]['ended_early'],
      'seconds': {name: round(x, 2) for name, x in clock.seconds.items()},
      'throughput': {
          'history_env_steps_per_s': data.rate,
          'train_transitions_per_s': trained / clock.seconds['train'],
          'eval_env_steps_per_s': eval_rate,
      }} | workdir_lib.machine()
  # First what a run is for: whatever happens to what is looked at, it is there.
  params, kept = devices.fetch(states.params), None
  devices.collectively(lambda: _keep(
      setup, params, evaluated, curves, result, workdir))
  with _optional(progress, 'rollouts were not kept'):
    kept = rollouts.make(
        setup, clock, states.params, jax.tree.map(
            lambda x: x[0, :, 0], evaluated['held_out'][1]),
        result['held_out'])
  devices.collectively(lambda: _write(
      setup, evaluated, kept, result, workdir, progress))
  progress.say(report.summary(result, workdir))
  return json.loads(files.to_json(result))  # As it is read from the file.


def make_data(
    setup: setup_lib.Setup, clock: clock_lib.Clock,
    progress: progress_lib.Progress,
) -> data_lib.Online:
  """What a run is trained on; nothing is computed yet.

  Args:
    setup: the run's objects.
    clock: compiles and times.
    progress: is told how it goes.
  """
  options = setup.experiment.data
  if setup.trainer.subsequences is None or options is None:
    kind = data_lib.Online
  elif options.store:
    kind = stored.Stored
  elif options.regenerate_every:
    kind = data_lib.Regenerated
  else:
    kind = data_lib.InMemory
  return kind(setup, clock, progress)


def init_states(
    setup: setup_lib.Setup, clock: clock_lib.Clock
) -> training.TrainState:
  """A fresh state for each training seed [seeds]."""
  def init(key: chex.PRNGKey) -> training.TrainState:
    return jax.vmap(lambda seed: setup.trainer.init(
        jax.random.fold_in(key, seed)))(jnp.arange(setup.experiment.seeds))

  program = clock.compile(
      init, setup.keys.train, out_shardings=devices.by_seed(setup.mesh))
  return clock.run('train', program, setup.keys.train)


def compile_held_out(
    setup: setup_lib.Setup, clock: clock_lib.Clock,
    states: training.TrainState,
) -> clock_lib.Program:
  """A program that evaluates the last models on held-out tasks.

  Args:
    setup: the run's objects.
    clock: compiles it.
    states: [seeds], for their shapes.

  Returns:
    params [seeds] -> {set of tasks: (learning curves [seeds, N, R, E], History
    [seeds, N, 1, T] of the first run)}: of many runs, the histories would be
    most of what a run needs of memory.
  """
  evaluate = setup.experiment.evaluate
  sets = report.held_out_sets(setup.tasks)

  def one_seed(args: tuple[types.PyTree, chex.Array]) -> types.PyTree:
    params, seed = args
    history, split = training.evaluate(setup.trainer, params, (
        training.Evaluation(
            sets, jax.random.fold_in(setup.keys.held_out, seed),
            evaluate.held_out_runs, evaluate.episodes,
            setup.tasks.episode_length, evaluate.temperature)))
    curves = metrics.learning_curves(
        history.reward, history.done, evaluate.episodes)
    return split((curves, jax.tree.map(lambda x: x[:, :1], history)))

  return clock.compile(
      lambda params: devices.map_seeds(
          one_seed, (params, jnp.arange(setup.experiment.seeds))),
      states.params)


def _train(
    setup: setup_lib.Setup, data: data_lib.Online, states: training.TrainState,
    workdir: str, clock: clock_lib.Clock, progress: progress_lib.Progress,
    stop: stopping.Stop, needs: dict[str, int],
) -> tuple[training.TrainState, list[dict[str, Any]]]:
  """Epochs from the newest checkpoint on: the last states, and all lines."""
  epochs = setup.trainer.epochs
  optima = {name: report.optimum(setup.tasks, some)
            for name, some in setup.evaluation.tasks.items()}
  checkpoints = _checkpoints(workdir)
  first, states = checkpoints.restore(states, progress.say) or (0, states)
  path = os.path.join(workdir, 'metrics.jsonl')
  lines = devices.collectively(lambda: workdir_lib.cut_lines(path, first))
  clock.start -= sum(line['seconds'] for line in lines)
  if first:
    progress.say(f'resumed after epoch {first} of {epochs}')
    _check_finite(states, first)
  if first < epochs:
    needs = needs | data.compile(states)
    progress.say(f'compiled in {clock.seconds["compile"]:.1f} s')
    progress.say(devices.collectively(lambda: memory.check(
        needs, devices.local_size(setup.mesh))))
    stop.check()
    data.begin()
    if not first:
      states = data.scale(states)
  transitions = setup.experiment.seeds * setup.transitions
  with progress.epochs(first, epochs):
    for number in range(first + 1, epochs + 1):
      stop.check()
      with stop.epoch():
        start = time.perf_counter()
        states, measured = clock.run('train', data.epoch, number, states)
        measured = devices.fetch(measured)
        spent = time.perf_counter() - start
        line = report.epoch_line(
            number, measured, optima, spent, transitions, lines,
            _has_ended(states))
        # In this order: a line too many is cut off on resume, one too few could
        # not be made up for.
        with stop.saving():
          devices.collectively(functools.partial(
              workdir_lib.append_line, path, line))
          checkpoints.save(number, states)
      lines.append(line)
      progress.epoch(line, epochs, spent * (epochs - number))
      _check_finite(states, number)
  stop.check()
  return states, lines


def _checkpoints(workdir: str) -> checkpoint.Checkpoints:
  return checkpoint.Checkpoints(os.path.join(workdir, 'checkpoints'))


def _has_ended(states: training.TrainState) -> np.ndarray:
  """Whether the training of a seed has ended early [seeds]."""
  return devices.fetch(states.skipped) >= training.MAX_SKIPPED


def _check_finite(states: training.TrainState, number: int) -> None:
  """Raises a FloatingPointError if no seed can be trained any further."""
  if _has_ended(states).all():
    raise FloatingPointError(
        f'{training.MAX_SKIPPED} updates in a row had a loss, gradient or '
        'weights that are not finite, in every training seed, by epoch '
        f'{number}; its checkpoint has the last finite ones; try a lower '
        'learning rate, in another workdir')


def _split_epochs(
    data: data_lib.Online, states: training.TrainState,
    lines: list[dict[str, Any]], clock: clock_lib.Clock,
) -> None:
  """Tells the seconds of training from those of the evaluations in epochs.

  An epoch is one program. What its evaluations cost is measured once more,
  alone.
  """
  program = data.compile_curves(states)
  before = clock.seconds['evaluate']
  clock.run('evaluate', program, states.params)
  once = clock.seconds['evaluate'] - before
  epochs = sum(line['seconds'] for line in lines)
  evaluating = min(once * len(lines), 0.9 * epochs)
  clock.seconds['evaluate'] = before + evaluating
  clock.seconds['train'] = epochs - evaluating


@contextlib.contextmanager
def _optional(
    progress: progress_lib.Progress, otherwise: str
) -> Iterator[None]:
  """What is worth no run that took days: if it fails, that is said."""
  try:
    yield
  except Exception as error:
    progress.say(f'{otherwise}: {error!r}')


def _keep(
    setup: setup_lib.Setup, params: types.PyTree, evaluated: dict[str, Any],
    references: report.Curves, result: dict[str, Any], workdir: str,
) -> None:
  if jax.process_index() == 0:
    keep.weights(setup, params, result, os.path.join(workdir, 'weights.npz'))
    keep.returns(os.path.join(workdir, 'returns.npz'), {
        name: {'model': ours} | references[name]
        for name, (ours, _) in evaluated.items()})


def _write(
    setup: setup_lib.Setup, evaluated: dict[str, Any],
    kept: dict[str, np.ndarray] | None, result: dict[str, Any], workdir: str,
    progress: progress_lib.Progress,
) -> None:
  """What is looked at, and last the result: it ends a run.

  Args:
    setup: the run's objects.
    evaluated: as compile_held_out has it, of NumPy.
    kept: of rollouts.make, if it did not fail.
    result: of result.json.
    workdir: the folder.
    progress: is told what could not be drawn.
  """
  if jax.process_index() > 0:
    return
  tasks, path = setup.experiment.tasks, functools.partial(os.path.join, workdir)
  # The goal that is farthest away, where goals differ in that.
  optima = result['held_out']['optimum']
  which = int(np.argmin(optima)) if optima else 0
  with _optional(progress, 'a picture was not drawn'):
    plot.curve(result, tasks, path('curve.png'))
    plot.visits(
        jax.tree.map(lambda x: x[0, which, 0], evaluated['held_out'][1]),
        jax.tree.map(lambda x: np.asarray(x[which]), setup.tasks.held_out),
        tasks, path('visits.png'))
  if kept is not None:
    with _optional(progress, 'rollouts were not kept'):
      rollouts.save(path('rollouts.npz'), kept)
  with _optional(progress, 'report.html was not drawn'):
    command = again.command(page_data.without_paths(
        specification.describe(setup.experiment)))
    page.write(path('report.html'), [page_data.of_workdir(
        workdir, command, result=json.loads(files.to_json(result)))])
  files.write_json(path('result.json'), result)
