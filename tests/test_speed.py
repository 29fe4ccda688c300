"""What programs must be like in order to be fast; no clock is read here."""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import distill
from adjax import histories
from adjax import transformer
from adjax.envs import dark_room
from adjax.learners import tabular_q

ROOT = pathlib.Path(__file__).parents[1]
TASKS = dark_room.tasks(dark_room.Config(
    size=5, num_train=10, num_validation=4, num_held_out=4))
WINDOW, ENVIRONMENTS = 24, 6
MODEL = transformer.Transformer(
    transformer.Config(layers=2, width=16, heads=2, window=WINDOW,
                       feed_forward=32), TASKS.env)
CONFIG = distill.Config(epochs=2, updates_per_epoch=4, batch_size=4, length=36)


@pytest.fixture(scope='module')
def history():
  return histories.streams(histories.generate(
      tabular_q.learner(tabular_q.Config(), TASKS), TASKS.train,
      jax.random.key(0), 2, 60))


def make_states(history):
  return jax.vmap(lambda key: distill.init(CONFIG, MODEL, history, key))(
      jax.random.split(jax.random.key(1), 1))


def while_bodies(text):
  """The instructions of every loop's body in the text of a program."""
  for name in set(re.findall(r'body=(%[\w.-]+)', text)):
    start = text.index(f'\n{name} (')
    yield text[start:text.index('\n}\n', start)].splitlines()


def test_a_decoded_step_copies_nothing_of_its_cache(history):
  """In every loop, a ring is only ever passed on or written to in place."""
  params = jax.tree.map(lambda x: x[0], make_states(history).params)
  one = jax.tree.map(lambda x: x[:1], TASKS.validation)
  text = jax.jit(lambda params: distill.evaluate(
      TASKS.env, MODEL, params, one, jax.random.key(0), ENVIRONMENTS, 120)
                 ).lower(params).compile().as_text()
  size = ENVIRONMENTS * 2 * WINDOW * 8
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


def test_an_epoch_is_traced_once_and_never_meets_the_host(
    history, monkeypatch):
  traced = []
  update = distill.update
  monkeypatch.setattr(
      distill, 'update', lambda *args: traced.append(0) or update(*args))
  evaluation = distill.Evaluation(
      TASKS.env, {'validation': TASKS.validation}, jax.random.key(2), 1, 2, 20)
  epoch = distill.make_epoch(CONFIG, MODEL, evaluation)
  states = make_states(history)
  states, _ = epoch(states, history)
  times = len(traced)
  with jax.transfer_guard('disallow'):
    states, _ = epoch(states, history)
  assert len(traced) == times
  text = epoch.lower(states, history).compile().as_text()
  assert not re.search(r'callback|infeed|outfeed| send\(| recv\(', text)


def test_sets_of_tasks_live_in_one_loop_as_they_would_alone(history):
  params = jax.tree.map(lambda x: x[0], make_states(history).params)
  args = jax.random.key(0), 2, 40
  every, apart = distill.together(
      {'a': TASKS.validation, 'b': TASKS.held_out})
  together = apart(jax.jit(lambda params: distill.evaluate(
      TASKS.env, MODEL, params, every, *args))(params))
  alone = jax.jit(lambda params: distill.evaluate(
      TASKS.env, MODEL, params, TASKS.validation, *args))(params)
  jax.tree.map(np.testing.assert_array_equal, together['a'], alone)
  assert together['b'].done.shape == (4, 2, 40)
  jax.tree.map(np.testing.assert_array_equal,
               apart(every), {'a': TASKS.validation, 'b': TASKS.held_out})


def test_rotations_made_ahead_are_those_of_the_full_pass():
  times = np.array([0, 1, 63, 5000, 100_000])
  np.testing.assert_allclose(
      transformer.turn(32, times), transformer.turn(32, jnp.asarray(times)),
      atol=1e-5)


PROGRAM = '''
import json, sys
from absl import flags
from experiments import cli
flags.FLAGS(['program', '--compilation_cache=' + sys.argv[1]])
cli.prepare()
import jax
from jax import monitoring
events = []
monitoring.register_event_listener(lambda event, **_: events.append(event))
from adjax import in_context
from tests import test_speed as t
history = t.histories.streams(t.histories.generate(
    t.tabular_q.learner(t.tabular_q.Config(), t.TASKS), t.TASKS.train,
    jax.random.key(0), 2, 60))
sequences = in_context.inputs_of(history), history.action
state = jax.jit(lambda key: t.distill.init(t.CONFIG, t.MODEL, history, key))(
    jax.random.key(1))
losses = jax.jit(lambda state: jax.lax.scan(
    lambda state, _: t.distill.update(t.CONFIG, t.MODEL, state, sequences),
    state, None, 5)[1]['loss'])(state)
print(json.dumps([losses.tolist(), history.action.tolist()] + [
    sum(event.endswith(end) for event in events)
    for end in ('/compile_requests_use_cache', '/cache_hits')]))
'''


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


def test_a_processor_is_as_many_devices_as_divide_a_batch(monkeypatch):
  from adjax import config as config_lib
  from experiments import cli
  from experiments import pipeline
  from experiments import presets
  for cores, devices in ((1, 1), (2, 2), (6, 4), (8, 8), (96, 8)):
    monkeypatch.setattr(cli.os, 'sched_getaffinity',
                        lambda _, cores=cores: range(cores), raising=False)
    assert cli.cpu_devices() == devices
  monkeypatch.setattr(pipeline.jax, 'default_backend', lambda: 'cpu')
  monkeypatch.setattr(pipeline.jax, 'device_count', lambda: 4)
  monkeypatch.setattr(
      pipeline.sharding, 'mesh',
      lambda count: mock.Mock(size=count, shape={'data': count}))
  def devices_for(size):
    mesh = pipeline.make_mesh(config_lib.override(
        presets.get('quick'), [f'distill.batch_size={size}']))
    return mesh and mesh.size
  assert [devices_for(size) for size in (16, 6, 5)] == [4, 2, None]


def test_flops_are_what_a_compiler_counts():
  from experiments import benchmark_evaluate
  from experiments import benchmark_train
  model = benchmark_train.make_model(256, 32)
  inputs = jax.tree.map(
      lambda x: jnp.repeat(x, 32, 0), benchmark_evaluate.one_input(model.env))
  params = model.init(jax.random.key(0), inputs)
  counted = jax.jit(model.apply).lower(
      params, inputs).compile().cost_analysis()['flops']
  # Ours leave out norms and softmaxes, and what is masked.
  ours = benchmark_train.flops(model.config, 32) / 3 * 32
  assert 0.9 < ours / counted < 1.02


def test_the_numpy_peers_learn_as_ours_do():
  from adjax import metrics
  from adjax.envs import bandit
  from adjax.learners import ucb
  from experiments import numpy_twin
  tasks, learners = dark_room.tasks(), 1500
  some = jax.tree.map(lambda x: jnp.resize(x, (learners, *x.shape[1:])),
                      tasks.train)
  ours = histories.generate(
      tabular_q.learner(tabular_q.Config(), tasks), some, jax.random.key(0), 1,
      800)
  curve = np.asarray(metrics.learning_curves(
      ours.reward, ours.done, 40)).mean((0, 1))
  _, _, reward, done = numpy_twin.tabular_q(
      np.asarray(some.goals[:, 0]), 800, 0)
  assert done.sum(0).tolist() == [40] * learners
  peers = reward.reshape(40, 20, learners).sum(1).mean(1)
  halves = lambda x: x.reshape(2, 20).mean(1)
  np.testing.assert_allclose(halves(curve), halves(peers), atol=0.4)
  assert peers[-10:].mean() > peers[:5].mean() + 3

  law = bandit.tasks()
  some = jax.tree.map(lambda x: x[:2000], law.train)
  ours = histories.generate(
      ucb.learner(ucb.Config(), law), some, jax.random.key(0), 1, 100)
  _, paid = numpy_twin.ucb(np.asarray(some.means), 100, 0)
  np.testing.assert_allclose(
      ours.reward.sum(-1).mean(), paid.sum(0).mean(), rtol=0.01)


def test_the_pytorch_peer_is_causal_and_learns():
  torch = pytest.importorskip('torch')
  from experiments import torch_twin
  torch.manual_seed(0)
  shape = {'layers': 1, 'width': 16, 'heads': 2, 'feed_forward': 32}
  model = torch_twin.Model(**shape, window=12, cells=9, actions=5)
  rng = np.random.default_rng(0)
  obs = rng.integers(0, 9, (8, 40, 2))
  inputs = obs, np.full((8, 40), -1), np.zeros((8, 40), np.float32), np.zeros(
      (8, 40), np.float32)
  with torch.no_grad():
    whole, part = (model(*(torch.tensor(x[:, :n]) for x in inputs))
                   for n in (12, 7))
  np.testing.assert_allclose(whole[:, :7], part, atol=1e-5)
  update = torch_twin.trainer(model, model, inputs, obs[..., 0] % 5, 8, 12)
  losses = [update() for _ in range(60)]
  assert losses[-1] < 0.7 * losses[0]
  act = torch_twin.actor(model, model, np.array([[4, 4], [0, 0]]), 12)
  assert 0 <= act(20) <= 40


def test_a_benchmark_prints_rows_and_writes_them(tmp_path):
  from experiments import measure
  seconds = measure.measure({'a': lambda: None, 'b': lambda: None}, 5)
  assert [len(spent) for spent in seconds.values()] == [5, 5]
  row = measure.rate('train', 'case', 'x/s', 30, measure.Seconds([3, 1, 2]),
                     'peer', 10, measure.Seconds([2, 1, 4]))
  assert (row.ours, row.peer_value, row.ratio) == (15, 5, 3)
  assert row.spread == (10, 30) and '3.00x' in str(row)
  path = tmp_path / 'rows.json'
  # Two rows in place of a stage that takes minutes.
  code = f"""
from absl import flags
from experiments import benchmark, cli
flags.FLAGS(['b', '--stage=train', '--runs=3', '--json={path}'])
cli.prepare()
cli.prepare = lambda: None  # Not twice.
from experiments import benchmark_train, measure
benchmark_train.rows = lambda runs: [
    measure.Row('train', 'case', 'speed', 2.0, '/s', 'peer', 1.0, 2.0),
    measure.Row('train', 'case', 'time', runs, 's')]
raise SystemExit(benchmark.main(['b']))"""
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
  assert json.loads(path.read_text()) == [
      {'stage': 'train', 'case': 'case', 'metric': 'speed', 'ours': 2.0,
       'unit': '/s', 'peer': 'peer', 'peer_value': 1.0, 'ratio': 2.0},
      {'stage': 'train', 'case': 'case', 'metric': 'time', 'ours': 3,
       'unit': 's', 'peer': None, 'peer_value': None, 'ratio': None}]


def test_collectives_are_counted_in_the_text_of_a_program():
  from experiments import benchmark_runs

  class Program:
    def as_text(self):
      return ('  %a = (f32[2]{0}, f32[]) all-reduce(%x, %y), to_apply=%add\n'
              '  %b = f32[2]{0} add(%all-reduce.1, %all-gather.2)\n'
              '  %c = f32[4]{0} all-gather-start(%b)\n')
  assert benchmark_runs.collectives(Program()) == 2
