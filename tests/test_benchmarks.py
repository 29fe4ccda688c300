"""The benchmarks: their peers learn as ours do, their figures are right."""

import functools
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax import metrics
from adjax import types
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.learners import tabular_q
from adjax.learners import ucb
from experiments.benchmarks import evaluate
from experiments.benchmarks import measure
from experiments.benchmarks import numpy_baseline
from experiments.benchmarks import runs
from experiments.benchmarks import train

ROOT = pathlib.Path(__file__).parents[1]


def test_flops_are_what_a_compiler_counts():
  model = train.make_model(256, 32)
  inputs = jax.tree.map(
      lambda x: jnp.repeat(x, 32, 0), evaluate.one_input(model.env))
  params = model.init(jax.random.key(0), inputs)
  counted = jax.jit(model.apply).lower(
      params, inputs).compile().cost_analysis()['flops']
  # Ours leave out norms and softmaxes, and what is masked.
  ours = train.flops(model.config, 32) / 3 * 32
  assert 0.9 < ours / counted < 1.02


def test_the_numpy_peers_learn_as_ours_do():
  tasks, learners = dark_room.tasks(), 1500
  some = measure.first_tasks(tasks.train, learners)
  ours, _ = histories.generate(
      tabular_q.learner(tabular_q.Config(), tasks), some, jax.random.key(0), 1,
      800)
  curve = np.asarray(metrics.learning_curves(
      ours.reward, ours.done, 40)).mean((0, 1))
  _, _, reward, done = numpy_baseline.tabular_q(
      np.asarray(some.goals[:, 0]), 800, 0)
  assert done.sum(0).tolist() == [40] * learners
  peers = reward.reshape(40, 20, learners).sum(1).mean(1)
  halves = lambda x: x.reshape(2, 20).mean(1)
  np.testing.assert_allclose(halves(curve), halves(peers), atol=0.4)
  assert peers[-10:].mean() > peers[:5].mean() + 3

  arms = bandit.tasks()
  some = measure.first_tasks(arms.train, 2000)
  ours, _ = histories.generate(
      ucb.learner(ucb.Config(), arms), some, jax.random.key(0), 1, 100)
  _, paid = numpy_baseline.ucb(np.asarray(some.means), 100, 0)
  np.testing.assert_allclose(
      ours.reward.sum(-1).mean(), paid.sum(0).mean(), rtol=0.01)


def test_the_pytorch_peer_is_causal_and_learns():
  torch = pytest.importorskip('torch')
  from experiments.benchmarks import torch_baseline
  torch.manual_seed(0)
  shape = {'layers': 1, 'width': 16, 'heads': 2, 'feed_forward': 32}
  model = torch_baseline.Model(**shape, window=12, cells=9, actions=5)
  rng = np.random.default_rng(0)
  obs = rng.integers(0, 9, (8, 40, 2))
  inputs = obs, np.full((8, 40), -1), np.zeros((8, 40), np.float32), np.zeros(
      (8, 40), np.float32)
  with torch.no_grad():
    whole, part = (model(*(torch.tensor(x[:, :n]) for x in inputs))
                   for n in (12, 7))
  np.testing.assert_allclose(whole[:, :7], part, atol=1e-5)
  update = torch_baseline.trainer(model, model, inputs, obs[..., 0] % 5, 8, 12)
  losses = [update() for _ in range(60)]
  assert losses[-1] < 0.7 * losses[0]
  act = torch_baseline.actor(model, model, np.array([[4, 4], [0, 0]]), 12)
  assert 0 <= act(20) <= 40


def test_a_row_is_of_medians_and_a_ratio():
  seconds = measure.measure({'a': lambda: None, 'b': lambda: None}, 5)
  assert [len(spent) for spent in seconds.values()] == [5, 5]
  row = measure.rate('train', 'case', 'x/s', 30, measure.Seconds([3, 1, 2]),
                     'peer', 10, measure.Seconds([2, 1, 4]))
  assert (row.ours, row.peer_value, row.ratio) == (15, 5, 3)
  assert row.spread == (10, 30) and '3.00x' in str(row)


def test_rows_are_printed_and_written(tmp_path):
  path = tmp_path / 'rows.json'
  # Two rows in place of a stage that takes minutes.
  code = f"""
import sys, types
from experiments.benchmarks import __main__ as program
def rows(runs):
  from experiments.benchmarks.measure import Row
  yield Row('train', 'case', 'speed', 2.0, '/s', 'peer', 1.0, 2.0)
  yield Row('train', 'case', 'time', runs, 's')
sys.modules['experiments.benchmarks.train'] = types.SimpleNamespace(rows=rows)
program.launcher.start(program.main, [
    'b', '--stage=train', '--runs=3', '--json={path}'])"""
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True,
                        capture_output=True, text=True)
  assert '2.00x' in done.stdout
  assert json.loads(path.read_text()) == [
      {'stage': 'train', 'case': 'case', 'metric': 'speed', 'ours': 2.0,
       'unit': '/s', 'peer': 'peer', 'peer_value': 1.0, 'ratio': 2.0},
      {'stage': 'train', 'case': 'case', 'metric': 'time', 'ours': 3,
       'unit': 's', 'peer': None, 'peer_value': None, 'ratio': None}]


@pytest.mark.long
def test_the_updates_that_are_timed_are_those_of_an_epoch():
  """The program that is timed trains: all of its updates move the weights."""
  history = types.History(
      jnp.zeros((2, 20, 2), jnp.int8), jnp.zeros((2, 20), jnp.int8),
      jnp.zeros((2, 20)), jnp.zeros((2, 20), bool))
  selected = histories.Selected(history, jnp.int32(20), jnp.int32(2))
  program, compiling = train.train_case(64, 8, selected, 3, batch_size=4)
  state, trained = program()
  assert compiling > 0 and int(state.step) == 3
  assert np.isfinite(trained['loss']).all() and not trained['skipped'].any()
  assert trained['loss'].shape == (3,)
  trainer = train.make_trainer(train.make_model(64, 8), 8, 4)
  first = trainer.init(jax.random.key(0))
  expected = jax.lax.scan(
      lambda state, _: trainer.update(state, histories.gather(
          history, *trainer.subsequences(state.key, 2, 20)[0], 8)),
      first, None, 3)[0]
  jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6),
               state.params, expected.params)
  assert any((a != b).any() for a, b in zip(
      jax.tree.leaves(first.params), jax.tree.leaves(state.params)))


def test_collectives_are_counted_in_the_text_of_a_program():

  class Program:
    def as_text(self):
      return ('  %a = (f32[2]{0}, f32[]) all-reduce(%x, %y), to_apply=%add\n'
              '  %b = f32[2]{0} add(%all-reduce.1, %all-gather.2)\n'
              '  %c = f32[4]{0} all-gather-start(%b)\n')
  assert runs.collectives(Program()) == 2
