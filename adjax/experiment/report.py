"""The figures of a run: an epoch's line, the result, the last words."""

import os
from typing import Any

import chex
import jax
import numpy as np

from adjax import devices
from adjax import histories
from adjax import metrics
from adjax import types
from adjax.experiment import clock as clock_lib
from adjax.experiment import setup as setup_lib
from adjax.learners import references
from adjax.page import data as page_data


def optimum(
    tasks: types.TaskDistribution, some: types.Task
) -> np.ndarray | None:
  """The optimal return [N] of each of some tasks; None if nobody knows it."""
  if tasks.optimal_return is None:
    return None
  return np.asarray(jax.vmap(tasks.optimal_return)(some))


def epoch_line(
    number: int, measured: dict[str, Any],
    optima: dict[str, np.ndarray | None], seconds: float, transitions: int,
    before: list[dict[str, Any]], ended: np.ndarray,
) -> dict[str, Any]:
  """What metrics.jsonl says of an epoch.

  Args:
    number: of the epoch, from 1.
    measured: loss, gradient_norm, skipped and what else training tells
      [seeds, U]; returns {name: [seeds, N, R, E]}.
    optima: {name: [N], or None if nobody knows it}.
    seconds: the epoch took.
    transitions: it was trained on.
    before: the lines of the epochs before.
    ended: whether training has ended early [seeds], for want of gradients that
      are finite.
  """
  returns = measured['returns']
  told = {name: x for name, x in measured.items()
          if name not in ('returns', 'skipped')}
  line = {'epoch': number, 'loss_per_seed': [
      _finite_mean(x) for x in told['loss'][:, -100:]]}
  for name, x in told.items():
    line[name] = _finite_mean(x[:, -100:])
  # By seed: updates left out, since something in them was not finite.
  skipped = measured['skipped'].sum(1)
  line['skipped'] = skipped.tolist()
  line['skipped_total'] = (
      skipped + (before[-1]['skipped_total'] if before else 0)).tolist()
  line['ended_early'] = np.flatnonzero(ended).tolist()
  for name, curves in returns.items():
    by_task = np.nanmean(curves, (0, 2))  # [N, E].
    line[name] = {
        'optimum': _to_list(optima[name]),
        'return_mean': by_task.mean(0).tolist(),
        'last_10_per_task': by_task[:, -10:].mean(1).tolist()}
  return line | {'seconds': seconds, 'transitions_per_s': transitions / seconds}


def _to_list(x: np.ndarray | None) -> list[Any] | None:
  return None if x is None else x.tolist()


def _finite_mean(x: np.ndarray) -> float | None:
  """The mean of what is finite in x; None, for want of NaN in JSON, if none."""
  x = x[np.isfinite(x)]
  return float(x.mean()) if x.size else None


References = dict[str, dict[str, clock_lib.Program]]
Curves = dict[str, dict[str, np.ndarray]]


def compile_references(
    setup: setup_lib.Setup, clock: clock_lib.Clock
) -> References:
  """Programs that run the source and the references on held-out tasks.

  Args:
    setup: the run's objects.
    clock: compiles them.

  Returns:
    {'held_out' and each shifted set: {learner: (tasks [N], key) -> learning
    curves [N, R * K, E]}}, of the learners that the tasks allow.
  """
  tasks, evaluate = setup.tasks, setup.experiment.evaluate
  learners = {'random': references.random(tasks)}
  if setup.source is not None:
    learners['source'] = setup.source
  if tasks.goal_policy is not None:
    learners['random_walk_with_memory'] = (
        references.random_walk_with_memory(tasks))
  if tasks.optimal_policy is not None:
    learners['oracle'] = references.oracle(tasks)

  def program(learner: types.Learner, some: types.Task) -> clock_lib.Program:
    def rollouts(some: types.Task, key: chex.PRNGKey) -> chex.Array:
      history, _ = histories.generate(
          learner, some, key, evaluate.reference_runs,
          evaluate.episodes * tasks.episode_length)
      return metrics.learning_curves(
          history.reward, history.done, evaluate.episodes)
    return clock.compile(rollouts, some, setup.keys.references)

  return {name: {kind: program(learner, some)
                 for kind, learner in learners.items()}
          for name, some in held_out_sets(tasks).items()}


def run_references(setup: setup_lib.Setup, programs: References) -> Curves:
  """Runs what compile_references made.

  Returns:
    {'held_out' and each shifted set: {learner: learning curves [N, R * K, E]}}.
  """
  return {name: {kind: devices.fetch(jax.block_until_ready(
      program(some, setup.keys.references)))
                 for kind, program in programs[name].items()}
          for name, some in held_out_sets(setup.tasks).items()}


def held_out_sets(tasks: types.TaskDistribution) -> dict[str, types.Task]:
  """{name: tasks} of all sets for the final checkpoint."""
  return {'held_out': tasks.held_out} | dict(tasks.shifted)


def result(
    setup: setup_lib.Setup, references: Curves,
    evaluated: dict[str, tuple[np.ndarray, types.History]],
    line: dict[str, Any],
) -> dict[str, Any]:
  """The held-out figures, and those of the references on the same tasks.

  Args:
    setup: the run's objects.
    references: of run_references.
    evaluated: {'held_out' and each shifted set: learning curves [seeds, N, R,
      E], and more}.
    line: the last epoch's.
  """
  tasks = setup.tasks

  def section(
      name: str, some: types.Task
  ) -> tuple[dict[str, Any], dict[str, Any]]:
    ours = _ours(tasks, some, evaluated[name][0])
    others = _references(setup, references[name])
    if 'source' in others:
      ours['normalised'] = _normalised(
          ours['return_mean'], others['random'],
          others['source']['return_mean'])
    return ours, others

  sections = {name: section(name, some)
              for name, some in held_out_sets(tasks).items()}
  held_out, others = sections.pop('held_out')
  shifted = {name: ours | beside for name, (ours, beside) in sections.items()}
  return {
      'experiment': setup.experiment.name, 'seeds': setup.experiment.seeds,
      'optimum_known': tasks.optimal_return is not None,
      'held_out': held_out,
      'validation': {name: line['validation'][name]
                     for name in ('optimum', 'return_mean')},
      'train': {name: line['train'][name]
                for name in ('optimum', 'return_mean')},
  } | others | ({'shifted': shifted} if shifted else {})


def _ours(
    tasks: types.TaskDistribution, some: types.Task, returns: np.ndarray
) -> dict[str, Any]:
  """The learning curves [seeds, N, R, E] of our own model on some tasks."""
  best = optimum(tasks, some)
  returns = returns.astype(np.float64)
  known = {'optimum': _to_list(best)}
  optima = page_data.optimum_of(known)
  # Of shares of each task's own optimum, so that it trims bad runs and not far
  # goals; where nobody knows it, of returns.
  unit = np.ones(types.num_tasks(some)) if optima is None else optima
  shares = returns / unit[:, None, None]
  mean = np.nanmean(returns, (0, 1, 2))
  ci95, iqm_ci95 = metrics.intervals(returns, optima)
  late = np.nanmean(returns[..., -10:], -1)
  late_ci95, _ = metrics.intervals(late, optima)
  return known | {
      'return_mean': mean.tolist(),
      'return_iqm': (unit.mean() * metrics.iqm(
          shares.reshape(-1, shares.shape[-1]))).tolist(),
      'interval': metrics.over(returns.shape),
      'ci95': ci95.tolist(), 'iqm_ci95': iqm_ci95.tolist(),
      'per_task': np.nanmean(returns, (0, 2)).tolist(),
      'per_seed': np.nanmean(returns, (1, 2)).tolist(),
      'last_10': {
          'return_mean': float(np.nanmean(late)), 'ci95': late_ci95.tolist(),
          'worst_task': float(np.min(np.nanmean(late, (0, 2)) / unit))},
      'nauc': None if optima is None else float(mean.mean() / unit.mean()),
      'episodes_to_90': None if optima is None else first_to_stay(
          mean, 0.9 * unit.mean()),
  }


def first_to_stay(
    curve: np.ndarray, level: float, window: int = 5
) -> int | None:
  """The first episode, from 1, from which a curve [E] stays at a level.

  From there on every mean over `window` episodes in a row (all, if there are
  fewer) is at least the level. None if there is no such episode.
  """
  window = min(window, len(curve))
  means = np.convolve(curve, np.full(window, 1 / window), 'valid')
  below = np.flatnonzero(~(means >= level))
  first = int(below[-1]) + 2 if below.size else 1
  return first if first <= len(means) else None


def _references(
    setup: setup_lib.Setup, references: dict[str, np.ndarray]
) -> dict[str, Any]:
  """The source and the references on some tasks, as far as there are any."""
  found: dict[str, Any] = {}
  for name, curves in references.items():
    mean = np.nanmean(curves, (0, 1))
    if name in ('random', 'oracle'):  # These do not learn.
      found[name] = float(mean.mean())
      continue
    found[name] = {'return_mean': mean.tolist()}
    if name == 'source':
      actors = curves.shape[1] // setup.experiment.evaluate.reference_runs
      found[name]['actors'] = actors
      if actors > 1:
        found[name]['aggregate'] = aggregate(mean, actors).tolist()
  return found


def aggregate(per_actor: np.ndarray, actors: int) -> np.ndarray:
  """A source's curve [E] when the episodes of all its actors are counted.

  The paper draws its sources so (its figures' axes are sums over 100 actors):
  episode e of the sum is episode e / K of each actor.
  """
  return per_actor[np.arange(len(per_actor)) // actors]


def _normalised(
    ours: list[float], random: float, source: list[float]
) -> float | None:
  """Of a whole rollout: 0 for the random learner, 1 for the source."""
  gap = np.mean(source) - random
  return float((np.mean(ours) - random) / gap) if gap > 0 else None


def summary(found: dict[str, Any], workdir: str) -> str:
  """The last lines on the screen."""
  held_out = found['held_out']
  # Shares of the optimum, or returns where nobody knows it.
  optima = page_data.optimum_of(held_out)
  unit = 'held-out return'
  if optima is None:
    optima = np.ones(1)
  else:
    unit += f' as a share of the optimum ({optima.mean():.2f})'
  best = optima.mean()
  returns = np.asarray(held_out['return_mean'])
  last = min(10, len(returns))
  worst = np.min(np.mean(np.asarray(held_out['per_task'])[:, -last:], 1)
                 / optima)
  shares = '  '.join(f'episode {n}: {returns[n - 1] / best:.3f}'
                     for n in (1, 2, 5, 10, 20, 30, 50, 100)
                     if n <= len(returns))
  shares += f'  all: {returns.mean() / best:.3f}'
  beside = [f'{name} {np.mean(found[name]["return_mean"][-last:]) / best:.3f}'
            for name in ('source', 'random_walk_with_memory') if name in found]
  beside.append(f'random {found["random"] / best:.3f}')
  lines = [
      unit, f'  {shares}',
      f'  last {last} episodes: {returns[-last:].mean() / best:.3f}, worst '
      f'task {worst:.3f}; ' + ', '.join(beside)]
  sets = {'held out': held_out} | found.get('shifted', {})
  if len(sets) > 1:
    lines.append('  whole rollout, random 0 and source 1: ' + ', '.join(
        f'{name} {some["normalised"]:.3f}' for name, some in sets.items()
        if some.get('normalised') is not None))
  if any(found['skipped_total']):
    lines.append('  updates skipped by seed, not finite: '
                 f'{found["skipped_total"]}')
  if found['ended_early']:
    lines.append(f'  training ended early, by these, in seeds '
                 f'{found["ended_early"]}')
  written = [name for name in ('report.html', 'result.json')
             if os.path.exists(os.path.join(workdir, name))]
  return '\n'.join([
      *lines, f'{found["seconds"]["total"]:.0f} s in all; {workdir}/'
      + ', '.join(written)])
