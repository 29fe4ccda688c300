"""Contexts that begin with what somebody else did: more sets of a run's row.

A run's weights meet the held-out tasks once more, each time after some episodes
of a policy that earns 5 to 95 % of the optimum: it takes an action at random
now and then.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import histories
from adjax import types
from adjax.experiment import report
from adjax.learners import annealed_oracle
from adjax.learners import stepping
from adjax.models import in_context
from adjax.models import sequence_model
from experiments.reproduce import trained

SHARES = 5, 25, 50, 75, 95
# Episodes of somebody else, of the model, and runs on each task.
_GIVEN, _EPISODES, _RUNS = 10, 50, 8


def name_of(share: int) -> str:
  """Of the set of tasks that begin so."""
  return f'prompt_{share}'


def sets(run: trained.Trained) -> dict[str, dict[str, Any]]:
  """{name: set of a row} of a finished run's weights after each policy."""
  tasks = run.tasks
  optimum = report.optimum(tasks, tasks.held_out)
  assert optimum is not None and tasks.optimal_policy is not None
  learner_of = lambda params, epsilon: prompted(
      tasks, run.setup.model, params, run.evaluate.temperature, epsilon,
      _GIVEN * tasks.episode_length)
  after = trained.compiled(
      run, learner_of, tasks.held_out, _RUNS, _GIVEN + _EPISODES)
  found = {}
  key = jax.random.key(run.setup.experiment.seed)
  for share, epsilon in zip(SHARES, noises(tasks, key), strict=True):
    returns = after(epsilon)
    found[name_of(share)] = trained.as_set(run, returns[..., _GIVEN:]) | {
        'noise': round(epsilon, 4),
        'given': round(float(returns[..., :_GIVEN].mean() / optimum.mean()), 4)}
  return found


def noises(tasks: types.TaskDistribution, key: chex.PRNGKey) -> list[float]:
  """The shares of random actions with which a policy earns each of SHARES."""
  optimum = report.optimum(tasks, tasks.train)
  assert optimum is not None

  @jax.jit
  def earned(epsilon: chex.Array) -> chex.Array:
    learner = stepping.policy(
        tasks.env, lambda task, actor, time, key: annealed_oracle.noisy(
            tasks, epsilon, task, actor.env_state, key))
    history, _ = histories.generate(
        learner, tasks.train, key, _RUNS, tasks.episode_length)
    return history.reward.sum(-1).mean() / optimum.mean()

  grid = np.linspace(1, 0, 41)
  # What is drawn is the same for all, so that it hardly ever falls.
  shares = np.maximum.accumulate([float(earned(x)) for x in grid])
  return [float(np.interp(share / 100, shares, grid)) for share in SHARES]


def prompted(
    tasks: types.TaskDistribution, model: sequence_model.SequenceModel,
    params: types.PyTree, temperature: float, epsilon: chex.Numeric, steps: int,
) -> types.Learner:
  """A model in context in whose place a noisy optimal policy acts at first."""
  inner = in_context.in_context(tasks.env, model, params, temperature)

  def step(
      task: types.Task, state: tuple[in_context.State, chex.Array],
      key: chex.PRNGKey,
  ) -> tuple[tuple[in_context.State, chex.Array], types.Transition]:
    known, time = state
    own_key, given_key, env_key = jax.random.split(key, 3)
    logits, cache = model.apply(
        params, known.inputs, known.cache, method='step')
    action = jnp.where(
        time < steps, annealed_oracle.noisy(
            tasks, epsilon, task, known.actor.env_state, given_key),
        in_context.choose(logits, temperature,
                          jax.random.gumbel(own_key, logits.shape)))
    known, transition = in_context.advance(
        tasks.env, task, known._replace(cache=cache), action, env_key)
    return (known, time + 1), transition

  return types.Learner(
      lambda task, key: (inner.init(task, key), jnp.int32(0)), step)
