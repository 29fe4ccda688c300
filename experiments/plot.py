"""The pictures of a run."""

import json
import os
import pathlib
from typing import Any

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # pylint: disable=g-import-not-at-top
import numpy as np

from adjax import types
from adjax.envs import dark_room
from adjax.envs import watermaze

_CURVES = pathlib.Path(__file__).parent / 'data' / 'curves.json'


def published(tasks: Any) -> dict[str, Any]:
  """The paper's AD curve and the upper bound, if they are of these rules."""
  if not isinstance(tasks, dark_room.Config):
    return {}
  with open(_CURVES, encoding='utf-8') as file:
    curves = json.load(file)
  rules = ('size', 'num_goals', 'episode_length', 'pays_once', 'random_start',
           'terminate', 'same_cell')
  for name, config in (('dark_room', dark_room.DARK_ROOM),
                       ('dark_room_hard', dark_room.DARK_ROOM_HARD),
                       ('key_to_door', dark_room.KEY_TO_DOOR)):
    if all(getattr(config, rule) == getattr(tasks, rule) for rule in rules):
      return curves[name]
  return {}


def curve(result: dict[str, Any], tasks: Any, path: str) -> None:
  """Held-out return by episode, between the lines that give it a meaning."""
  heldout = result['heldout']
  optimum = float(np.mean(heldout['optimum']))
  mean = np.asarray(heldout['return_mean'])
  episode = np.arange(1, len(mean) + 1)
  figure, axes = plt.subplots(figsize=(7.2, 4.4))
  known = published(tasks)
  if 'upper_bound' in known:
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
  if 'remember' in result:
    axes.plot(episode, result['remember']['return_mean'], color='tab:green',
              lw=1.2, label='remember (a random walk with memory)')
  for number, (name, some) in enumerate(result.get('shifted', {}).items()):
    axes.plot(episode, some['return_mean'], color=f'C{4 + number}', lw=1.2,
              label=f'adjax, {name} tasks')
  axes.axhline(result['random'], color='tab:gray', lw=1, label='random')
  if 'paper_ad' in known:
    axes.plot(*np.asarray(known['paper_ad']).T, color='tab:red', lw=1.2,
              label='AD of the paper (Laskin et al. 2022)')
  train = result['train']
  axes.plot(
      episode,
      np.asarray(train['return_mean']) * optimum / np.mean(train['optimum']),
      color='tab:blue', lw=1, ls='--', label='adjax, training tasks (rescaled)')
  axes.fill_between(episode, *np.asarray(heldout['ci95']), color='tab:blue',
                    alpha=0.25, lw=0)
  axes.plot(episode, mean, color='tab:blue', lw=2.2,
            label='adjax, held-out tasks (95 % interval)')
  if result['optimum_known']:
    axes.set_ylim(0, optimum * 1.04)
  axes.set(xlim=(1, max(2, len(mean))), xlabel='episode',
           ylabel='return of the episode')
  axes.set_title(f'{result["experiment"]}: tasks never trained on, '
                 'weights frozen', fontsize=10)
  axes.spines[['top', 'right']].set_visible(False)
  axes.legend(loc='center left', bbox_to_anchor=(1.0, 0.5), fontsize=8,
              frameon=False)
  _save(figure, path)


def visits(life: types.History, task: Any, tasks: Any, path: str,
           episodes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)) -> None:
  """Where the agent went in some episodes of one life [T] on one task.

  Of environments without a place there is nothing to draw.
  """
  draw = {dark_room.Config: _cells, watermaze.Config: _pool}.get(type(tasks))
  if draw is None:
    return
  ended = np.cumsum(life.done)
  number = ended - life.done + 1
  episodes = [n for n in episodes if n <= ended[-1]]
  figure, panels = plt.subplots(
      1, len(episodes), figsize=(1.9 * len(episodes), 2.3), squeeze=False)
  for axes, episode in zip(panels[0], episodes):
    now = number == episode
    draw(axes, life.obs[now], task, tasks)
    axes.set_title(f'episode {episode}\nreturn {life.reward[now].sum():g}',
                   fontsize=8)
    axes.set(xticks=[], yticks=[])
  _save(figure, path)


def _cells(axes, obs, task, tasks):
  """One episode on a grid: cells by how often they were visited, goals."""
  x, y = obs.astype(int).T
  counts = np.zeros((tasks.size, tasks.size))
  np.add.at(counts, (y, x), 1)
  axes.imshow(np.sqrt(counts), origin='lower', cmap='Blues', vmin=0,
              vmax=np.sqrt(tasks.episode_length))
  jitter = np.random.default_rng(0).uniform(-0.18, 0.18, (2, len(x)))
  axes.plot(x + jitter[0], y + jitter[1], color='tab:blue', lw=0.8, alpha=0.7)
  for goal, colour in zip(task.goals, ('tab:red', 'tab:orange')):
    axes.add_patch(plt.Rectangle(goal - 0.5, 1, 1, fill=False, ec=colour,
                                 lw=2))


def _pool(axes, obs, task, tasks):
  """One episode in the pool: the trail, and the platform."""
  axes.add_patch(plt.Circle((0, 0), 1, fill=False, ec='0.6'))
  axes.add_patch(plt.Circle(task.platform, tasks.platform_radius,
                            color='tab:red', alpha=0.6, lw=0))
  axes.plot(obs[:, 0], obs[:, 1], color='tab:blue', lw=1)
  axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect='equal')


def _save(figure, path):
  figure.savefig(path + '.new', dpi=150, bbox_inches='tight', format='png')
  plt.close(figure)
  os.replace(path + '.new', path)
