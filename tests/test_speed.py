"""What programs must be like in order to be fast; no clock is read here."""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
import types as python_types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax.envs import dark_room
from adjax.experiment import clock as clock_lib
from adjax.experiment import data as data_lib
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import references
from adjax.methods import distill
from adjax.methods import training
from adjax.models import transformer
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]
TASKS = dark_room.tasks(dark_room.Config(
    size=5, num_train=10, num_validation=4, num_held_out=4))
SOURCE = references.random(TASKS)
DATA = specification.Data(histories=1, episodes=3)
METHOD = distill.Config(
    epochs=2, updates_per_epoch=2, batch_size=2, length=36)
WINDOW, RUNS = 24, 6


@pytest.mark.on_cpu
def test_a_decoded_step_copies_nothing_of_its_cache():
  """In every loop, a ring is only ever passed on or written to in place."""
  model = transformer.Config(
      layers=2, width=16, heads=2, window=WINDOW, feed_forward=32
  ).make(TASKS.env)
  trainer = METHOD.make(TASKS, SOURCE, model, DATA)
  one = jax.tree.map(lambda x: x[:1], TASKS.validation)
  evaluation = training.Evaluation(
      {'validation': one}, jax.random.key(0), RUNS, num_episodes=6,
      episode_length=20)
  params = jax.eval_shape(trainer.init, jax.random.key(0)).params
  text = jax.jit(
      lambda params: training.evaluate(trainer, params, evaluation)[0]
  ).lower(params).compile().as_text()
  size = RUNS * 2 * WINDOW * 8
  written = 0
  for body in while_bodies(text):
    for line in body:
      found = re.match(
          r'\s+(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([\w-]+)\(', line)
      if not found:
        continue
      name, shapes, op = found.groups()
      rings = [shape for shape in re.findall(r'f32\[([\d,]+)\]', shapes)
               if math.prod(map(int, shape.split(','))) == size]
      if rings and op not in ('get-tuple-element', 'parameter', 'bitcast',
                              'tuple', 'while'):
        assert 'dynamic-update-slice' in name and len(rings) == 1, line
        written += 1
  assert written == 4  # Keys and values of two layers.


def while_bodies(text):
  """The instructions of every loop's body in the text of a program."""
  for name in set(re.findall(r'body=(%[\w.-]+)', text)):
    start = text.index(f'\n{name} (')
    yield text[start:text.index('\n}\n', start)].splitlines()


def test_an_epoch_is_one_program_that_never_meets_the_host():
  """Two epochs of the program that a run has."""
  model = tiny.null_model(TASKS.env)
  trainer = METHOD.make(TASKS, SOURCE, model, DATA)
  keys = setup_lib.Keys(*jax.random.split(jax.random.key(0), 5))
  experiment = python_types.SimpleNamespace(
      data=DATA, evaluate=specification.Evaluate(episodes=2, runs=1))
  data = data_lib.InMemory(
      setup_lib.Setup(
          experiment, TASKS, SOURCE, model, trainer, keys, None),
      clock_lib.Clock(), tiny.Recorder())
  first = jax.jit(jax.vmap(trainer.init))(jax.random.split(keys.train, 2))
  data.compile(first)
  data.begin()
  with jax.transfer_guard('disallow'):
    second, _ = data.epoch(1, first)
    # Not traced again: what it returns is what it takes.
    third, _ = data.epoch(2, second)
  # The memory of the states before is that of the states after.
  assert all(x.is_deleted() for x in jax.tree.leaves((first, second)))
  np.testing.assert_array_equal(third.step, [4, 4])
  assert not re.search(
      r'callback|infeed|outfeed| send\(| recv\(', data._program.as_text())


def test_rotations_made_ahead_are_those_of_the_full_pass():
  times = np.array([0, 1, 63, 5000, 100_000])
  np.testing.assert_allclose(
      transformer.rotary_table(32, times),
      transformer.rotary_table(32, jnp.asarray(times)), atol=1e-5)


PROGRAM = '''
import json, sys
from absl import flags
from adjax.cli import launcher
flags.FLAGS(['program', '--compilation_cache=' + sys.argv[1]])
launcher.prepare()
import jax
from jax import monitoring
events = []
monitoring.register_event_listener(lambda event, **_: events.append(event))
from adjax import histories
from adjax import metrics
from adjax.envs import dark_room
from adjax.learners import tabular_q
tasks = dark_room.tasks()
history, _ = histories.generate(
    tabular_q.Config().make(tasks), tasks.train, jax.random.key(0), 1, 40)
curves = metrics.learning_curves(history.reward, history.done, 2)
print(json.dumps([curves.tolist(), history.action.tolist()] + [
    sum(event.endswith(end) for event in events)
    for end in ('/compile_requests_use_cache', '/cache_hits')]))
'''


@pytest.mark.long
def test_a_second_start_compiles_nothing_and_computes_the_same(tmp_path):
  environment = {name: value for name, value in os.environ.items()
                 if not name.startswith(('JAX_', 'XLA_'))}
  environment['JAX_PLATFORMS'] = 'cpu'
  first, second = (
      json.loads(subprocess.run(
          [sys.executable, '-c', PROGRAM, str(tmp_path)], cwd=ROOT, check=True,
          capture_output=True, text=True, env=environment).stdout)
      for _ in range(2))
  assert first[:2] == second[:2]
  asked, found = second[2:]
  assert asked == found > 5
  assert first[3] < first[2] == asked


CACHED = '''
import jax, json
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
jax.jit(lambda x: x * 2 + 1)(jax.numpy.ones(3)).block_until_ready()
print(sum(event.endswith('/cache_hits') for event in events))
'''


def test_a_bounded_cache_of_programs_is_one(tmp_path):
  """JAX needs filelock for it, and says so in a warning alone."""
  environment = os.environ | {
      'JAX_PLATFORMS': 'cpu', 'JAX_COMPILATION_CACHE_DIR': str(tmp_path),
      'JAX_COMPILATION_CACHE_MAX_SIZE': '1000000000',
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
  first, second = (
      int(subprocess.run([sys.executable, '-c', CACHED], check=True, text=True,
                         capture_output=True, env=environment).stdout)
      for _ in range(2))
  assert first == 0 < second
