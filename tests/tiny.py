"""Experiments made tiny, and models that compile in a moment."""

import dataclasses
import functools
import json
import pathlib
from unittest import mock

import jax
import jax.numpy as jnp

from adjax import presets
from adjax.experiment import clock
from adjax.experiment import progress
from adjax.experiment import run as run_lib
from adjax.experiment import specification
from adjax.models import lstm
from adjax.models import sequence_model

QUICK = [
    'data.histories=2', 'data.episodes=4', 'model.layers=1', 'model.width=16',
    'model.window=40', 'model.feed_forward=32', 'method.epochs=3',
    'method.updates_per_epoch=4', 'method.batch_size=4', 'method.length=60',
    'evaluate.episodes=5', 'evaluate.runs=1', 'evaluate.train_tasks=3',
    'evaluate.held_out_runs=2', 'evaluate.reference_runs=3', 'seeds=2',
    'tasks.num_validation=7',
]


def quick(*more):
  """The quick preset made tiny; more assignments come in place of these."""
  merged = dict(text.split('=', 1) for text in [*QUICK, *more])
  return specification.override(
      presets.get('quick'), [f'{name}={text}' for name, text in merged.items()])


def preset(name, *assignments):
  """Another preset with few tasks and runs."""
  return specification.override(presets.get(name), [
      'tasks.num_train=6', 'tasks.num_validation=3', 'tasks.num_held_out=3',
      'evaluate.runs=1', 'evaluate.train_tasks=2', 'evaluate.held_out_runs=2',
      'evaluate.reference_runs=4', *assignments])


class Recorder(progress.Progress):
  """Keeps what it is told, and stops the run after an epoch if asked to."""

  def __init__(self, stop_after=None):
    self.said, self._stop_after = [], stop_after

  def say(self, text):
    self.said.append(text)

  def epoch(self, line, epochs, seconds_left):
    if line['epoch'] == self._stop_after:
      raise KeyboardInterrupt


_PROGRAMS = {}


class _SharedClock(clock.Clock):
  """Has each program of an experiment compiled once in a session.

  A run's programs follow from its experiment and its mesh alone, and tracing
  them is most of what a tiny run does.
  """
  experiment = None

  def on(self, mesh):
    other = _SharedClock(mesh)
    other.seconds, other.start = self.seconds, self.start
    return other

  def compile(self, function, *args, **options):
    code = getattr(function, 'func', function).__code__
    key = self.experiment, self.mesh, code, str(jax.tree.map(
        lambda x: (jnp.shape(x), jax.dtypes.result_type(x)), args))
    if key not in _PROGRAMS:
      _PROGRAMS[key] = super().compile(function, *args, **options)
    return _PROGRAMS[key]


def _programs_of(experiment):
  """Tells experiments apart whose programs differ."""
  if experiment.data is not None:
    store = 'STORE' if experiment.data.store else ''
    experiment = dataclasses.replace(experiment, data=dataclasses.replace(
        experiment.data, store=store))
  return experiment


def run(experiment, workdir, stop_after=None, mesh='data:1', share=True):
  """Runs on one device: what was said, and the result or None if stopped."""
  recorder = Recorder(stop_after)
  kind = _SharedClock if share else clock.Clock
  with (mock.patch.object(
      _SharedClock, 'experiment', _programs_of(experiment)),
        mock.patch.object(clock, 'Clock', kind)):
    try:
      result = run_lib.run(experiment, str(workdir), recorder, mesh=mesh)
    except KeyboardInterrupt:
      assert stop_after is not None
      result = None
  return recorder.said, result


def read(workdir):
  """The lines of metrics.jsonl, and result.json."""
  workdir = pathlib.Path(workdir)
  lines = [json.loads(line) for line in
           (workdir / 'metrics.jsonl').read_text().splitlines()]
  return lines, json.loads((workdir / 'result.json').read_text())


def timeless(workdir):
  """All that a run has written but for its clocks and its devices."""
  lines, result = read(workdir)
  for line in lines:
    del line['seconds'], line['transitions_per_s']
  for name in ('seconds', 'throughput', 'device'):
    del result[name]
  return lines, result


class NullModel(sequence_model.SequenceModel):
  """Acts on the last step alone; compiles in a moment."""

  def features(self, inputs, deterministic):
    return self.embedding(inputs, deterministic)

  def next_features(self, inputs, cache):
    return self.embedding(inputs, True), cache

  def empty_cache(self):
    return ()


def null_model(env):
  """Such a model, which is masked at random as others are."""
  return NullModel(lstm.Config(width=8, input_masking=0.3), env)


_MARK = 7.0


def mark(params):
  """Weights [seeds] of which the first seed's are known to `poison`."""
  leaves, tree = jax.tree.flatten(params)
  leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].set(_MARK)
  return jax.tree.unflatten(tree, leaves)


def poison(loss):
  """A loss that is NaN, as is its gradient, for marked weights alone."""
  @functools.wraps(loss)
  def poisoned(params, *args):
    marked = jax.tree.leaves(params)[0].ravel()[0] == _MARK
    return loss(params, *args) * jnp.where(marked, jnp.nan, 1.0)
  return poisoned
