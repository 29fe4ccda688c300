"""The grids against another project's, where the rules agree.

toymeta (Nikulin; PyPI) has the same rooms for gymnasium, with a cell as one
integer, rows counted from the top and other numbers for the actions. Its rules
are other than ours, and than the paper's, in that

  * Dark Room (Hard) ends at its goal instead of paying once, and Key-to-Door
    ends at its door: `terminate=True` here;
  * a door under its key pays with the key, where here it takes one step more:
    `same_cell=False` keeps to tasks in which that does not happen.
"""

import dataclasses

from gymnasium import wrappers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toymeta import dark_key_door
from toymeta import dark_room as their_dark_room

from adjax.envs import dark_room

# left, right, up, down, no-op; theirs are no-op, up, right, down, left.
ACTIONS = (4, 2, 1, 3, 0)
ROLLOUTS, STEPS = 12, 400

_TINY = {'size': 3, 'num_train': 1, 'num_validation': 1, 'num_held_out': 1}
_KEY_TO_DOOR = dataclasses.replace(
    dark_room.KEY_TO_DOOR, terminate=True, same_cell=False)


def cell_of(state, size):
  """Our (x, y), y upwards, of their number of a cell."""
  row, column = divmod(state, size)
  return column, size - 1 - row


def ours(config, tasks, actions):
  """What our environment says of each step, [ROLLOUTS, STEPS]."""
  env = dark_room.DarkRoom(config)

  def rollout(task, actions, key):
    reset_key, step_key = jax.random.split(key)
    obs, state = env.reset(reset_key, task)

    def step(carry, given):
      obs, state = carry
      action, key = given
      new_obs, state, reward, terminated, truncated, info = env.step(
          key, state, action, task)
      return (new_obs, state), (
          obs, reward, terminated, truncated, info['final_observation'])

    _, steps = jax.lax.scan(
        step, (obs, state), (actions, jax.random.split(step_key, STEPS)))
    return steps

  return jax.tree.map(np.asarray, jax.jit(jax.vmap(rollout))(
      tasks, actions, jax.random.split(jax.random.key(0), ROLLOUTS)))


@pytest.mark.parametrize('config', [
    dark_room.DARK_ROOM,
    dark_room.Config(terminate=True),
    dark_room.Config(random_start=True),
    dark_room.Config(episode_length=10, **_TINY),
    dataclasses.replace(dark_room.DARK_ROOM_HARD, terminate=True),
    _KEY_TO_DOOR,
    dataclasses.replace(_KEY_TO_DOOR, random_start=False),
    dataclasses.replace(_KEY_TO_DOOR, episode_length=20, **_TINY),
])
def test_both_say_the_same_of_every_step(config):
  rng = np.random.default_rng(0)
  size = config.size
  # Goals near the centre, so that a random walk meets them.
  near = [(x, y) for x in range(size) for y in range(size)
          if abs(x - size // 2) + abs(y - size // 2) <= 4]
  goals = np.array([
      [near[i] for i in rng.choice(len(near), config.num_goals, replace=False)]
      for _ in range(ROLLOUTS)], np.int8)
  tasks = dark_room.EnvParams(
      goals=jnp.asarray(goals),
      max_steps_in_episode=jnp.full(ROLLOUTS, config.episode_length))
  actions = rng.integers(0, 5, (ROLLOUTS, STEPS))
  steps = ours(config, tasks, jnp.asarray(actions, jnp.int8))
  assert steps[1].sum() > 20  # Goals are met,
  assert (steps[1].reshape(ROLLOUTS, -1).sum(1) > 0).mean() > 0.5  # by most.
  for n in range(ROLLOUTS):
    # (row, column) from the top; a door comes before its key.
    cells = [np.array((size - 1 - y, x)) for x, y in goals[n]]
    if config.num_goals == 1:
      env = their_dark_room.DarkRoom(
          size, cells[0], config.random_start, config.terminate)
    else:
      env = dark_key_door.DarkKeyToDoor(size, cells[::-1], config.random_start)
    env = wrappers.TimeLimit(env, config.episode_length)
    over = True
    for t in range(STEPS):
      cell, reward, terminated, truncated, after = (x[n, t] for x in steps)
      if over:
        start, _ = env.reset(seed=0)
        if config.random_start:
          env.unwrapped.agent_pos = np.array(
              (size - 1 - cell[1], cell[0]), np.float32)
        else:
          assert tuple(cell) == cell_of(start, size)
      state, paid, ended, late, _ = env.step(ACTIONS[actions[n, t]])
      assert (tuple(after), reward, terminated, truncated) == (
          cell_of(state, size), paid, ended, late)
      over = ended or late
