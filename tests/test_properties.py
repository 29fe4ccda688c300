"""What holds of any environment, learner, window and override, by hypothesis.

Programs are compiled once and their data varied: shapes are the same throughout
where a shape is not what a property is about.
"""

import dataclasses
import functools

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import config as config_lib
from adjax import histories
from adjax import presets
from adjax import types
from adjax.envs import adapters
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.models import lstm
from adjax.models import sequence_model
from adjax.models import transformer

SEEDS = st.integers(0, 2**31 - 1)
STEPS = 60
SETS = dict(num_train=3, num_validation=1, num_held_out=1)
GRID = dark_room.Config(size=5, episode_length=14, **SETS)
KEY_TO_DOOR = dataclasses.replace(
    GRID, num_goals=2, pays_once=True, random_start=True, episode_length=25)
POOL = watermaze.Config(
    platform_radius=0.5, episode_length=20, height=4, width=4, **SETS)
TASKS = {
    'dark_room': dark_room.tasks(GRID),
    'key_to_door': dark_room.tasks(KEY_TO_DOOR),
    'key_to_door_that_ends': dark_room.tasks(
        dataclasses.replace(KEY_TO_DOOR, terminate=True)),
    'bandit': bandit.tasks(bandit.Config(arms=3, **SETS)),
    'gaussian_bandit': bandit.tasks(
        bandit.Config(arms=3, reward='gaussian', **SETS)),
    'watermaze': watermaze.tasks(POOL),
    'frames': dataclasses.replace(
        watermaze.tasks(POOL), env=watermaze.Frames(POOL)),
    'cart_pole': adapters.tasks(adapters.Config(
        'CartPole-v1', ranges=(('length', 0.25, 1.0),), episode_length=25,
        **SETS)),
    'point_robot': adapters.tasks(adapters.Config(
        'PointRobot-misc', episode_length=15, **SETS)),
    'catch': adapters.tasks(adapters.Config(
        'Catch-bsuite', permute=True, episode_length=7, **SETS)),
}
examples = functools.partial(hypothesis.settings, deadline=None)


def assert_equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def take(tree, *index):
  return jax.tree.map(lambda x: x[index], tree)


@functools.cache
def programs(name):
  """Jitted: reset, and (task, first, seeds [T], actions [T]) -> steps [T].

  `first` is an observation and a state, seeds are of keys. All that is given is
  NumPy's: what jax would slice and roll, it would compile for each shape. Steps
  are: observation and state after each,
  [reward, terminated, truncated], the observation before any reset, and what a
  reset with its key would begin an episode with.
  """
  env = TASKS[name].env

  def roll_out(task, first, seeds, actions):
    def step(now, seed_and_action):
      seed, action = seed_and_action
      key = jax.random.key(seed)
      obs, state, *rest, info = env.step(key, now[1], action, task)
      # gymnax resets by the second half of a step's key.
      reset = env.reset_env(jax.random.split(key)[1], task)
      return (obs, state), (
          (obs, state), rest, info['final_observation'], reset)
    return jax.lax.scan(step, first, (seeds, actions))[1]

  return (jax.jit(lambda seed, task: env.reset(jax.random.key(seed), task)),
          jax.jit(roll_out))


def rollout(name, seed):
  """(task, first, seeds, actions, steps) of random actions on a task."""
  tasks = TASKS[name]
  reset, roll_out = programs(name)
  task = take(jax.tree.map(np.asarray, tasks.train),
              seed % types.num_tasks(tasks.train))
  rng = np.random.default_rng(seed)
  seeds = rng.integers(0, 2**31, STEPS)
  actions = rng.integers(0, tasks.env.num_actions, STEPS)
  first = jax.tree.map(np.asarray, reset(seed, task))
  steps = jax.tree.map(np.asarray, roll_out(task, first, seeds, actions))
  return task, first, seeds, actions, steps


@pytest.mark.parametrize('name', TASKS)
@hypothesis.given(SEEDS)
@examples(max_examples=4)
def test_observations_are_in_their_space_and_rewards_finite(name, seed):
  space = TASKS[name].env.observation_space(None)
  _, first, _, _, ((after, _), (reward, *_), final, _) = rollout(name, seed)
  for obs in (np.asarray(first[0])[None], after, final):
    assert obs.dtype == space.dtype and obs.shape[1:] == space.shape
    assert (obs >= np.asarray(space.low)).all()
    assert (obs <= np.asarray(space.high)).all()
  assert reward.dtype == np.float32 and np.isfinite(reward).all()


@pytest.mark.parametrize('name', TASKS)
@hypothesis.given(SEEDS)
@examples(max_examples=4)
def test_an_episode_ends_by_itself_or_exactly_at_its_limit(name, seed):
  _, _, _, _, (_, (_, terminated, truncated), _, _) = rollout(name, seed)
  time, ends = 0, 0
  for by_itself, by_limit in zip(terminated, truncated):
    time += 1
    assert by_limit == (time == TASKS[name].episode_length)
    if by_itself or by_limit:
      time, ends = 0, ends + 1
  assert ends >= STEPS // TASKS[name].episode_length


@pytest.mark.parametrize('name', TASKS)
@hypothesis.given(SEEDS)
@examples(max_examples=4)
def test_an_episode_begins_with_a_reset_of_the_same_task(name, seed):
  task, _, _, _, (after, (_, *ended), _, reset) = rollout(name, seed)
  ended = np.logical_or(*ended)
  assert ended.any()
  assert_equal(take(after, ended), take(reset, ended))
  for field, value in getattr(task, 'drawn', {}).items():
    drawn = getattr(after[1], field)
    np.testing.assert_array_equal(
        drawn, np.broadcast_to(value, drawn.shape))


@pytest.mark.parametrize('name', TASKS)
@hypothesis.given(SEEDS, st.integers(1, STEPS - 1))
@examples(max_examples=4)
def test_what_comes_next_follows_from_key_state_and_action(name, seed, time):
  """A rollout that is taken up in its middle goes on as it did."""
  task, _, seeds, actions, steps = rollout(name, seed)
  again = programs(name)[1](
      task, take(steps[0], time - 1), np.roll(seeds, -time),
      np.roll(actions, -time))
  assert_equal(take(jax.tree.map(np.asarray, again), slice(0, STEPS - time)),
               take(steps, slice(time, STEPS)))


def dice(steps_per_call):
  """A learner [2 copies] of which every step shows its number and a die."""
  shape = steps_per_call, 2

  def step(task, state, key):
    time = state + jnp.arange(steps_per_call)[:, None]
    number = task + jax.random.randint(key, shape, 0, 1000)
    obs = jnp.stack([jnp.broadcast_to(time, shape), number], -1)
    return state + steps_per_call, types.Transition(
        obs, number % 5, number / 7, number % 3 == 0, number % 3 == 0, obs)

  return types.Learner(lambda task, key: jnp.int32(0), step, steps_per_call)


@functools.cache
def unroll(steps_per_call, num_steps):
  return jax.jit(lambda seed: types.unroll(
      dice(steps_per_call), seed, jax.random.key(seed), num_steps)[0])


# More than is sampled at once, with and without what is dropped.
@pytest.mark.parametrize('steps_per_call, num_steps', [
    (3, 100), (types.BLOCK + 10, 1)])
@hypothesis.given(SEEDS)
@examples(max_examples=5)
def test_a_history_begins_alike_whatever_its_length(
    steps_per_call, num_steps, seed):
  short = unroll(steps_per_call, num_steps)(seed)
  assert short.done.shape == (2, num_steps)
  long = jax.tree.map(np.asarray, unroll(steps_per_call, 170)(seed))
  assert_equal(short, take(long, slice(None), slice(0, num_steps)))


@hypothesis.given(SEEDS)
@examples(max_examples=5)
def test_streams_keep_their_order(seed):
  rng = np.random.default_rng(seed)
  flat = types.History(
      rng.normal(size=(3, 9, 2)), rng.integers(0, 5, (3, 9)),
      rng.normal(size=(3, 9)), rng.random((3, 9)) < 0.5)
  for shape in ((1, 3), (3, 1)):
    many = jax.tree.map(lambda x, n=shape: x.reshape(*n, *x.shape[1:]), flat)
    assert_equal(histories.streams(many), flat)


LAYERS, WINDOW, LENGTH = 2, 5, 24
MODELS = {
    'transformer': transformer.Config(
        layers=LAYERS, width=8, heads=2, window=WINDOW, feed_forward=8),
    'lstm': lstm.Config(layers=LAYERS, width=8),
}


def random_inputs(rng):
  return sequence_model.Inputs(
      rng.integers(0, 5, (LENGTH, 2)).astype(np.int8),
      rng.integers(-1, 5, LENGTH).astype(np.int8),
      rng.normal(size=LENGTH).astype(np.float32), rng.random(LENGTH) < 0.5)


@functools.cache
def logits_of(kind):
  """Inputs [L] -> logits [L, A] of a model with random weights."""
  model = MODELS[kind].make(TASKS['dark_room'].env)
  rng = np.random.default_rng(0)
  # A fresh head is zero, which would hide everything.
  params = jax.tree.map(
      lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32),
      jax.eval_shape(model.init, jax.random.key(0), random_inputs(rng)))
  return jax.jit(functools.partial(model.apply, params))


def two_inputs(seed, differ):
  """Inputs that differ where that says so [L], and nowhere else."""
  rng = np.random.default_rng(seed)
  one, other = random_inputs(rng), random_inputs(rng)
  return one, jax.tree.map(lambda a, b: np.where(
      differ.reshape(-1, *[1] * (a.ndim - 1)), b, a), one, other)


@pytest.mark.parametrize('kind', MODELS)
@hypothesis.given(SEEDS, st.integers(0, LENGTH - 2))
@examples(max_examples=15)
def test_what_comes_after_a_step_cannot_matter_to_it(kind, seed, time):
  one, other = map(
      logits_of(kind), two_inputs(seed, np.arange(LENGTH) > time))
  np.testing.assert_array_equal(one[:time + 1], other[:time + 1])
  assert (one[time + 1] != other[time + 1]).any()


@hypothesis.given(SEEDS, st.integers(0, LENGTH - 1))
@examples(max_examples=15)
def test_what_lies_beyond_every_layers_window_cannot_matter(seed, time):
  one, other = map(
      logits_of('transformer'), two_inputs(seed, np.arange(LENGTH) <= time))
  first = time + LAYERS * (WINDOW - 1) + 1
  np.testing.assert_array_equal(one[first:], other[first:])
  assert (one[time] != other[time]).any()


def paths(config, prefix=''):
  """The dotted names of all groups and fields of a config."""
  for field in dataclasses.fields(config):
    yield prefix + field.name
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      yield from paths(value, f'{prefix}{field.name}.')


PRESETS = st.sampled_from(sorted(presets.PRESETS)).map(presets.PRESETS.get)
TEXTS = st.one_of(
    st.integers(-2, 300).map(str), st.integers().map(str),
    st.floats().map(str), st.sampled_from(['true', 'False', '', '8,4', ',']),
    st.text(max_size=6))


@hypothesis.given(st.data(), PRESETS, TEXTS)
@examples(max_examples=200)
def test_an_assignment_changes_its_field_alone_or_is_refused_by_name(
    data, preset, text):
  path = data.draw(st.sampled_from([*paths(preset), 'tasks.syze', 'sede']))
  try:
    new = config_lib.override(preset, [f'{path}={text}'])
  except ValueError as error:
    assert path in str(error)
    return
  old, changed = config_lib.flatten(preset), config_lib.flatten(new)
  assert {name for name in old if old[name] != changed[name]} <= {path}
  assert old.keys() == changed.keys()
  kind = type(old[path])
  assert type(changed[path]) is kind
  assert changed[path] == config_lib.parse(path, text.strip(), (
      tuple[int, ...] if kind is tuple else kind))


@dataclasses.dataclass(frozen=True)
class Leaf:
  count: int = 1
  share: float = 0.5
  on: bool = False
  widths: tuple[int, ...] = (4,)


@dataclasses.dataclass(frozen=True)
class Tree:
  left: Leaf = Leaf()
  right: Leaf = Leaf()
  name: str = 'a'


VALUES = {'count': st.integers(), 'on': st.booleans(),
          'share': st.floats(allow_nan=False, allow_infinity=False),
          'widths': st.lists(st.integers(), max_size=3).map(tuple)}


@hypothesis.given(st.fixed_dictionaries({}, optional={
    f'{side}.{name}': values
    for side in ('left', 'right') for name, values in VALUES.items()}))
@examples(max_examples=60)
def test_differences_name_exactly_what_was_overridden(values):
  def text(value):
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)

  new = config_lib.override(
      Tree(), [f'{path}={text(value)}' for path, value in values.items()])
  old = config_lib.flatten(Tree())
  assert config_lib.flatten(new) == old | values
  named = [line.split(': ')[0] for line in config_lib.differences(Tree(), new)]
  assert named == sorted(path for path in values if values[path] != old[path])
  assert not config_lib.differences(new, new)


@hypothesis.given(st.lists(st.one_of(
    st.text(), st.lists(st.sampled_from(
        ['left', 'right', 'count', 'widths', 'name', '.', '=', ',', '1', ' ']),
        max_size=6).map(''.join)), max_size=3))
@examples(max_examples=200)
def test_garbage_is_refused_and_never_more(assignments):
  try:
    new = config_lib.override(Tree(), assignments)
  except ValueError:
    return
  assert isinstance(new, Tree)
