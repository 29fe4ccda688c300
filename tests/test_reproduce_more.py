"""Finished runs, evaluated in other ways: the sets that figures ask for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from adjax import types
from adjax.envs import dark_room
from adjax.experiment import clock as clock_lib
from adjax.experiment import keep
from adjax.experiment import run as run_lib
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import references
from adjax.learners import stepping
from experiments.reproduce import attention
from experiments.reproduce import cells
from experiments.reproduce import changes
from experiments.reproduce import evaluations
from experiments.reproduce import figures
from experiments.reproduce import more
from experiments.reproduce import prompt
from experiments.reproduce import trained
from experiments.results import pack

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


def test_each_action_becomes_another():
  found = changes.permutations(20, 5)
  assert (np.sort(found) == np.arange(5)).all()
  assert (found != np.arange(5)).all() and len(np.unique(found, axis=0)) > 5
  np.testing.assert_array_equal(found[:3], changes.permutations(3, 5))


def test_a_permuted_action_does_what_another_did():
  """And is called what it is called: nobody sees what it became."""
  permutation = jnp.array([1, 2, 3, 4, 0])
  task = jax.tree.map(lambda x: x[0], TASKS.held_out)

  def history(env, task, shift):
    walk = stepping.policy(env, lambda task, actor, time, key: (
        jax.random.randint(key, (), 0, 5) + shift) % 5)
    return types.unroll(walk, task, jax.random.key(0), 40)[0]

  permuted = history(changes.Permuted(TASKS.env), (task, permutation), 0)
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
      types.unroll(changes.moving(walk, 15), (task, task), key, 40)[0]):
    np.testing.assert_array_equal(a, b)


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
  names = {
      (prompt, 'sets'): map(prompt.name_of, prompt.SHARES),
      (attention, 'sets'): attention.KINDS,
      (evaluations, 'temperatures'): map(
          evaluations.name_of, evaluations.TEMPERATURES),
      (evaluations, 'long'): ['long'], (changes, 'moved'): ['moved'],
      (changes, 'permuted'): ['permuted']}
  for (module, name), made in names.items():
    made = {key: {} for key in made}
    monkeypatch.setattr(module, name, lambda run, made=made: made)
  monkeypatch.setattr(trained, 'load', lambda folder, experiment: None)
  asked = {}
  for figure in figures.FIGURES.values():
    for pick in figure._picks():
      asked.setdefault(pick.cell, set()).add(pick.tasks)
  some = 0
  for which, wanted in asked.items():
    experiment = which.experiment('cpu')
    made = more.sets('', specification.describe(experiment))
    if not which.preset.startswith('bandit'):
      assert wanted - {'held_out'} <= made.keys(), which
    some += bool(made)
  assert some > 5 and more.sets('', specification.describe(
      cells.cell('watermaze').experiment('cpu'))) == {}
