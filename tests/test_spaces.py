"""gymnax's spaces, whatever they are made of, in histories and networks."""

import collections

from gymnax.environments import environment
from gymnax.environments import spaces as gymnax_spaces
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import spaces
from adjax.learners import networks
from adjax.learners import stepping
from adjax.learners import tables
from adjax.models import sequence_model
from adjax.models import transformer

Box, Discrete = gymnax_spaces.Box, gymnax_spaces.Discrete


class Shown(environment.Environment):
  """Shows one observation of a space, whatever is done."""

  def __init__(self, space, obs=None, actions=None):
    self.space, self.obs = space, obs
    self.actions = actions or Discrete(4)

  def observation_space(self, params=None):
    return self.space

  def action_space(self, params=None):
    return self.actions

  def reset_env(self, key, params):
    return self.obs, environment.EnvState(time=0)

  def step_env(self, key, state, action, params):
    return (self.obs, state.replace(time=state.time + 1), jnp.float32(0),
            jnp.bool_(False), {})


# What a space is, and an observation of it in NumPy.
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def leaves(draw):
  kind = draw(st.sampled_from(['discrete', 'bool', 'int8', 'uint8', 'int32',
                               'float32', 'free']))
  rng = np.random.default_rng(draw(st.integers(0, 2**16)))
  if kind == 'discrete':
    n = draw(st.integers(1, spaces.MOST_IDS))
    return Discrete(n), rng.integers(0, n, (), np.int32)
  shape = draw(SHAPES)
  if kind == 'bool':
    return Box(0, 1, shape, jnp.bool_), rng.integers(0, 2, shape).astype(bool)
  if kind in ('float32', 'free'):
    bound = np.inf if kind == 'free' else draw(st.floats(1e-2, 1e8))
    size = 1e3 if kind == 'free' else bound
    return (Box(-bound, bound, shape, jnp.float32),
            rng.uniform(-size, size, shape).astype(np.float32))
  low, high = sorted(draw(st.tuples(*[st.integers(0, 2**21)] * 2)))
  ends = np.iinfo(kind)
  low, high = max(low, ends.min) % (ends.max + 1), min(high, ends.max)
  low = min(low, high)
  return (Box(low, high, shape, jnp.dtype(kind)),
          rng.integers(low, high + 1, shape).astype(kind))


def nested(inner):
  lists = st.lists(inner, min_size=1, max_size=3)
  names = lists.map(lambda some: {f'n{9 - i}': x for i, x in enumerate(some)})
  return (lists.map(lambda some: (
      gymnax_spaces.Tuple([space for space, _ in some]),
      tuple(obs for _, obs in some)))
          | names.map(lambda some: (
              gymnax_spaces.Dict({k: space for k, (space, _) in some.items()}),
              {k: obs for k, (_, obs) in some.items()}))
          | names.map(lambda some: (
              gymnax_spaces.Dict(collections.OrderedDict(
                  (k, space) for k, (space, _) in some.items())),
              collections.OrderedDict(
                  (k, obs) for k, (_, obs) in some.items()))))


SPACES = st.recursive(leaves(), nested, max_leaves=5)


@given(SPACES)
@settings(deadline=None, max_examples=12)
def test_an_observation_is_packed_and_nothing_of_it_is_lost(made):
  space, obs = made
  env = Shown(space, obs)
  whole = spaces.observation(env)
  packed = spaces.pack(env, obs)
  assert packed.shape == whole.shape and packed.dtype == whole.dtype
  found = spaces.unpack(env, packed)
  plain = lambda tree: dict(tree) if isinstance(tree, dict) else tree
  assert jax.tree.structure(
      jax.tree.map(plain, found, is_leaf=lambda x: isinstance(x, dict))
  ).num_leaves == len(whole.parts)
  for a, b in zip(_leaves(space, found), _leaves(space, obs), strict=True):
    np.testing.assert_array_equal(a, b)
  # Part by part, of a batch.
  for (part, x), leaf in zip(
      whole.split(jnp.stack([packed, packed])), _leaves(space, obs)):
    assert x.shape == (2, *part.shape) and part.size == np.size(leaf)
    np.testing.assert_array_equal(x[1].astype(leaf.dtype), leaf)


def _leaves(space, obs):
  if isinstance(space, gymnax_spaces.Dict):
    ordered = isinstance(space.spaces, collections.OrderedDict)
    for name in space.spaces if ordered else sorted(space.spaces):
      yield from _leaves(space.spaces[name], obs[name])
  elif isinstance(space, gymnax_spaces.Tuple):
    for one, inner in zip(space.spaces, obs):
      yield from _leaves(one, inner)
  else:
    yield obs


@given(SPACES)
@settings(deadline=None, max_examples=15)
def test_every_space_is_stepped_through_and_has_features(made):
  space, obs = made
  env = Shown(space, obs)
  params = environment.EnvParams(max_steps_in_episode=3)
  observe = networks.Observe(env, (2,))

  def features():
    key = jax.random.key(0)
    actor = stepping.reset(env, params, key)
    actor, transition = stepping.step(env, params, actor, jnp.int32(1), key)
    scale = jnp.stack(sequence_model.no_statistics(env))[:, :-1]
    variables = observe.init(key, transition.next_obs, scale)
    return observe.apply(variables, actor.obs, scale)

  found = jax.eval_shape(features)
  assert found.ndim == 1 and found.dtype == jnp.float32


@pytest.mark.parametrize('space, message', [
    (Discrete(spaces.MOST_IDS + 1), 'from 1 to 8192 values, not 8193'),
    (Box(0, 1, (2, 0)), r'must have an entry, not shape \(2, 0\)'),
    (Box(0, 1, (2,), jnp.complex64), 'bools, integers or floats, not complex'),
    (Box(2, 1, (2,)), 'low at most high'),
    (Box(np.nan, 1, (2,)), 'low at most high'),
    ('a string', 'must be a Discrete, a Box, or a Dict or Tuple'),
    (gymnax_spaces.Dict({'a': gymnax_spaces.Tuple([Discrete(0)])}),
     r"\['a'\]\[0\] must have from 1 to")])
def test_a_space_that_is_not_understood_is_refused_by_name(space, message):
  message = '^env=Shown: its observation.*' + message
  with pytest.raises(ValueError, match=message):
    spaces.observation(Shown(space))


@pytest.mark.parametrize('space', [
    Box(-1, 1, (2,)), Box(-np.inf, np.inf, (17,)),
    gymnax_spaces.Tuple([Discrete(2)]), gymnax_spaces.Dict({})])
def test_actions_that_are_not_discrete_are_refused(space):
  with pytest.raises(ValueError, match='env=Shown: must have a Discrete'):
    stepping.num_actions(Shown(Discrete(2), actions=space))


def test_integers_of_several_parts_are_rows_of_a_table():
  env = Shown(gymnax_spaces.Dict(
      {'b': Discrete(3), 'a': Box(-1, 2, (2,), jnp.int8)}))
  table = tables.table(env)
  rows = {int(table.row(spaces.pack(env, {
      'a': jnp.array([i, j], jnp.int8), 'b': jnp.int32(k)}), jnp.int32(0)))
          for i in range(-1, 3) for j in range(-1, 3) for k in range(3)}
  assert rows == set(range(table.size)) and table.size == 48


@given(st.integers(-2, 8).map(lambda n: 10.0**n), st.floats(-3, 3))
@settings(deadline=None, max_examples=40)
def test_features_do_not_depend_on_the_unit(unit, shift):
  """Of bounded numbers by their bounds, of others and rewards by statistics."""
  rng = np.random.default_rng(0)
  x = rng.uniform(0, 1, (50, 2)).astype(np.float32)

  def features(env, obs, scale):
    return networks.Observe(env).apply({}, jnp.float32(obs), scale)

  bounded = [features(Shown(Box(low, low + c, (2,))), low + c * x, None)
             for c, low in ((1.0, 0.0), (unit, shift * unit))]
  np.testing.assert_allclose(*bounded, atol=2e-3)
  env, free = Shown(Box(-np.inf, np.inf, (2,))), []
  for c, low in ((1.0, 0.0), (unit, shift * unit)):
    obs = jnp.float32(low + c * x)
    found = sequence_model.statistics(env, obs, obs[:, 0])
    np.testing.assert_allclose(found.mean[-1], obs[:, 0].mean(), rtol=1e-3)
    free.append(features(env, obs, jnp.stack(found)[:, :-1]))
  np.testing.assert_allclose(*free, atol=2e-3)


@given(st.integers(-2, 8).map(lambda n: 10.0**n))
@settings(deadline=None, max_examples=8)
def test_tokens_do_not_depend_on_the_unit_of_rewards(unit):
  """Nor does that of the entries beside them that have no bounds."""
  rng = np.random.default_rng(0)
  env = Shown(Box(-np.inf, np.inf, (2,)))
  obs = jnp.float32(rng.normal(5, 3, (40, 2)))
  reward = jnp.float32(rng.uniform(0, 1, 40))
  embedding = sequence_model.Embedding(transformer.Config(), env)

  def tokens(reward):
    inputs = sequence_model.Inputs(
        obs, jnp.zeros(40, jnp.int8), reward, jnp.zeros(40, bool))
    params = embedding.init(jax.random.key(0), inputs, True)
    params = sequence_model.with_statistics(
        params, sequence_model.statistics(env, obs, reward))
    return embedding.apply(params, inputs, True)

  np.testing.assert_allclose(tokens(unit * reward), tokens(reward), atol=1e-3)
  plain = tokens(jnp.zeros(40))
  assert np.abs(tokens(reward) - plain).max() > 0.1


@pytest.mark.parametrize('space', [
    Discrete(2), Discrete(257), Discrete(5000), Box(-3, 252, (), jnp.int32),
    Box(0, 256, (), jnp.int32), Box(-10**6, 10**6, (), jnp.int32),
    Box(-np.inf, np.inf, (), jnp.int32), Box(0, 12, (6, 6, 2), jnp.uint8),
    Box(0, 255, (4, 4, 3), jnp.uint8), Box(0, 1, (4, 4, 2), jnp.bool_)])
def test_values_next_to_each_other_are_told_apart(space):
  """Also of whole numbers that float32 scaled to [-1, 1] would blur."""
  env = Shown(space)
  low, high = (0, space.n - 1) if isinstance(space, Discrete) else (
      max(space.low, -2**31), min(space.high, 2**31 - 1))
  values = np.unique([low, low + 1, (low + high) // 2, (low + high) // 2 + 1,
                      high - 1, high]).astype(np.int64)
  obs = np.zeros((len(values), *space.shape), space.dtype) + np.asarray(
      low, space.dtype)
  obs.reshape(len(values), -1)[:, 0] = values
  observe = networks.Observe(env, (8,))
  scale = jnp.array([[0.0], [1e6]]) if space.shape == () and np.isinf(
      getattr(space, 'low', 0)) else None
  key = jax.random.key(0)
  features = np.asarray(observe.apply(
      observe.init(key, jnp.asarray(obs), scale), jnp.asarray(obs), scale))
  apart = np.abs(features[:, None] - features[None]).max(-1)
  assert apart[~np.eye(len(values), dtype=bool)].min() > 1e-4


def test_uint8_is_grey_only_where_it_is_an_image():
  image = Shown(Box(0, 255, (2, 2, 3), jnp.uint8))
  shades = networks.Observe(image, ()).apply(
      {}, jnp.full((2, 2, 3), 51, jnp.uint8))
  np.testing.assert_allclose(shades, 0.2, atol=1e-6)
  ids = Shown(Box(0, 12, (2, 2, 3), jnp.uint8))
  features = networks.Observe(ids, ()).apply(
      {}, jnp.full((2, 2, 3), 12, jnp.uint8))
  assert features.shape == (12 * 13 + 12,) and features.sum() == 24
