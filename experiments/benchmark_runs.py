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

from adjax import distill
from adjax import histories
from adjax import in_context
from adjax import sharding
from adjax.envs import dark_room
from adjax.learners import tabular_q
from experiments import benchmark_evaluate
from experiments import benchmark_train
from experiments import measure
from experiments import presets

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
    epochs = presets.get('dark_room').distill.epochs
    once = run(folder, 'dark_room', '--set=distill.epochs=1')
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
  history = benchmark_train.some_history()
  yield from _tasks(runs)
  yield from _episodes(runs)
  yield from _window(history, runs)
  yield from _seeds(history, runs)
  yield from devices(runs)


def _learning(tasks: Any, mesh: Any, steps: int = 200) -> Any:
  """A program of tabular Q on some tasks."""
  source = tabular_q.learner(tabular_q.Config(), dark_room.tasks())
  return jax.jit(lambda tasks, key: histories.generate(
      source, tasks, key, 1, steps, mesh)).lower(
          tasks, jax.random.key(0)).compile()


def _tasks(runs):
  train = dark_room.tasks().train
  for num in (256, 2048, 16384):
    tasks = measure.first_tasks(train, num)
    program = _learning(tasks, measure.mesh())
    seconds = measure.alone(
        lambda program=program, tasks=tasks: program(
            tasks, jax.random.key(0)), runs)
    yield Row('scaling', f'histories, {num} tasks x 200 steps', 'time',
              seconds.median, 's')


def _episodes(runs):
  env = dark_room.DarkRoom()
  model = benchmark_train.make_model(64, 100)
  params = model.init(jax.random.key(0), benchmark_evaluate.one_input(env))
  learner = in_context.in_context(env, model, params)
  for episodes in (10, 160):
    program = benchmark_evaluate.lives(learner, 64, 20 * episodes)
    yield Row('scaling', f'evaluation, 64 lives of {episodes} episodes', 'time',
              measure.alone(program, runs).median, 's')


def _window(history, runs):
  for window in (100, 200, 800):
    program, _ = benchmark_train.train_case(
        64, window, history, 2, 6400 // window)
    yield Row('scaling', f'training, W = L = {window}, 6400 transitions',
              'time of an update',
              measure.alone(program, runs).median / 2, 's')


def _seeds(history, runs):
  model = benchmark_train.make_model(64, 100)
  config = distill.Config(batch_size=16, length=100)
  for seeds in (1, 2, 4):
    states = jax.vmap(lambda key: distill.init(config, model, history, key))(
        jax.random.split(jax.random.key(0), seeds))
    states, data = sharding.replicate((states, history), measure.mesh())

    def train(states, history):
      sequences = in_context.inputs_of(history), history.action
      return sharding.over_seeds(lambda state: jax.lax.scan(
          lambda state, _: distill.update(
              config, model, state, sequences, measure.mesh()),
          state, None, 10))(states)

    program, _ = measure.compiled(train, states, data)
    yield Row('scaling', f'training, {seeds} seeds, batch 16 x 100',
              'time of an update',
              measure.alone(program, runs).median / 10, 's')


_COLLECTIVE = re.compile(
    r' (all-reduce|all-gather|all-to-all|reduce-scatter|'
    r'collective-permute)(-start)?\(')


def collectives(program: Any) -> int:
  """How many places of a compiled program communicate between devices."""
  return len(_COLLECTIVE.findall(program.as_text()))


def devices(runs: int, count: int = 8) -> Rows:
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
           'from experiments import benchmark_runs as b\n'
           f'rows = [dataclasses.asdict(r) for r in b.devices({runs})]\n'
           f'json.dump(rows, open({path!r}, "w"))'],
          {name: value for name, value in os.environ.items()
           if name != 'XLA_FLAGS'})
      with open(path, encoding='utf-8') as file:
        yield from (Row(**row) for row in json.load(file))
    return
  tasks = measure.first_tasks(dark_room.tasks().train, 1024)
  history, env = benchmark_train.some_history(), dark_room.DarkRoom()
  model = benchmark_train.make_model(64, 100)
  config = distill.Config(length=100)
  state = distill.init(config, model, history, jax.random.key(0))
  validation = dark_room.tasks().validation
  num = 1
  while num <= jax.device_count():
    mesh = sharding.mesh(num)
    laid_state, laid = sharding.replicate((state, history), mesh)
    programs = {
        'histories': (_learning(tasks, mesh), (tasks, jax.random.key(0))),
        'an update': (
            jax.jit(lambda state, history, mesh=mesh: distill.update(
                config, model, state,
                (in_context.inputs_of(history), history.action), mesh)
                    ).lower(laid_state, laid).compile(), (laid_state, laid)),
        'evaluation': (
            jax.jit(lambda params, mesh=mesh: distill.evaluate(
                env, model, params, validation, jax.random.key(0), 8, 100,
                mesh=mesh)).lower(laid_state.params).compile(),
            (laid_state.params,))}
    for name, (program, args) in programs.items():
      seconds = measure.alone(
          lambda program=program, args=args: program(*args), runs)
      case = f'{name} on {num} of {jax.device_count()} devices'
      yield Row('scaling', case, 'time', seconds.median, 's')
      yield Row('scaling', case, 'collectives', float(collectives(program)),
                'in the program')
    num *= 2 if num == 1 else 4
