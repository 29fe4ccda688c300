"""Experiments made tiny, and models that compile in a moment."""

import collections
import contextlib
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
from adjax.models import sequence_model


class NullModel(sequence_model.SequenceModel):
  """Acts on the last step alone; compiles in a moment."""

  def features(self, inputs, deterministic):
    return self.embedding(inputs, deterministic)

  def next_features(self, inputs, cache):
    return self.embedding(inputs, True), cache

  def empty_cache(self):
    return ()


@dataclasses.dataclass(frozen=True)
class NullConfig(sequence_model.Config):
  """Of such a model, which is masked at random as others are."""
  width: int = 8
  input_masking: float = 0.3

  def make(self, env):
    return NullModel(self, env)


def null_model(env):
  """Such a model."""
  return NullConfig().make(env)


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


def fast(*more):
  """As quick, with a model that compiles in a moment."""
  fields = [text for text in QUICK if not text.startswith('model.')]
  merged = dict(text.split('=', 1) for text in [*fields, *more])
  return specification.override(
      dataclasses.replace(presets.get('quick'), model=NullConfig()),
      [f'{name}={text}' for name, text in merged.items()])


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

  def __init__(self, mesh=None):
    super().__init__(mesh)
    self._times = collections.Counter()

  def on(self, mesh):
    other = _SharedClock(mesh)
    other.seconds, other.start = self.seconds, self.start
    return other

  def compile(self, function, *args, **options):
    code = getattr(function, 'func', function).__code__
    self._times[code] += 1  # Functions of one code have closures of their own.
    key = self.experiment, self.mesh, code, self._times[code], str(jax.tree.map(
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


@contextlib.contextmanager
def shared_programs(experiment):
  """Within, a run of the experiment takes the programs of those before."""
  with (mock.patch.object(
      _SharedClock, 'experiment', _programs_of(experiment)),
        mock.patch.object(clock, 'Clock', _SharedClock)):
    yield


def run(experiment, workdir, stop_after=None, mesh='data:1'):
  """Runs on one device: what was said, and the result or None if stopped."""
  recorder = Recorder(stop_after)
  with shared_programs(experiment):
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
