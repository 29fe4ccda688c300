"""What networks are shown of observations."""

from flax import linen as nn
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import networks


@pytest.mark.parametrize('shape', [
    (5, 18, 24, 3), (3, 7, 8, 2), (2, 3, 1, 1), (1, 10, 10, 4)])
def test_a_convolution_is_flaxs_with_stride_two(shape):
  known = nn.Conv(8, (3, 3), (2, 2))

  @jax.jit
  def both(x):
    params = known.init(jax.random.key(1), x)
    dense = {'kernel': params['params']['kernel'].reshape(-1, 8),
             'bias': params['params']['bias']}
    return (networks.Convolution(8).apply({'params': {'Dense_0': dense}}, x),
            known.apply(params, x))

  found, expected = both(jax.random.normal(jax.random.key(0), shape))
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cells_enter_as_tables_and_numbers():
  env = dark_room.DarkRoom()
  features = networks.Observe(env).apply(
      {}, jnp.array([[[3, 0], [8, 4]]], jnp.int8))
  assert features.shape == (1, 2, 9 + 9 + 2)
  expected = np.zeros(20)
  expected[[8, 9 + 4]], expected[18:] = 1, (1, 0)
  np.testing.assert_allclose(features[0, 1], expected)


def test_vectors_and_matrices_enter_as_numbers_of_their_space():
  env, params = gymnax.make('CartPole-v1')
  obs, _ = env.reset(jax.random.key(0), params)
  ends = np.array([4.8, 1, 24 * np.pi / 180, 1])  # Speeds have none.
  np.testing.assert_allclose(
      networks.Observe(env).apply({}, obs), obs / ends, rtol=1e-5)
  env, params = gymnax.make('Catch-bsuite')
  obs, _ = env.reset(jax.random.key(0), params)
  np.testing.assert_array_equal(
      networks.Observe(env).apply({}, obs), 2 * np.ravel(obs) - 1)


def test_networks_are_shown_the_view_and_not_the_pose():
  """Equal frames are equal features, and shades of grey are shares of one."""
  env = watermaze.Watermaze(watermaze.Config(height=18, width=24))
  pose = jnp.array([[0.1, 0.2, 0.3, 0, 0, 0], [0.1, 0.2, 0.3, 0.5, 0.5, 0]])
  pose = jnp.concatenate([pose, pose[:1].at[:, 2].add(1.0)])
  shown, frame = jax.jit(lambda pose: (
      networks.Observe(env, ()).apply({}, pose), env.view(pose[0])))(pose)
  np.testing.assert_allclose(shown[0], np.ravel(frame) / 255, atol=1e-6)
  np.testing.assert_array_equal(shown[0], shown[1])
  assert (shown[0] != shown[2]).mean() > 0.3


def test_batches_of_any_rank_are_alike():
  env = watermaze.Watermaze(watermaze.Config(height=18, width=24))
  obs = jax.random.uniform(jax.random.key(0), (2, 3, 6))
  observe = networks.Observe(env, (4, 8))

  @jax.jit
  def both(obs):
    params = observe.init(jax.random.key(1), obs)
    return observe.apply(params, obs)[1, 2], observe.apply(params, obs[1, 2])

  np.testing.assert_allclose(*both(obs), atol=1e-5)
