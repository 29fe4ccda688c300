"""Finished runs, evaluated in other ways: the sets that figures ask for."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from adjax import types
from adjax.cli import launcher
from adjax.envs import dark_room
from adjax.experiment import clock as clock_lib
from adjax.experiment import keep
from adjax.experiment import run as run_lib
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import references
from adjax.learners import stepping
from experiments.reproduce import cells
from experiments.reproduce import changes
from experiments.reproduce import evaluations
from experiments.reproduce import figures
from experiments.reproduce import more
from experiments.reproduce import plan
from experiments.reproduce import prompt
from experiments.reproduce import sets
from experiments.reproduce import trained
from experiments.results import pack
from experiments.results import row as row_lib

TASKS = dark_room.Config(
    size=3, episode_length=5, num_train=3, num_validation=1,
    num_held_out=5).make()


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """A run of two seeds that never trained, and what it earned."""
  folder = tmp_path_factory.mktemp('run')
  experiment = tiny.fast()
  setup, clock = setup_lib.make(experiment, 'data:1'), clock_lib.Clock()
  states = run_lib.init_states(setup, clock)
  program = run_lib.compile_held_out(setup, clock, states)
  curves, _ = program(states.params)['held_out']
  earned = dict.fromkeys(('return_mean', 'ci95', 'optimum'))
  keep.weights(setup, states.params, {'held_out': earned, 'versions': {}},
               str(folder / 'weights.npz'))
  return trained.load(str(folder), experiment), np.asarray(curves)


@pytest.fixture
def run(finished, monkeypatch):
  """It, evaluated as often as it was."""
  monkeypatch.setattr(evaluations, '_RUNS', finished[1].shape[2])
  return finished[0]


def test_at_its_own_temperature_a_run_earns_what_it_did(
    run, finished, monkeypatch):
  monkeypatch.setattr(evaluations, 'TEMPERATURES', (0.0, 1.0))
  found = evaluations.temperatures(run)
  own, greedy = (pack.unpack(found[f'temperature_{x}']['returns'])
                 for x in (1, 0))
  np.testing.assert_array_equal(own, finished[1])
  # From one cell, the likeliest action is the same in each run.
  assert (greedy == greedy[:, :, :1]).all() and (own != own[:, :, :1]).any()
  assert greedy.shape == own.shape
  best = jax.vmap(run.tasks.optimal_return)(run.tasks.held_out)
  assert found['temperature_0']['optimum'] == best.tolist()


def test_a_longer_evaluation_begins_as_a_short_one(run, finished, monkeypatch):
  monkeypatch.setattr(evaluations, '_EPISODES', 12)
  long = pack.unpack(evaluations.long(run)['long']['returns'])
  episodes = run.evaluate.episodes
  assert long.shape[-1] == 12 > episodes
  np.testing.assert_array_equal(long[..., :episodes], finished[1])


def test_after_better_policies_there_is_more_to_see(run, monkeypatch):
  for name, value in dict(_GIVEN=4, _EPISODES=3, _RUNS=2).items():
    monkeypatch.setattr(prompt, name, value)
  found = prompt.sets(run)
  shares = [told['given'] for told in found.values()]
  assert list(found) == [prompt.name_of(share) for share in prompt.SHARES]
  assert shares == sorted(shares) and shares[0] < .3 and shares[-1] > .7
  for told in found.values():
    assert pack.unpack(told['returns']).shape == (
        len(run.params), len(told['optimum']), 2, 3)


def test_each_action_becomes_another():
  found = changes.permutations(20, 5, 0)
  assert (np.sort(found) == np.arange(5)).all()
  assert (found != np.arange(5)).all() and len(np.unique(found, axis=0)) > 5
  np.testing.assert_array_equal(found[:3], changes.permutations(3, 5, 0))
  assert (found != changes.permutations(20, 5, 1)).any()


def test_with_its_own_actions_a_run_earns_what_it_did(
    run, finished, monkeypatch):
  """And with others it does not."""
  monkeypatch.setattr(changes, '_RUNS', finished[1].shape[2])
  earned = lambda: pack.unpack(changes.permuted(run)['permuted']['returns'])
  assert (earned() != finished[1]).any()
  monkeypatch.setattr(changes, 'permutations', lambda num, actions, seed:
                      np.tile(np.arange(actions), (num, 1)))
  np.testing.assert_array_equal(earned(), finished[1])


def test_a_permuted_action_does_what_another_did():
  """And is called what it is called: nobody sees what it became."""
  permutation = jnp.array([1, 2, 3, 4, 0])
  task = jax.tree.map(lambda x: x[0], TASKS.held_out)

  def history(env, task, shift):
    walk = stepping.policy(env, lambda task, actor, time, key: (
        jax.random.randint(key, (), 0, 5) + shift) % 5)
    return types.unroll(walk, task, jax.random.key(0), 40)[0]

  permuted = history(changes.PermutedActions(TASKS.env), (task, permutation), 0)
  plain = history(TASKS.env, task, 1)
  for name in 'obs', 'reward', 'done':
    np.testing.assert_array_equal(
        getattr(permuted, name), getattr(plain, name))
  np.testing.assert_array_equal(permutation[permuted.action], plain.action)


def test_what_moves_to_itself_has_not_moved():
  walk = references.random_walk_with_memory(TASKS)
  task = jax.tree.map(lambda x: x[0], TASKS.held_out)
  key = jax.random.key(0)
  for a, b in zip(
      types.unroll(walk, task, key, 40)[0],
      types.unroll(
          changes.switch_task_after(walk, 15), (task, task), key, 40)[0]):
    np.testing.assert_array_equal(a, b)
  with pytest.raises(ValueError, match=r'^steps=15: must be a multiple of '
                     'steps_per_call=2'):
    changes.switch_task_after(walk._replace(steps_per_call=2), 15)


def test_what_is_earned_is_told_by_the_goal_that_is_there(run):
  """Of one who is told it: the optimum of each task, before and after."""
  oracle = references.oracle(TASKS)
  setup = run.setup._replace(
      tasks=TASKS, source=oracle, trainer=run.setup.trainer._replace(
          learner=lambda params, temperature: oracle))
  found = changes.moved(run._replace(setup=setup))['moved']
  best = np.array(found['optimum'])
  assert len(set(best)) > 1
  returns = pack.unpack(found['returns'])
  seeds, episodes = len(run.params), returns.shape[-1]
  assert returns.shape[:2] == (seeds, 5) and episodes > changes.BEFORE
  assert (returns == best[:, None, None]).all()
  source = found['source']
  assert (pack.unpack(source['per_task']) == best[:, None]).all()
  np.testing.assert_allclose(source['return_mean'], best.mean(), atol=1e-4)
  # A walk goes back to where nothing is any more.
  walk = found['random_walk_with_memory']['return_mean']
  assert np.mean(walk[15:20]) > walk[20]


def test_figures_have_all_that_they_ask_for(monkeypatch):
  """Of names alone: what makes a set is not called."""
  monkeypatch.setattr(sets, 'MAKERS', tuple(
      (names, lambda run, names=names: {name: {} for name in names})
      for names, _ in sets.MAKERS))
  monkeypatch.setattr(trained, 'load', lambda folder, experiment: None)
  some = 0
  for which in plan.runs(figures.FIGURES, 'cpu'):
    described = specification.describe(which.experiment('cpu'))
    made = sets.more('', described)
    if not which.preset.startswith('bandit'):
      assert sets.wanted(cells.identity(which, 'cpu')) - {
          'held_out'} <= made.keys(), which
    some += bool(made)
  assert some > 5 and sets.more('', specification.describe(
      cells.cell('watermaze').experiment('cpu'))) == {}


def test_what_figures_ask_for_is_added_to_a_row(tmp_path, monkeypatch, capsys):
  config = specification.describe(cells.cell('quick').experiment('cpu'))
  own, other = ({'format': 1, 'name': name, 'configuration': x, 'sets': {
      'held_out': 1}} for name, x in (('own', config), ('other', {})))
  rows = tmp_path / 'rows'
  for row in own, other:
    row_lib.write(row, rows)
  (tmp_path / 'config.json').write_text(json.dumps({'config': config}))
  monkeypatch.setattr(row_lib, 'FOLDER', rows)
  monkeypatch.setattr(launcher, 'prepare', lambda: None)
  monkeypatch.setattr(sets, 'more', lambda folder, config: {
      'long': [folder, config]})
  assert more.main([str(tmp_path)]) == 0
  assert capsys.readouterr().out == f'{rows / "own.json"}: long\n'
  assert row_lib.everything(rows) == {'other': other, 'own': own | {
      'sets': {'held_out': 1, 'long': [str(tmp_path), config]}}}
  (rows / 'own.json').unlink()
  with pytest.raises(ValueError, match='must be of a run that has a row'):
    more.main([str(tmp_path)])
  with pytest.raises(ValueError, match=r'^arguments=.*: must be a WORKDIR'):
    more.main([])
