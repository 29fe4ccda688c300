"""Whatever kind of input tells the action, a small model learns it from that.

One layer, 400 updates, no field set by hand. Chance is a loss of 1.386.
"""

import functools

from gymnax.environments import environment
from gymnax.environments import spaces as gymnax_spaces
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from adjax import histories
from adjax import spaces
from adjax import types
from adjax.methods import distill
from adjax.models import in_context
from adjax.models import sequence_model
from adjax.models import transformer
from tests import test_spaces

pytestmark = pytest.mark.long
Box, Discrete = gymnax_spaces.Box, gymnax_spaces.Discrete
Dict, Tuple = gymnax_spaces.Dict, gymnax_spaces.Tuple
UPDATES, BATCH, LENGTH = 400, 16, 100
# A fixed random function of an id.
ACTIONS = jnp.array(np.random.default_rng(0).integers(0, 4, 8192))
FREE = -np.inf, np.inf


def of(number):
  """The action for an id."""
  return ACTIONS[jnp.asarray(number).astype(jnp.int32)]


def quarter(x, high):
  """The quarter of [0, high) that a number is in."""
  return jnp.clip(jnp.floor(x / high * 4), 0, 3).astype(jnp.int32)


def bits(x):
  return of((x[..., :4] * jnp.array([1, 2, 4, 8])).sum(-1))


MIXED = Tuple([Discrete(7), Discrete(300), Box(0, 1, (2,))])
SEEN = Dict({'image': Box(0, 255, (8, 8, 3), jnp.uint8),
             'numbers': Box(0, 5, (3,))})
CLOCK = np.zeros(5), np.array([1, 1, 1, 1, 1e6])
# {name: (space, how an observation is drawn where not evenly, its action)}.
CASES = {
    'a grid of ids': (Box(0, 12, (5, 5), jnp.uint8), lambda x: of(x[2, 2])),
    'ids of two kinds': (
        Box(0, 12, (7, 7, 2), jnp.uint8), lambda x: of(x[3, 3, 0])),
    **{f'one of {n}': (Discrete(n), of) for n in (2, 256, 257, 500, 5000)},
    'an id in a tuple': (MIXED, lambda x: of(x[0])),
    'another in a tuple': (MIXED, lambda x: of(x[1])),
    'a number in a tuple': (MIXED, lambda x: quarter(x[2][1], 1)),
    'an image in a dict': (
        SEEN, lambda x: quarter(x['image'].mean(dtype=jnp.float32), 256)),
    'a number in a dict': (SEEN, lambda x: quarter(x['numbers'][0], 5)),
    **{f'a number to {c:g}': (
        Box(0, c, (2,)), lambda x, c=c: quarter(x[0], c))
       for c in (1e-2, 1, 1e4, 1e8)},
    **{f'a number to {c:g} without bounds': (
        Box(*FREE, (2,)), lambda x, c=c: quarter(x[0], c))
       for c in (1e-2, 1, 1e4, 1e8)},
    'a whole number': (
        Box(0, 9999, (2,), jnp.int32), lambda x: quarter(x[0], 10000)),
    'bits beside a whole clock': (Box(*CLOCK, (5,), jnp.int32), bits),
    'bits beside a clock': (Box(*CLOCK, (5,)), bits),
    'bits beside a clock without bounds': (Box(*FREE, (5,)), bits),
    **{f'a reward to {c:g}': (Discrete(1), c)
       for c in (1e-2, 1, 1e4, 1e8)},
}


def draw(space, key, high=None):
  """An observation of a space, evenly within its bounds."""
  if isinstance(space, Dict):
    drawn = {name: draw(one, jax.random.fold_in(key, i))
             for i, (name, one) in enumerate(space.spaces.items())}
    if 'image' in drawn:  # Frames differ in how bright they are.
      bright = jax.random.randint(key, (), 0, 4)
      drawn['image'] = (drawn['image'] // 8 + 64 * bright + 16).astype(
          jnp.uint8)
    return drawn
  if isinstance(space, Tuple):
    return tuple(draw(one, jax.random.fold_in(key, i))
                 for i, one in enumerate(space.spaces))
  if isinstance(space, Discrete):
    return jax.random.randint(key, (), 0, space.n)
  high = space.high if high is None else high
  share = jax.random.uniform(key, space.shape)
  if jnp.issubdtype(space.dtype, jnp.integer):
    return jnp.floor(share * (np.asarray(high, np.float32) + 1)).astype(
        space.dtype)
  drawn = share * jnp.asarray(high, jnp.float32)
  return jnp.where(jnp.arange(share.size) < 4, jnp.round(share), drawn) if (
      space.shape == (5,)) else drawn


def high(name):
  """How far observations reach that have no bounds."""
  if 'without bounds' not in name:
    return None
  return CLOCK[1] if 'clock' in name else float(name.split()[3])


def histories_of(name, key):
  """A batch in which the action is told by the input."""
  space, action = CASES[name]
  env = test_spaces.Shown(space)
  keys = jax.random.split(key, (BATCH, LENGTH + 1))
  obs = jax.vmap(jax.vmap(lambda key: draw(space, key, high(name))))(keys)
  reward = jnp.zeros(keys.shape)
  if name.startswith('a reward'):
    reward = action * jax.random.uniform(key, keys.shape)
    actions = jnp.roll(quarter(reward, action), 1, 1)
  else:
    actions = jax.vmap(jax.vmap(action))(obs)
  packed = jax.vmap(jax.vmap(lambda x: spaces.pack(env, x)))(obs)
  return histories.Batch(
      types.History(packed, actions.astype(jnp.int8), reward,
                    jnp.zeros(keys.shape, bool)), jnp.zeros(BATCH, bool))


@pytest.mark.parametrize('name', CASES)
def test_it_is_learned_in_400_updates(name):
  space = CASES[name][0]
  env = test_spaces.Shown(space, draw(space, jax.random.key(0), high(name)))
  params = environment.EnvParams(max_steps_in_episode=20)
  some = jax.tree.map(lambda x: jnp.array([x, x]), params)
  type(env).default_params = params
  tasks = types.TaskDistribution(env, some, some, some, 20)
  model = transformer.Config(layers=1, window=50).make(env)
  config = distill.Config(epochs=1, updates_per_epoch=UPDATES,
                          batch_size=BATCH, length=LENGTH)

  @jax.jit
  def learn(key):
    state = distill.init(config, model, tasks, key)
    rows = histories_of(name, jax.random.fold_in(key, UPDATES)).rows
    state = state._replace(params=sequence_model.with_statistics(
        state.params, sequence_model.statistics(env, rows.obs, rows.reward)))
    return jax.lax.scan(
        lambda state, i: distill.update(
            config, model, state, histories_of(
                name, jax.random.fold_in(key, i))), state,
        jnp.arange(UPDATES))[0].params

  @jax.jit
  def loss(params, key):
    inputs, actions = in_context.inputs_and_actions(histories_of(name, key))
    logits = jax.vmap(functools.partial(model.apply, params))(inputs)
    return optax.softmax_cross_entropy_with_integer_labels(
        logits, actions).mean()

  assert loss(learn(jax.random.key(0)), jax.random.key(1)) <= 0.1
