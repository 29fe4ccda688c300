"""Two stages of the benchmark that are about whole runs: pipeline, scaling."""

from collections.abc import Iterator
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax

from adjax import devices
from adjax import histories
from adjax import presets
from adjax.envs import dark_room
from adjax.experiment import clock as clock_lib
from adjax.learners import tabular_q
from adjax.methods import training
from adjax.models import in_context
from experiments.benchmarks import evaluate
from experiments.benchmarks import measure
from experiments.benchmarks import train

Row = measure.Row
Rows = Iterator[Row]


# The whole pipeline.


def run(folder: str, name: str, *args: str) -> dict[str, float]:
  """Seconds by stage of one run in its own process, from nothing to result."""
  workdir = tempfile.mkdtemp(dir=folder)
  environment = os.environ | {
      'JAX_COMPILATION_CACHE_DIR': os.path.join(folder, 'cache'),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1'}
  start = time.perf_counter()
  process(
      ['-m', 'experiments.run', f'--experiment={name}', f'--workdir={workdir}',
       *args], environment)
  spent = time.perf_counter() - start
  with open(os.path.join(workdir, 'result.json'), encoding='utf-8') as file:
    return json.load(file)['seconds'] | {'process': spent}


def process(args: list[str], environment: dict[str, str]) -> None:
  """Runs Python in a process of its own.

  Raises:
    RuntimeError: if that fails, with the last thing it said.
  """
  done = subprocess.run([sys.executable, *args], env=environment,
                        capture_output=True, text=True, check=False)
  if done.returncode:
    raise RuntimeError(f'{args[1]}: {done.stderr.strip()[-500:]}')


def pipeline(runs: int) -> Rows:
  """quick whole, cold and warm; dark_room with one of its epochs; once each."""
  del runs
  with tempfile.TemporaryDirectory(prefix='adjax-') as folder:
    cold = run(folder, 'quick')
    yield from _seconds('quick, cold', cold)
    warm = run(folder, 'quick')
    for row in _seconds('quick, compiled before', warm):
      if row.metric in ('compile', 'process'):
        value = cold[row.metric]
        yield Row(row.stage, row.case, row.metric, row.ours, row.unit, 'cold',
                  value, value / row.ours)
      else:
        yield row
  with tempfile.TemporaryDirectory(prefix='adjax-') as folder:
    epochs = presets.get('dark_room').method.epochs
    once = run(folder, 'dark_room', '--set=method.epochs=1')
    yield from _seconds(f'dark_room, one of {epochs} epochs, cold', once)
    whole = once['process'] + (epochs - 1) * once['train']
    yield Row('pipeline', f'dark_room, {epochs} such epochs', 'process', whole,
              's')


def _seconds(case: str, seconds: dict[str, float]) -> Rows:
  for name, value in seconds.items():
    yield Row('pipeline', case, name, value, 's')


# Scaling.


def scaling(runs: int) -> Rows:
  """Time against tasks, seeds, window, episodes; collectives by device."""
  runs = min(runs, 3)
  selected = train.some_histories()
  yield from _tasks(runs)
  yield from _episodes(runs)
  yield from _window(selected, runs)
  yield from _seeds(selected, runs)
  yield from on_devices(runs)


def _generate(tasks, mesh, steps=200):
  """A program of tabular Q on some tasks, a function of no arguments."""
  source = tabular_q.learner(tabular_q.Config(), dark_room.tasks())
  return _on(mesh, lambda tasks, key: histories.generate(
      source, tasks, key, 1, steps)[0], tasks, jax.random.key(0))


def _on(mesh, function, *args):
  """A program on a mesh, its arguments, and how often it communicates."""
  sharding = devices.replicated(mesh)
  if sharding is not None:
    args = jax.block_until_ready(
        jax.jit(lambda x: x, out_shardings=sharding)(args))
  program = clock_lib.Clock(mesh).compile(function, *args)
  return lambda: program(*args), collectives(program)


def _tasks(runs):
  tasks = dark_room.tasks().train
  for num in (256, 2048, 16384):
    program, _ = _generate(
        measure.first_tasks(tasks, num), measure.mesh())
    yield Row('scaling', f'histories, {num} tasks x 200 steps', 'time',
              measure.alone(program, runs).median, 's')


def _episodes(runs):
  env = dark_room.DarkRoom()
  model = train.make_model(64, 100)
  params = model.init(jax.random.key(0), evaluate.one_input(env))
  learner = in_context.in_context(env, model, params)
  for episodes in (10, 160):
    program = evaluate.rollouts(learner, 64, 20 * episodes)
    yield Row('scaling', f'evaluation, 64 rollouts of {episodes} episodes',
              'time', measure.alone(program, runs).median, 's')


def _window(selected, runs):
  for window in (100, 200, 800):
    program, _ = train.train_case(
        64, window, selected, 2, 6400 // window)
    yield Row('scaling', f'training, W = L = {window}, 6400 transitions',
              'time of an update',
              measure.alone(program, runs).median / 2, 's')


def _seeds(selected, runs):
  trainer = train.make_trainer(train.make_model(64, 100), 100, 16)
  for seeds in (1, 2, 4):
    states, data = measure.replicate((jax.vmap(trainer.init)(
        jax.random.split(jax.random.key(0), seeds)), selected))
    program, _ = measure.compiled(
        lambda states, data: devices.map_seeds(
            lambda state: training.train(trainer, state, data, 10), states),
        states, data)
    yield Row('scaling', f'training, {seeds} seeds, batch 16 x 100',
              'time of an update',
              measure.alone(program, runs).median / 10, 's')


_COLLECTIVE = re.compile(
    r' (all-reduce|all-gather|all-to-all|reduce-scatter|'
    r'collective-permute)(-start)?\(')


def collectives(program: Any) -> int:
  """How many operations of a program communicate between devices."""
  return len(_COLLECTIVE.findall(program.as_text()))


def on_devices(runs: int, count: int = 8) -> Rows:
  """The structure on 1, 2 and 8 devices: a CPU's, made of too few cores.

  In a process of its own, since devices are counted once.
  """
  if jax.default_backend() == 'cpu' and jax.device_count() < count:
    with tempfile.TemporaryDirectory(prefix='adjax-') as folder:
      path = os.path.join(folder, 'rows.json')
      process(
          ['-c',
           'import jax, dataclasses, json, sys\n'
           f'jax.config.update("jax_num_cpu_devices", {count})\n'
           'from experiments.benchmarks import runs as b\n'
           f'rows = [dataclasses.asdict(r) for r in b.on_devices({runs})]\n'
           f'json.dump(rows, open({path!r}, "w"))'],
          {name: value for name, value in os.environ.items()
           if name != 'XLA_FLAGS'})
      with open(path, encoding='utf-8') as file:
        yield from (Row(**row) for row in json.load(file))
    return
  tasks = dark_room.tasks()
  some = measure.first_tasks(tasks.train, 1024)
  selected = train.some_histories()
  trainer = train.make_trainer(train.make_model(64, 100), 100)
  state = trainer.init(jax.random.key(0))
  evaluation = training.Evaluation(
      {'validation': tasks.validation}, jax.random.key(0), 8, 5,
      tasks.episode_length)
  num = 1
  while num <= jax.device_count():
    mesh = devices.make_mesh(num)
    programs = {
        'histories': _generate(some, mesh),
        'an update': _on(
            mesh, lambda state, selected: training.train(
                trainer, state, selected, 1), state, selected),
        'evaluation': _on(
            mesh, lambda params: training.learning_curves(
                trainer, params, evaluation), state.params)}
    for name, (program, count) in programs.items():
      case = f'{name} on {num} of {jax.device_count()} devices'
      yield Row('scaling', case, 'time', measure.alone(program, runs).median,
                's')
      yield Row('scaling', case, 'collectives', float(count),
                'in the program')
    num *= 2 if num == 1 else 4
