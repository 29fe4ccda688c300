"""The environments of a page, and what it draws and reads, under node."""

import base64
import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax.envs import bandit
from adjax.envs import dark_room
from tests import page_node


def grid(goals, **fields):
  """(config, goals) of a grid, small so that goals are met."""
  return dark_room.Config(**{
      'size': 3, 'episode_length': 12, 'num_goals': len(goals), 'num_train': 1,
      'num_validation': 1, 'num_held_out': 1} | fields), np.int8(goals)


GRIDS = {
    'pays always': grid([(0, 2)]),
    'elsewhere': grid([(1, 0)]),
    'nine cells': grid([(5, 4)], size=9, episode_length=20),
    'pays once': grid([(0, 1)], pays_once=True),
    'terminates': grid([(2, 2)], terminate=True),
    'key, then door': grid([(0, 1), (2, 1)], pays_once=True, random_start=True),
    'door under key': grid([(1, 2), (1, 2)], pays_once=True, random_start=True),
    'door ends it': grid([(2, 0), (0, 1)], pays_once=True, random_start=True,
                         terminate=True)}
# Of either sign, the largest, the smallest and no number.
RARE = np.float16([0, -0.0, 1, -2.5, 65504, 6e-8, -6e-5, 3.1415, np.inf])


def rollout(config, goals):
  """Of gymnax's environment: actions, and what 400 of them lead to."""
  env = dark_room.DarkRoom(config)
  task = env.default_params.replace(goals=jnp.asarray(goals))
  actions = np.random.default_rng(0).integers(0, 5, 400)

  @jax.jit
  def run():
    def step(carry, now):
      obs, state = carry
      new, state, reward, terminated, truncated, info = env.step(
          now[0], state, now[1], task)
      return (new, state), {
          'before': obs, 'obs': new, 'reward': reward,
          'done': terminated | truncated, 'next_obs': info['final_observation']}
    keys = jax.random.split(jax.random.key(0), len(actions))
    return jax.lax.scan(
        step, env.reset(jax.random.key(1), task), (keys, actions))[1]

  return task, actions, jax.tree.map(np.asarray, run())


@functools.cache
def rollouts():
  return {name: rollout(*some) for name, some in GRIDS.items()}


def environment_job(name):
  task, actions, found = rollouts()[name]
  scene = GRIDS[name][0].scene(jax.tree.map(np.asarray, task))
  starts = np.concatenate([found['before'][:1], found['obs'][found['done']]])
  return {'job': 'environment', 'scene': scene, 'actions': actions.tolist(),
          'seed': 0,
          # Drawn ones cannot be the same; the centre has to be found.
          **({'starts': starts.tolist()} if scene['random_start'] else {})}


def arms_job(reward):
  config = bandit.Config(arms=3, reward=reward, noise=0.2)
  task = bandit.EnvParams(means=np.float32([0, 0.7, 1]))
  return {'job': 'environment', 'scene': config.scene(task), 'seed': 3,
          'actions': [0, 1, 2] * 4000}


@pytest.fixture(scope='module')
def answers():
  """Of every job of this file."""
  return page_node.ask({
      **{name: environment_job(name) for name in GRIDS},
      'moved': environment_job('pays always') | {
          'later': GRIDS['elsewhere'][1].tolist()},
      **{name: arms_job(name) for name in ('bernoulli', 'gaussian')},
      'starts': {'job': 'environment', 'seed': 5, 'actions': [4] * 12 * 2000,
                 'scene': grid([(0, 0)], random_start=True)[0].scene(
                     dark_room.EnvParams(goals=np.int8([(0, 0)])))},
      'even': {'job': 'environment', 'seed': 5, 'actions': [4],
               'scene': GRIDS['pays always'][0].scene(dark_room.EnvParams(
                   goals=np.int8([(0, 0)]))) | {'size': 4}},
      'float16': {'job': 'float16', 'base64': base64.b64encode(
          zlib.compress(RARE.astype('<f2').tobytes())).decode()},
      'softmax': {'job': 'softmax', 'logits': [1, 3, 2], 'temperature': 2},
      'greedy': {'job': 'softmax', 'logits': [1, 3, 3], 'temperature': 0},
      'sample': {'job': 'sample', 'probabilities': [0.1, 0, 0.6, 0.3],
                 'count': 20_000, 'seed': 1},
  })


@page_node.needs_node
@pytest.mark.parametrize('name', GRIDS)
def test_grids_are_those_of_gymnax(answers, name):
  _, _, want = rollouts()[name]
  assert want['reward'].any() and want['done'].any()
  for field, values in want.items():
    np.testing.assert_array_equal(
        [step[field] for step in answers[name]], values, field)


@page_node.needs_node
def test_a_goal_may_be_moved_at_any_time(answers):
  rewards = [step['reward'] for step in answers['moved']]
  first, second = (rollouts()[name][2]['reward']
                   for name in ('pays always', 'elsewhere'))
  assert (first != second)[200:].any()
  np.testing.assert_array_equal(rewards, [*first[:200], *second[200:]])


@page_node.needs_node
def test_random_starts_are_uniform(answers):
  starts = np.array([step['before'] for step in answers['starts'][::12]])
  counts = np.bincount(starts @ [3, 1], minlength=9)
  assert np.abs(counts / len(starts) - 1 / 9).max() < 0.03


@page_node.needs_node
def test_an_even_grid_begins_in_a_cell(answers):
  assert answers['even'][0]['before'] == [2, 2]  # As size // 2 in Python.


@page_node.needs_node
@pytest.mark.parametrize('reward, deviation', [
    ('bernoulli', [0, 0.21**0.5, 0]), ('gaussian', [0.2] * 3)])
def test_arms_pay_their_means(answers, reward, deviation):
  steps = answers[reward]
  assert all(step['done'] and step['obs'] == [0] for step in steps)
  rewards = np.array([step['reward'] for step in steps]).reshape(-1, 3)
  np.testing.assert_allclose(rewards.mean(0), [0, 0.7, 1], atol=0.02)
  np.testing.assert_allclose(rewards.std(0), deviation, atol=0.02)


@page_node.needs_node
def test_weights_are_inflated_exactly(answers):
  infinite = answers['float16'].pop()  # As JSON has it.
  assert infinite is None
  np.testing.assert_array_equal(answers['float16'], RARE[:-1].astype(float))


@page_node.needs_node
def test_actions_are_sampled_by_their_probabilities(answers):
  np.testing.assert_allclose(
      answers['softmax'], jax.nn.softmax(jnp.array([0.5, 1.5, 1])), atol=1e-6)
  assert answers['greedy'] == [0, 1, 0]
  np.testing.assert_allclose(
      np.array(answers['sample']) / 20_000, [0.1, 0, 0.6, 0.3], atol=0.02)
