r"""An environment of one's own: a corridor, and a goal that cannot be seen.

Nor can it be seen whether left and right are exchanged.

  python own_environment.py

Nothing of adjax knows of it. The same experiment with flags, and this
environment in another experiment, here:

  adjax run --experiment=own_environment.py --seeds=3
  adjax run --experiment=dark_room_q --set tasks=own_environment.py:Tasks \
    --set method.length=240
"""

import dataclasses
import logging

from flax import struct
from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp

import adjax
from adjax.learners import rmax
from adjax.methods import distill
from adjax.models import transformer

CELLS, MIDDLE, STEPS = 15, 7, 12


@struct.dataclass
class Task(environment.EnvParams):
  """What a learner has to find out: the same in all episodes of a history."""
  goal: jax.Array = 0
  direction: jax.Array = 1
  max_steps_in_episode: jax.Array = STEPS


@struct.dataclass
class State(environment.EnvState):
  """Begins anew with every episode; `time` is gymnax's."""
  cell: jax.Array


class Corridor(environment.Environment):
  """Left, stay or right, from the middle; the goal pays on every step."""
  default_params = Task()

  def action_space(self, task=None):
    return spaces.Discrete(3)

  def observation_space(self, task=None):
    return spaces.Box(0, CELLS - 1, (1,), jnp.int32)

  def reset_env(self, key, task):
    cell = jnp.int32(MIDDLE)
    return cell[None], State(time=jnp.int32(0), cell=cell)

  def step_env(self, key, state, action, task):
    cell = jnp.clip(state.cell + task.direction * (action - 1), 0, CELLS - 1)
    # Not terminated: an episode ends when its time is over, and only then.
    return (cell[None], State(time=state.time + 1, cell=cell),
            jnp.float32(cell == task.goal), jnp.bool_(False), {})


@dataclasses.dataclass(frozen=True)
class Tasks:
  """Which tasks are for what; the fields can be set on the command line."""
  split_seed: int = 0

  def make(self):
    ids = jax.random.permutation(jax.random.key(self.split_seed), 2 * CELLS)
    tasks = jax.vmap(lambda n: Task(goal=n // 2, direction=2 * (n % 2) - 1))
    # May be left out: then results are returns, and not shares of the optimum.
    best = lambda task: STEPS + 1 - jnp.maximum(1, abs(task.goal - MIDDLE))
    return adjax.TaskDistribution(
        env=Corridor(), train=tasks(ids[12:]), validation=tasks(ids[:6]),
        held_out=tasks(ids[6:12]), episode_length=STEPS, optimal_return=best)


experiment = adjax.Experiment(
    name='own_environment', tasks=Tasks(), source=rmax.Config(),
    data=adjax.Data(episodes=25), model=transformer.Config(layers=2),
    method=distill.Config(epochs=3))

if __name__ == '__main__':
  logging.basicConfig(format='%(message)s')
  logging.getLogger('adjax').setLevel('INFO')
  adjax.run(experiment, 'runs/own_environment')
