"""The model of a page, under node, against JAX's."""

import functools
import pathlib

from gymnax.environments import spaces as gymnax_spaces
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adjax
from adjax import histories
from adjax import spaces
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.models import in_context
from adjax.models import lstm
from adjax.models import sequence_model
from adjax.models import transformer
from adjax.page import model_data
from adjax.storage import weights
from tests import page_node

# Everything that a page can run: ids, whole numbers with tables and without,
# quantities, and more than one part.
MIXED = gymnax_spaces.Dict({
    'id': gymnax_spaces.Discrete(5),
    'speed': gymnax_spaces.Box(-2.0, 6.0, (2,), jnp.float32),
    'switch': gymnax_spaces.Box(0, 1, (2,), jnp.int32),
    'cell': gymnax_spaces.Box(
        np.array([-3, 2]), np.array([4, 8]), (2,), jnp.int32)})
SPACES = {
    'grid': (dark_room.DarkRoom().observation_space(), 5),
    'arms': (bandit.Bandit().observation_space(), 10),
    'mixed': (MIXED, 3)}
SMALL = transformer.Config(
    layers=2, width=12, heads=2, window=12, feed_forward=17)
STEPS = SMALL.window + 1_000


def random_inputs(name, steps, seed=0):
  """Inputs [L] of which no two are alike, rewards beyond 1 among them."""
  rng = np.random.default_rng(seed)
  space, actions = SPACES[name]
  env = spaces.Described(space, actions)
  obs = []
  for part in spaces.observation(env).parts:
    low, high = part.low.ravel(), part.high.ravel()
    size = steps, part.size
    obs.append(rng.integers(low, high + 1, size) if part.is_integer
               else rng.uniform(low, high, size))
  packed = spaces.observation(env)
  return sequence_model.Inputs(
      obs=np.concatenate(obs, -1).reshape(steps, *packed.shape).astype(
          packed.dtype),
      action=rng.integers(-1, actions, steps).astype(np.int8),
      reward=rng.normal(scale=2, size=steps).astype(np.float32),
      done=rng.integers(0, 2, steps).astype(bool))


def header_of(config, space, actions):
  """Of a file of weights, what says which model it is."""
  kind = f'{type(config).__module__}:{type(config).__qualname__}'
  return {'seeds': 1, 'model': {'kind': kind, **vars(config)},
          'observation': spaces.to_data(space), 'actions': actions}


@functools.cache
def model_of(name, config):
  """(header, model, random weights of one seed that float16 holds exactly)."""
  space, actions = SPACES[name]
  model = config.make(spaces.Described(space, actions))
  shapes = jax.eval_shape(
      model.init, jax.random.key(0), random_inputs(name, 4))
  rng = np.random.default_rng(1)
  params = jax.tree.map(
      lambda x: rng.normal(scale=0.5, size=x.shape).astype(
          np.float16).astype(np.float32), shapes)
  statistics = params['params']['embedding']['statistics']
  params['params']['embedding']['statistics'] = statistics._replace(
      mean=np.float32([0.3]), deviation=np.float32([0.7]))
  return header_of(config, space, actions), model, params


@functools.cache
def expected(name, config, steps):
  """JAX's logits [steps, A] of cached steps."""
  _, model, params = model_of(name, config)

  @jax.jit
  def decode(params, inputs):
    def step(cache, now):
      logits, cache = model.apply(params, now, cache, method='step')
      return cache, logits
    return jax.lax.scan(step, model.empty_cache(), inputs)[1]

  return np.asarray(decode(params, random_inputs(name, steps)))


def nested_of(params):
  """One seed's weights as those of all seeds [1] are loaded from a file."""
  if hasattr(params, '_asdict'):
    params = params._asdict()
  if isinstance(params, dict):
    return {name: nested_of(x) for name, x in params.items()}
  return params[None]


def as_json(inputs):
  columns = [x.reshape(len(x), -1).tolist() for x in inputs]
  return [{'obs': obs, 'action': action, 'reward': reward, 'done': done}
          for obs, (action,), (reward,), (done,) in zip(*columns)]


def steps_job(name, config=SMALL, steps=STEPS, **more):
  header, _, params = model_of(name, config)
  return {'job': 'steps', 'data': model_data.of(header, nested_of(params)),
          'inputs': as_json(random_inputs(name, steps)), **more}


# Whose wrong value must show, or the comparison says nothing.
CONSTANTS = {
    'epsilon': ('1e-6', '1e-2'), 'rotary': ('10000', '9000'),
    'gelu': ('0.044715', '0.06'), 'turn': ('Math.PI / 2 ** 31', '1e-9'),
    'ring': ('time % window', 'time % (window - 1)'),
    'filled': ('Math.min(time + 1, window)', 'Math.min(time + 1, window - 1)'),
    'no action': ('action + 1', 'action + 2'),
    'soften': ('size <= 1 ?', 'size <= 2 ?'),
    'done': ('done ? 1 : 0', 'done ? 0 : 1'),
    'scale': ('1 / Math.sqrt(size)', '1 / size')}
CHANGED_STEPS = 40



@pytest.fixture(scope='module')
def answers():
  """Of every job of this file that is quick."""
  header, _, params = model_of('grid', SMALL)
  return page_node.ask({
      **{name: steps_job(name) for name in SPACES},
      **{('changed', name): steps_job(
          'mixed', steps=CHANGED_STEPS, replace=replace)
         for name, replace in CONSTANTS.items()},
      'forgets': {
          'job': 'forgets', 'first': 20,
          'data': model_data.of(header, nested_of(params)),
          'inputs': as_json(random_inputs('grid', 40))},
  })


@page_node.needs_node
@pytest.mark.parametrize('name', SPACES)
def test_steps_are_those_of_jax_long_past_the_window(answers, name):
  logits = np.array(answers[name]['logits'])
  want = expected(name, SMALL, STEPS)
  assert want.std(0).min() > 0.1  # They depend on what is put in.
  np.testing.assert_allclose(logits, want, atol=1e-3)
  np.testing.assert_array_equal(logits.argmax(-1), want.argmax(-1))


@page_node.needs_node
@pytest.mark.parametrize('name', CONSTANTS)
def test_a_wrong_constant_shows(answers, name):
  logits = np.array(answers['changed', name]['logits'], float)
  want = expected('mixed', SMALL, STEPS)[:CHANGED_STEPS]
  assert not np.allclose(logits, want, atol=1e-3), name
  np.testing.assert_allclose(
      answers['mixed']['logits'][:CHANGED_STEPS], want, atol=1e-3)


def test_every_constant_that_is_changed_is_there():
  source = page_node.MODEL_JS.read_text()
  assert all(old in source for old, _ in CONSTANTS.values())


@page_node.needs_node
def test_attention_is_told_by_age(answers):
  attention = np.array(answers['grid']['attention'])
  steps, layers, window = attention.shape
  assert (layers, window) == (SMALL.layers, SMALL.window)
  np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)
  future = np.arange(window) > np.arange(steps)[:, None]
  assert not attention.swapaxes(0, 1)[:, future].any()
  _, model, params = model_of('grid', SMALL)
  inputs = jax.tree.map(lambda x: x[:40], random_inputs('grid', STEPS))
  want = jax.jit(functools.partial(model.apply, method='attention'))(
      params, inputs)
  np.testing.assert_allclose(
      attention[:40].swapaxes(0, 1), want, atol=1e-4)


@page_node.needs_node
def test_an_empty_cache_knows_nothing(answers):
  before, fresh, again = map(np.array, answers['forgets'])
  np.testing.assert_array_equal(fresh, again)
  assert np.abs(before - fresh).max() > 0.1  # It forgot.


def test_what_a_page_cannot_run_is_none():
  _, _, params = model_of('grid', SMALL)
  space = SPACES['grid'][0]
  assert model_data.of(header_of(SMALL, space, 5), nested_of(params))
  assert model_data.of(header_of(lstm.Config(), space, 5), {}) is None
  for other in (
      gymnax_spaces.Box(-np.inf, np.inf, (2,), jnp.float32),
      gymnax_spaces.Box(0, 1000, (2,), jnp.int32),
      gymnax_spaces.Box(0, 255, (8, 8, 3), jnp.uint8),
      gymnax_spaces.Box(0, 1, (4, 4, 2), jnp.float32),
      gymnax_spaces.Box(0, 7, (200,), jnp.int32)):
    model = SMALL.make(spaces.Described(other, 5))
    shape = spaces.observation(model.env)
    made = jax.eval_shape(
        model.init, jax.random.key(0), random_inputs('grid', 4)._replace(
            obs=jnp.zeros((4, *shape.shape), shape.dtype)))
    zeros = jax.tree.map(lambda x: np.zeros(x.shape), made)
    assert model_data.of(
        header_of(SMALL, other, 5), nested_of(zeros)) is None, other


def test_it_is_as_small_as_a_page_wants():
  source = page_node.MODEL_JS.read_text()
  assert len(source.encode()) <= 13_000
  assert '</' not in source and 'import' not in source
  assert max(map(len, source.splitlines())) <= 80


FULL = transformer.Config()


@page_node.needs_node
@pytest.mark.long
def test_full_size_steps_are_those_of_jax():
  steps = FULL.window + 1_000
  answers = page_node.ask({'steps': steps_job('grid', FULL, steps),
                 'speed': steps_job('grid', FULL, steps) | {'job': 'speed'}})
  logits, want = np.array(answers['steps']['logits']), expected(
      'grid', FULL, steps)
  np.testing.assert_allclose(logits, want, atol=1e-3)
  np.testing.assert_array_equal(logits.argmax(-1), want.argmax(-1))
  assert answers['speed'] >= 1_000  # 2,900 where this was written.


def late_shares(path, goals=20, runs=40, episodes=10, seed=0):
  """Shares of the optimum in episodes 9 and 10, in a page and in Python.

  On goals that were never met, with the first seed's weights of a file.
  """
  header, nested = weights.load(str(path))
  params = weights.params(header, nested)
  config = dark_room.Config(**{
      name: x for name, x in header['tasks'].items() if name != 'kind'})
  tasks = config.make()
  unmet = jax.tree.map(lambda *x: np.concatenate(x)[:goals],
                       tasks.held_out, tasks.validation)
  goals = len(unmet.goals)
  scenes = [config.scene(jax.tree.map(lambda x, i=i: x[i], unmet))
            for i in range(goals)]
  page = page_node.ask({'': {
      'job': 'returns', 'data': model_data.of(header, nested), 'seed': seed,
      'scenes': scenes, 'runs': runs, 'episodes': episodes}})['']
  history, _ = histories.generate(
      in_context.in_context(tasks.env, weights.model(header), params),
      unmet, jax.random.key(seed), 4 * runs, episodes * config.episode_length)
  python = np.asarray(history.reward).reshape(
      goals, 4 * runs, episodes, config.episode_length).sum(-1)
  optimum = np.asarray(jax.vmap(tasks.optimal_return)(unmet))
  return [float((np.array(x)[..., 8:10].mean((1, 2)) / optimum).mean())
          for x in (page, python)]


@page_node.needs_node
@pytest.mark.long
@pytest.mark.parametrize('name', ['dark_room', 'key_to_door'])
def test_a_page_earns_what_python_earns(name):
  box = pathlib.Path(adjax.__file__).with_name('pretrained')
  page, python = late_shares(box / f'{name}.npz')
  assert python > 0.5  # It learns, or the comparison says nothing.
  assert abs(page - python) <= 0.03
