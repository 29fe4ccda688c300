"""The pictures of a run."""

import json
import os
import pathlib
from typing import Any

from matplotlib import figure as figure_lib
import numpy as np

from adjax import types
from adjax.experiment import specification
from adjax.page import data as page_data

_CURVES = pathlib.Path(__file__).parent / 'paper_curves.json'


def published(tasks: specification.Tasks) -> dict[str, Any]:
  """The paper's AD curve and the upper bound, if they are of these rules."""
  for known in json.loads(
      _CURVES.read_text(encoding='utf-8'))['curves'].values():
    if type(tasks).__module__ == known['module'] and all(
        getattr(tasks, rule) == value
        for rule, value in known['rules'].items()):
      return known
  return {}


def curve(
    result: dict[str, Any], tasks: specification.Tasks, path: str
) -> None:
  """Held-out return by episode, between the lines that give it a meaning.

  Args:
    result: what result.json says.
    tasks: their configuration.
    path: of the PNG.
  """
  held_out = result['held_out']
  optima = page_data.optimum_of(held_out)
  optimum = None if optima is None else float(optima.mean())
  mean = np.asarray(held_out['return_mean'])
  episode = np.arange(1, len(mean) + 1)
  figure = figure_lib.Figure(figsize=(7.2, 4.4))
  axes = figure.subplots()
  known = published(tasks)
  if 'upper_bound' in known and optimum is not None:
    bound = np.asarray(known['upper_bound'])
    bound = np.pad(bound, (0, max(0, len(mean) - len(bound))), 'edge')
    # The bound is a mean over all tasks; these have an optimum of their own.
    axes.plot(episode, bound[:len(mean)] * optimum / bound[-1], color='0.3',
              lw=1, ls=':', label='upper bound (all tasks, rescaled)')
  source = result.get('source', {})
  for name, style, label in (
      ('return_mean', '-', 'source learner, same tasks'),
      ('aggregate', ':', 'source learner, episodes of all actors counted')):
    if name in source:
      axes.plot(episode, source[name], style, color='tab:orange', lw=1.2,
                label=label)
  if 'random_walk_with_memory' in result:
    axes.plot(episode, result['random_walk_with_memory']['return_mean'],
              color='tab:green', lw=1.2,
              label='random walk, then to the rewarded state')
  for number, (name, some) in enumerate(result.get('shifted', {}).items()):
    axes.plot(episode, some['return_mean'], color=f'C{4 + number}', lw=1.2,
              label=f'adjax, {name} tasks')
  axes.axhline(result['random'], color='tab:gray', lw=1, label='random')
  if 'paper_ad' in known:
    axes.plot(*np.asarray(known['paper_ad']).T, color='tab:red', lw=1.2,
              label='AD of the paper (Laskin et al. 2022)')
  train, rescaled = np.asarray(result['train']['return_mean']), ''
  if optimum is not None:
    train = train * optimum / np.mean(result['train']['optimum'])
    rescaled = ' (rescaled)'
  axes.plot(episode, train, color='tab:blue', lw=1, ls='--',
            label=f'adjax, training tasks{rescaled}')
  axes.fill_between(episode, *np.asarray(held_out['ci95']), color='tab:blue',
                    alpha=0.25, lw=0)
  axes.plot(episode, mean, color='tab:blue', lw=2.2,
            label='adjax, held-out tasks (95 % interval)')
  if optimum is not None:
    axes.set_ylim(0, optimum * 1.04)
  axes.set(xlim=(1, max(2, len(mean))), xlabel='episode',
           ylabel='return of the episode')
  axes.set_title(f'{result["experiment"]}: tasks never trained on, '
                 'weights frozen', fontsize=10)
  axes.spines[['top', 'right']].set_visible(False)
  axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize=8,
              frameon=False)
  _save(figure, path)


def visits(
    history: types.History, task: types.Task, tasks: specification.Tasks,
    path: str, episodes: tuple[int, ...] = (1, 2, 4, 8, 16, 32),
) -> None:
  """Where the agent went in some episodes of one history on one task.

  Only for tasks whose configuration has `draw(axes, obs [T, *O], task)`.

  Args:
    history: History [T].
    task: of NumPy arrays.
    tasks: their configuration.
    path: of the PNG.
    episodes: which, from 1.
  """
  draw = getattr(tasks, 'draw', None)
  ended = np.cumsum(history.done)
  number = ended - history.done + 1
  shown = [n for n in episodes if n <= ended[-1]]
  if draw is None or not shown:
    return
  figure = figure_lib.Figure(figsize=(1.9 * len(shown), 2.3))
  panels = figure.subplots(1, len(shown), squeeze=False)
  for axes, episode in zip(panels[0], shown):
    now = number == episode
    draw(axes, history.obs[now], task)
    axes.set_title(
        f'episode {episode}\nreturn {history.reward[now].sum():g}', fontsize=8)
    axes.set(xticks=[], yticks=[])
  _save(figure, path)


def _save(figure: figure_lib.Figure, path: str) -> None:
  figure.savefig(path + '.new', dpi=150, bbox_inches='tight', format='png')
  os.replace(path + '.new', path)
