"""The figures of a run: an epoch's line, the result, the last words."""

from typing import Any

import chex
import jax
import numpy as np

from adjax import histories
from adjax import metrics
from adjax import types
from adjax.learners import references
from experiments import configs


def optimum(tasks: types.TaskDistribution, some: types.Task) -> np.ndarray:
  """The optimal return [N] of each of some tasks."""
  return np.asarray(jax.vmap(tasks.optimal_return)(some))


def epoch_line(
    number: int, measured: dict[str, Any], optima: dict[str, np.ndarray],
    seconds: float, transitions: int,
) -> dict[str, Any]:
  """What metrics.jsonl says of an epoch.

  Args:
    number: of the epoch, from 1.
    measured: loss, gradient_norm [seeds, U]; returns {name: [seeds, N, R, E]}.
    optima: {name: [N]}.
    seconds: the epoch took.
    transitions: it was trained on.
  """
  losses = measured['loss'][:, -100:].mean(1)
  line = {
      'epoch': number, 'loss': float(losses.mean()),
      'loss_per_seed': losses.tolist(),
      'gradient_norm': float(measured['gradient_norm'].mean()),
  }
  for name, returns in measured['returns'].items():
    by_task = np.nanmean(returns, (0, 2))  # [N, E].
    line[name] = {
        'optimum': optima[name].tolist(),
        'return_mean': by_task.mean(0).tolist(),
        'last_10_per_task': by_task[:, -10:].mean(1).tolist()}
  return line | {'seconds': seconds, 'transitions_per_s': transitions / seconds}


def result(
    experiment: configs.Experiment, tasks: types.TaskDistribution,
    source: types.Learner, lives: types.History, line: dict[str, Any],
    key: chex.PRNGKey, mesh: Any = None,
) -> dict[str, Any]:
  """The held-out figures, and those of the references on the same tasks.

  Args:
    experiment: the config.
    tasks: its tasks.
    source: its source learner.
    lives: History [seeds, N, R, T] on the held-out tasks.
    line: the last epoch's.
    key: of the references.
    mesh: the devices.
  """
  episodes = experiment.evaluate.episodes
  returns = np.asarray(
      metrics.learning_curves(lives.reward, lives.done, episodes))
  best = optimum(tasks, tasks.held_out)

  def reference(learner):
    history = histories.generate(
        learner, tasks.held_out, key, experiment.evaluate.reference_runs,
        episodes * tasks.episode_length, mesh)
    curves = metrics.learning_curves(history.reward, history.done, episodes)
    return np.nanmean(np.asarray(curves), (0, 1))

  return {
      'experiment': experiment.name, 'seeds': experiment.seeds,
      'heldout': {
          'optimum': best.tolist(),
          'return_mean': np.nanmean(returns, (0, 1, 2)).tolist(),
          # Of shares of each task's own optimum, so that it trims bad lives
          # and not far goals.
          'return_iqm': (best.mean() * metrics.iqm(
              (returns / best[:, None, None]).reshape(-1, episodes))).tolist(),
          'ci95': metrics.bootstrap(returns).tolist(),
          'per_task': np.nanmean(returns, (0, 2)).tolist(),
          'per_seed': np.nanmean(returns, (1, 2)).tolist(),
      },
      'validation': {name: line['validation'][name]
                     for name in ('optimum', 'return_mean')},
      'train': {name: line['train'][name]
                for name in ('optimum', 'return_mean')},
      'source': {'return_mean': reference(source).tolist()},
      'remember': {
          'return_mean': reference(references.remember(tasks)).tolist()},
      'oracle': float(reference(references.oracle(tasks)).mean()),
      'random': float(reference(references.random(tasks)).mean()),
  }


def summary(found: dict[str, Any], workdir: str) -> str:
  """The last lines on the screen."""
  heldout = found['heldout']
  best = np.mean(heldout['optimum'])
  returns = np.asarray(heldout['return_mean'])
  last = min(10, len(returns))
  worst = np.min(np.mean(np.asarray(heldout['per_task'])[:, -last:], 1)
                 / heldout['optimum'])
  shares = '  '.join(f'episode {n}: {returns[n - 1] / best:.3f}'
                     for n in (1, 2, 5, 10, 20, 30) if n <= len(returns))
  remembered = np.mean(found['remember']['return_mean'][-last:])
  return (
      f'held-out return as a share of the optimum ({best:.2f})\n'
      f'  {shares}\n'
      f'  last {last} episodes: {returns[-last:].mean() / best:.3f}, worst '
      f'task {worst:.3f}; remember {remembered / best:.3f}, random '
      f'{found["random"] / best:.3f}\n'
      f'{found["seconds"]["total"]:.0f} s in all; {workdir}/result.json, '
      'curve.png, visits.png')
