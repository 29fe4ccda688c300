"""The programs of a run lower for accelerators, on a machine without any."""

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import distill
from adjax import histories
from adjax import lstm
from adjax import rl2
from adjax import transformer
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.learners import posterior
from adjax.learners import references
from adjax.learners import rmax
from adjax.learners import tabular_q
from adjax.learners import thompson
from adjax.learners import ucb

PLATFORMS = ('tpu', 'cuda', 'cpu')
FEW = {'num_train': 5, 'num_validation': 2, 'num_held_out': 2}
TASKS = {
    'room': dark_room.tasks(dark_room.Config(size=3, episode_length=6, **FEW)),
    'bandit': bandit.tasks(bandit.Config(arms=3, **FEW)),
    # Seen as frames, by the networks of its source and of its model.
    'pool': watermaze.tasks(watermaze.Config(
        height=8, width=8, episode_length=20, **FEW)),
}
SOURCES = {
    'tabular_q': (tabular_q, tabular_q.Config(), 'room'),
    'posterior': (posterior, posterior.Config(), 'room'),
    'rmax': (rmax, rmax.Config(sweeps=2), 'room'),
    'actor_critic': (
        actor_critic, actor_critic.Config(actors=2, rollout=3, hidden=(8,)),
        'room'),
    'dqn': (dqn, dqn.Config(actors=2, rollout=4, length=4, replay=8,
                            batch_size=2, hidden=(8,), channels=(4,)), 'pool'),
    'ucb': (ucb, ucb.Config(), 'bandit'),
    'thompson': (thompson, thompson.Config(), 'bandit'),
}
MODELS = {
    'transformer': lambda env: transformer.Transformer(transformer.Config(
        layers=1, width=16, heads=2, window=8, feed_forward=16, channels=(4,)),
                                                       env),
    'lstm': lambda env: lstm.LSTM(
        lstm.Config(layers=1, width=16, channels=(4,)), env),
}
CONFIG = distill.Config(
    epochs=1, updates_per_epoch=2, batch_size=2, length=12, warmup=1)
KEY = jax.random.key(0)


def evaluation(tasks):
  return distill.Evaluation(
      tasks.env, {'validation': tasks.validation}, KEY, 1, 2,
      tasks.episode_length)


def generation(tasks, learner):
  """The program of histories, and what it is given."""
  function = jax.jit(lambda tasks, key: histories.generate(
      learner, tasks, key, 2, 25))
  return function, (tasks.train, KEY)


def states(init, *args):
  """The shapes of two training seeds' states."""
  return jax.eval_shape(
      jax.vmap(init, (0, *[None] * len(args))), jax.random.split(KEY), *args)


def distillation(tasks, model):
  """The program of an epoch, and the shapes of what it is given."""
  generate, args = generation(tasks, references.random(tasks))
  history = jax.eval_shape(
      lambda *args: histories.streams(generate(*args)), *args)
  epoch = distill.make_epoch(CONFIG, model, evaluation(tasks))
  return epoch, (states(lambda key, history: distill.init(
      CONFIG, model, history, key), history), history)


def assert_lowers(function, args):
  exported = export.export(function, platforms=PLATFORMS)(*args)
  assert exported.platforms == PLATFORMS
  shapes = jax.tree.leaves(jax.eval_shape(function, *args))
  assert [(x.shape, x.dtype) for x in exported.out_avals] == [
      (x.shape, x.dtype) for x in shapes]


@pytest.mark.parametrize('name', sorted(SOURCES))
def test_the_histories_of_a_source_lower(name):
  module, config, where = SOURCES[name]
  assert_lowers(*generation(
      TASKS[where], module.learner(config, TASKS[where])))


# Training seeds follow one another on a CPU and are vmapped elsewhere.
@pytest.mark.parametrize('backend', ['cpu', 'tpu'])
@pytest.mark.parametrize('name', sorted(MODELS))
@pytest.mark.parametrize('where', sorted(TASKS))
def test_an_epoch_of_distillation_lowers(monkeypatch, where, name, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  assert_lowers(*distillation(TASKS[where], MODELS[name](TASKS[where].env)))


@pytest.mark.parametrize('backend', ['cpu', 'tpu'])
@pytest.mark.parametrize('name', sorted(MODELS))
def test_an_epoch_of_rl2_lowers(monkeypatch, name, backend):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  tasks = TASKS['room']
  model = MODELS[name](tasks.env)
  config = rl2.Config(epochs=1, updates_per_epoch=2, trials=4, episodes=2,
                      passes=2, minibatches=2)
  epoch = rl2.make_epoch(config, model, tasks, evaluation(tasks))
  assert_lowers(epoch, (states(
      lambda key: rl2.init(config, model, tasks, key)),))


@pytest.mark.parametrize('name', sorted(MODELS))
@pytest.mark.parametrize('where', sorted(TASKS))
def test_a_life_in_context_lowers(where, name):
  tasks = TASKS[where]
  model = MODELS[name](tasks.env)
  _, (state, _) = distillation(tasks, model)
  params = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state.params)
  life = jax.jit(lambda params, tasks_, key: distill.evaluate(
      tasks.env, model, params, tasks_, key, 2, 12))
  assert_lowers(life, (params, tasks.held_out, KEY))


def test_a_program_that_was_written_down_does_what_it_did():
  pytest.importorskip('flatbuffers')  # jax.export writes with it.
  tasks = TASKS['room']
  function, args = generation(tasks, tabular_q.learner(
      tabular_q.Config(), tasks))
  leaves, tree = jax.tree.flatten(args)
  # Arrays alone: a file knows no classes of ours.
  plain = jax.jit(lambda *leaves: jax.tree.leaves(
      function(*jax.tree.unflatten(tree, leaves))))
  written = export.export(plain, platforms=PLATFORMS)(*leaves).serialize()
  found = export.deserialize(written).call(*leaves)
  for x, y in zip(found, jax.tree.leaves(function(*args)), strict=True):
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)
  assert jnp.unique(found[1]).size > 1  # Actions, and not one alone.
