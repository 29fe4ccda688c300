"""The benchmark of a store: training from files beside training from memory."""

from collections.abc import Iterator
import dataclasses
import os
import tempfile

import jax
import jax.numpy as jnp

from experiments import benchmark_train
from experiments import configs
from experiments import measure
from experiments import pipeline
from experiments import presets
from experiments import progress
from experiments import training
from experiments.clock import Clock

Row = measure.Row

# Updates of an epoch: two readings or more at each width.
_UPDATES = {64: 200, 256: 60}


def rows(runs: int) -> Iterator[Row]:
  """transitions/s of whole epochs, in turn; the size of what was stored."""
  for width, updates in _UPDATES.items():
    with tempfile.TemporaryDirectory() as folder:
      yield from at(width, updates, os.path.join(folder, 'store'), runs)


def at(width: int, updates: int, folder: str, runs: int) -> Iterator[Row]:
  """The rows of one width."""
  length, batch = benchmark_train.LENGTH, benchmark_train.BATCH
  quick = presets.get('quick')
  experiment = dataclasses.replace(
      quick, data=configs.Data(histories=64, episodes=15),
      model=dataclasses.replace(
          quick.model, **benchmark_train.shape(width), window=length,
          dropout=0.0, input_masking=0.0),
      distill=dataclasses.replace(
          quick.distill, epochs=1, updates_per_epoch=updates,
          batch_size=batch, length=length),
      evaluate=configs.Evaluate(episodes=1, runs=1, train_tasks=1))
  stored = dataclasses.replace(
      experiment, data=dataclasses.replace(experiment.data, store=folder))
  seconds = measure.measure(
      {'memory': epoch(experiment), 'store': epoch(stored)}, runs, budget=60)
  case = f'width {width}, {batch} x {length}, from a store'
  work = updates * batch * length
  yield measure.rate(
      'store', case, 'transitions/s', work, seconds['store'], 'from memory',
      work, seconds['memory'])
  size = sum(os.path.getsize(os.path.join(path, name))
             for path, _, names in os.walk(folder) for name in names)
  tasks = quick.tasks
  steps = 64 * tasks.num_train * 15 * tasks.episode_length
  yield Row('store', case, 'size', size / steps, 'bytes a step')


def epoch(experiment):
  """A function that trains for an epoch, always from the same states."""
  key, clock = jax.random.key(0), Clock()
  mesh = pipeline.make_mesh(experiment)
  tasks = configs.make_tasks(experiment.tasks)
  train = training.make(
      experiment, tasks, configs.make_source(experiment.source, tasks),
      configs.make_model(experiment.model, tasks), key, mesh)
  states = pipeline.init_states(experiment, train, key, mesh)
  train.compile(pipeline.make_evaluation(experiment, tasks, key), states, clock)
  train.begin(clock, progress.Progress(1, quiet=True))
  return lambda: train.epoch(1, jax.tree.map(jnp.copy, states))
