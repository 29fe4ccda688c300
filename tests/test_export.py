"""The programs of a run lower for accelerators, on a machine without any.

A few that have in them what others are made of: replay and convolutions, random
numbers by rejection, a transformer over images with seeds vmapped, an LSTM that
is trained online with seeds in a row.
"""

import functools

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import dqn
from adjax.learners import references
from adjax.learners import tabular_q
from adjax.learners import thompson
from adjax.methods import distill
from adjax.methods import rl2
from adjax.methods import training
from adjax.models import lstm
from adjax.models import transformer

PLATFORMS = ('tpu', 'cuda', 'cpu')
FEW = {'num_train': 5, 'num_validation': 2, 'num_held_out': 2}
ROOM = dark_room.tasks(dark_room.Config(size=3, episode_length=6, **FEW))
BANDIT = bandit.tasks(bandit.Config(arms=3, **FEW))
# Viewed as frames, by the networks of its source and of its model.
POOL = watermaze.tasks(watermaze.Config(
    height=8, width=8, episode_length=20, **FEW))
KEY = jax.random.key(0)


def generation(tasks, learner):
  """The program of histories, and what it is given."""
  return jax.jit(lambda tasks, key: histories.generate(
      learner, tasks, key, 2, 25)), (tasks.train, KEY)


def training_epoch(tasks, method, model, selected=None):
  """The program of an epoch, and the shapes of what it is given."""
  source = references.random(tasks)
  trainer = method.make(tasks, source, model, selected and Data())
  evaluation = training.Evaluation(
      {'validation': tasks.validation}, KEY, 1, 2, tasks.episode_length)
  epoch = jax.jit(functools.partial(training.epoch, trainer, evaluation))
  states = jax.eval_shape(jax.vmap(trainer.init), jax.random.split(KEY))
  return epoch, (states, selected) if selected else (states,)


class Data:
  selected_episodes = 2
  starts = 'uniform'


def selected_of(tasks):
  """The shapes of selected episodes, the last two of four."""
  def select(key):
    made = histories.generate(
        references.random(tasks), tasks.train, key, 2,
        4 * tasks.episode_length)
    return histories.select(
        *histories.streams(made), 2, 2, 2 * tasks.episode_length)
  return jax.eval_shape(select, KEY)


def assert_lowers(function, args):
  exported = export.export(function, platforms=PLATFORMS)(*args)
  assert exported.platforms == PLATFORMS
  shapes = jax.tree.leaves(jax.eval_shape(function, *args))
  assert [(x.shape, x.dtype) for x in exported.out_avals] == [
      (x.shape, x.dtype) for x in shapes]


@pytest.mark.parametrize('tasks, source', [
    (POOL, dqn.Config(actors=2, rollout=4, length=4, replay=8, batch_size=2,
                      hidden=(8,), channels=(4,))),
    (BANDIT, thompson.Config())], ids=['dqn', 'thompson'])
def test_the_histories_of_a_source_lower(tasks, source):
  assert_lowers(*generation(tasks, source.make(tasks)))


# Training seeds follow one another on a CPU and are vmapped elsewhere.
def test_an_epoch_of_distillation_lowers(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  model = transformer.Config(
      layers=1, width=16, heads=2, window=8, feed_forward=16, channels=(4,))
  method = distill.Config(
      epochs=1, updates_per_epoch=2, batch_size=2, length=12, warmup=1)
  assert_lowers(*training_epoch(
      POOL, method, model.make(POOL.env), selected_of(POOL)))


def test_an_epoch_of_rl2_lowers(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'cpu')
  method = rl2.Config(epochs=1, updates_per_epoch=2, trials=4, episodes=2,
                      passes=2, minibatches=2)
  assert_lowers(*training_epoch(
      ROOM, method, lstm.Config(layers=1, width=16).make(ROOM.env)))


def test_a_program_that_was_written_down_does_what_it_did():
  pytest.importorskip('flatbuffers')  # jax.export writes with it.
  function, args = generation(ROOM, tabular_q.Config().make(ROOM))
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
