"""The benchmark of source learners: env-steps/s, with the history stored."""

from collections.abc import Iterator
import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from adjax import histories
from adjax import types
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import actor_critic
from adjax.learners import annealed_oracle
from adjax.learners import coverage_search
from adjax.learners import dqn
from adjax.learners import posterior
from adjax.learners import rmax
from adjax.learners import tabular_q
from adjax.learners import thompson
from adjax.learners import ucb
from experiments.benchmarks import measure
from experiments.benchmarks import numpy_baseline

# ad-eps as published, tabular Q in two processes on two idle cores.
AD_EPS = 83e3


def program_of(
    source: types.Learner, tasks: types.Task, steps: int
) -> tuple[Any, float]:
  """A program that makes one history on each task, and its compile time."""
  return measure.compiled(
      lambda tasks, key: histories.generate(
          source, tasks, key, 1, steps)[0],
      tasks, jax.random.key(0))


def rows(runs: int) -> Iterator[measure.Row]:
  """env-steps/s of every learner; tabular Q and UCB1 beside NumPy.

  NumPy runs on one core, as it does.
  """
  stage, unit = 'histories', 'env-steps/s'
  tasks = dark_room.tasks()
  source = tabular_q.learner(tabular_q.Config(), tasks)
  for learners, steps in ((65, 4000), (260, 4000), (1040, 2000), (4160, 1000)):
    some = measure.first_tasks(tasks.train, learners)
    program, _ = program_of(source, some, steps)
    peer = functools.partial(
        numpy_baseline.tabular_q, np.asarray(some.goals[:, 0]), steps // 2, 0)
    seconds = measure.measure({'ours': program, 'peer': peer}, runs)
    row = measure.rate(
        stage, f'Dark Room, tabular Q, {learners} learners', unit,
        learners * steps, seconds['ours'], 'NumPy, 1 core',
        learners * steps // 2, seconds['peer'])
    yield row
    if learners == 260 and jax.default_backend() == 'cpu':
      yield measure.against(dataclasses.replace(row, metric='speed, published'),
                            'ad-eps, 2 processes', AD_EPS)
  arms = bandit.tasks()
  some = measure.first_tasks(arms.train, 4096)
  program, _ = program_of(ucb.learner(ucb.Config(), arms), some, 100)
  seconds = measure.measure(
      {'ours': program, 'peer': functools.partial(
          numpy_baseline.ucb, np.asarray(some.means), 100, 0)}, runs)
  yield measure.rate(
      stage, 'bandit, UCB1, 4096 learners', unit, 409_600, seconds['ours'],
      'NumPy, 1 core', 409_600, seconds['peer'])

  hard = dark_room.tasks(dark_room.DARK_ROOM_HARD)
  doors = dark_room.tasks(dark_room.KEY_TO_DOOR)
  maze = watermaze.tasks(watermaze.Config(height=18, width=24))
  for name, learner, some, learners, steps in (
      ('Hard, tabular Q', tabular_q.learner(tabular_q.Config(), hard), hard,
       1040, 1000),
      ('Key-to-Door, tabular Q', tabular_q.learner(
          tabular_q.Config(count_rewards=2), doors), doors, 1040, 1000),
      ('Dark Room, R-max', rmax.learner(rmax.Config(), tasks), tasks, 260, 800),
      ('Dark Room, posterior sampling', posterior.learner(
          posterior.Config(), tasks), tasks, 260, 800),
      ('Dark Room, annealed oracle', annealed_oracle.learner(
          annealed_oracle.Config(), tasks), tasks, 1040, 1000),
      ('Dark Room, A2C of 32 actors', actor_critic.learner(
          actor_critic.A2C, tasks), tasks, 52, 1000),
      ('Dark Room, DQN of 4 actors', dqn.learner(dqn.DQN, tasks), tasks, 16,
       200),
      ('bandit, Thompson sampling', thompson.learner(
          thompson.Config(), arms), arms, 4096, 100),
      ('Watermaze, coverage search', coverage_search.learner(
          coverage_search.Config(), maze), maze, 64, 200)):
    program, _ = program_of(
        learner, measure.first_tasks(some.train, learners), steps)
    made = program().done.size
    yield measure.rate(
        stage, f'{name}, {learners} learners', unit, made,
        measure.alone(program, min(runs, 3)))
