"""The example in one file runs, decodes what it trains, and stands alone."""

import ast
import functools
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

PATH = pathlib.Path(__file__).parents[1] / 'examples' / 'one_file.py'
SMALL = dict(histories=4, history_episodes=3, layers=1, width=16, window=25,
             updates=2, epochs=1, batch=4, runs=2, episodes=11)
EPISODES = 40


@pytest.fixture(scope='module')
def one_file():
  spec = importlib.util.spec_from_file_location('one_file', PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module')
def lives(one_file):
  """Tokens, actions and rewards [S, T] of sources in three rooms."""
  config = one_file.Config()
  goals = np.array([(4, 4), (2, 5), (8, 0)], np.int8)
  return jax.jit(lambda key: one_file.live(
      config, one_file.source(config), goals, key, EPISODES))(
          jax.random.key(0))


@pytest.fixture(scope='module')
def model(one_file, lives):
  """Config, params far from those of the beginning, and the full pass."""
  config = one_file.Config(**SMALL | dict(layers=2))
  transformer = one_file.Transformer(config)

  def init(key, tokens):
    leaves, tree = jax.tree.flatten(transformer.init(key, tokens))
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(tree, [
        leaf + 0.2 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys)])

  full_pass = jax.jit(lambda *args: transformer.apply(*args)[0])
  return config, jax.jit(init)(jax.random.key(1), one(lives)), full_pass


def one(lives):
  """Tokens [L] of the end of one life, several windows long."""
  return jax.tree.map(lambda x: x[1, -90:], lives[0])


def test_it_runs_small_and_ends_with_the_share(one_file, capsys):
  share = one_file.main(one_file.Config(**SMALL), seed=3)
  assert isinstance(share, float) and 0.0 <= share <= 1.0
  assert capsys.readouterr().out.split()[-1] == f'{share:.3f}'


def test_the_source_finds_the_goal_and_then_goes_straight_there(lives):
  tokens, actions, rewards = lives
  returns = rewards.reshape(3, EPISODES, 20).sum(-1)
  np.testing.assert_array_equal(returns[:, -1], [20, 18, 13])
  # At first it does not know where to go: to find all of them is luck.
  assert (returns[:, 0] < returns[:, -1]).any()
  # What a token says of the step before it is what was done and paid there.
  np.testing.assert_array_equal(tokens.action[:, 1:], actions[:, :-1])
  np.testing.assert_array_equal(tokens.reward[:, 1:], rewards[:, :-1])
  np.testing.assert_array_equal(tokens.action[:, 0], -1)
  np.testing.assert_array_equal(tokens.cell[:, ::20], 4)
  np.testing.assert_array_equal(tokens.done[:, 20::20], True)
  assert tokens.done.sum() == 3 * (EPISODES - 1)


def test_step_by_step_equals_the_full_pass(one_file, lives, model):
  """Beyond the window, too."""
  config, params, full_pass = model
  tokens = one(lives)
  assert tokens.reward.any() and len(tokens.action) > 3 * config.window
  whole = full_pass(params, tokens)
  start, act = one_file.distilled(config, params)
  _, stepwise = jax.jit(functools.partial(jax.lax.scan, act))(
      start(jax.random.key(0)), tokens)
  assert jnp.ptp(whole, 0).min() > 0.1
  np.testing.assert_allclose(stepwise, whole, rtol=0, atol=1e-4)


def test_a_logit_depends_on_no_later_token(lives, model):
  _, params, full_pass = model
  tokens = one(lives)
  later = jnp.arange(90) >= 60
  other = tokens._replace(
      action=jnp.where(later, (tokens.action + 1) % 5, tokens.action))
  a, b = full_pass(params, tokens), full_pass(params, other)
  np.testing.assert_array_equal(a[:60], b[:60])
  assert (a[60:] != b[60:]).any(-1).all()


def test_it_stands_alone_and_is_short():
  text = PATH.read_text()
  assert len(text.splitlines()) <= 250
  imported = set()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      imported |= {name.name.split('.')[0] for name in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level
      imported.add(node.module.split('.')[0])
  assert imported == {'argparse', 'collections', 'dataclasses', 'functools',
                      'time', 'flax', 'jax', 'numpy', 'optax'}
