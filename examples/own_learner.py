"""A learner of one's own: tries every arm a few times, then keeps to the best.

  python own_learner.py

Nothing of adjax knows of it. The same experiment with flags, and this learner
in another experiment, here:

  adjax run --experiment=own_learner.py --set source.tries=5
  adjax run --experiment=bandit --set source=own_learner.py:Source
"""

import dataclasses
import logging
from typing import NamedTuple

import jax
import jax.numpy as jnp

import adjax
from adjax.envs import bandit
from adjax.learners import stepping
from adjax.methods import distill
from adjax.models import transformer


class State(NamedTuple):
  """All that the learner keeps from step to step.

  Attributes:
    actor: the environment's state and observation; a new episode begins by
      itself.
    pulls: [A], how often each action was taken.
    total: [A], what that paid.
  """
  actor: stepping.ActorState
  pulls: jax.Array
  total: jax.Array


@dataclasses.dataclass(frozen=True)
class Source:
  """Explore, then commit; the fields can be set on the command line.

  Attributes:
    tries: of every action, before the best one is kept to.
  """
  tries: int = 2

  def make(self, tasks):
    env = tasks.env

    def init(task, key):
      none = jnp.zeros(stepping.num_actions(env))
      return State(stepping.reset(env, task, key), pulls=none, total=none)

    def step(task, state, key):
      choose_key, env_key = jax.random.split(key)
      explore = state.pulls < self.tries
      mean = state.total / jnp.maximum(state.pulls, 1)
      worth = jnp.where(explore.any(), explore, mean)
      best = worth == worth.max()  # One of these, uniformly.
      action = jax.random.categorical(choose_key, jnp.log(best))
      actor, transition = stepping.step(
          env, task, state.actor, action, env_key)
      return State(
          actor, pulls=state.pulls.at[action].add(1.0),
          total=state.total.at[action].add(transition.reward)
      ), stepping.single(transition)

    return adjax.Learner(init, step)


experiment = adjax.Experiment(
    name='own_learner', tasks=bandit.Config(num_train=2048), source=Source(),
    data=adjax.Data(histories=16, episodes=100),
    model=transformer.Config(layers=2, window=100),
    method=distill.Config(epochs=3, updates_per_epoch=200, length=100),
    evaluate=adjax.Evaluate(episodes=100, runs=1, held_out_runs=4,
                            reference_runs=16))

if __name__ == '__main__':
  logging.basicConfig(format='%(message)s')
  logging.getLogger('adjax').setLevel('INFO')
  adjax.run(experiment, 'runs/own_learner')
