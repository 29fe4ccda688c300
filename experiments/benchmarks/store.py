"""The benchmark of a store: training from files beside training from memory."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import os
import tempfile
from typing import Any

import jax
import jax.numpy as jnp

from adjax import devices
from adjax import presets
from adjax.experiment import specification
from experiments import training
from experiments.benchmarks import measure
from experiments.benchmarks import train

Row = measure.Row

# Updates of an epoch: two readings or more at each width.
_UPDATES = {64: 200, 256: 60}


def rows(runs: int) -> Iterator[Row]:
  """transitions/s of whole epochs, in turn; the size of what was stored."""
  for width, updates in _UPDATES.items():
    with tempfile.TemporaryDirectory() as folder:
      yield from at(width, updates, os.path.join(folder, 'store'), runs)


def at(width: int, updates: int, folder: str, runs: int) -> Iterator[Row]:
  """The rows of one width.

  Args:
    width: D.
    updates: of an epoch.
    folder: for the store.
    runs: timed epochs.
  """
  length, batch = train.LENGTH, train.BATCH
  quick = presets.get('quick')
  experiment = dataclasses.replace(
      quick, data=specification.Data(histories=64, episodes=15),
      model=dataclasses.replace(
          quick.model, **train.shape(width), window=length, dropout=0.0,
          input_masking=0.0),
      method=dataclasses.replace(
          quick.method, epochs=1, updates_per_epoch=updates, batch_size=batch,
          length=length),
      evaluate=specification.Evaluate(episodes=1, runs=1, train_tasks=1))
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


def epoch(experiment: specification.Experiment) -> Callable[[], Any]:
  """A function that trains for an epoch, always from the same states."""
  setup, clock, data, states = training.begin(experiment)
  copy = clock.compile(  # An epoch may take its states for its own.
      lambda states: jax.tree.map(jnp.copy, states), states,
      out_shardings=devices.by_seed(setup.mesh))
  return lambda: data.epoch(1, jax.block_until_ready(copy(states)))
