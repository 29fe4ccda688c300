"""What a page is given of a run: its files, made small.

Of a run of an older adjax there are curves, and no player or model. Nothing
here says when or where a page was made: the same files give the same page.
"""

from collections.abc import Callable
import math
import os
import pathlib
from typing import Any

import numpy as np

from adjax.page import model_data
from adjax.page import rollouts
from adjax.storage import files
from adjax.storage import weights

# Bytes of one run, and of all runs of a page, as text.
MOST_OF_ONE, MOST_OF_ALL = 1_440_000, 5_900_000
# What a result has beside its own curves, and what it is called.
_BESIDE = {'source': 'source learner', 'random_walk_with_memory':
           'random walk with memory'}
_ARROWS = {(-1, 0): '←', (1, 0): '→', (0, 1): '↑', (0, -1): '↓',
           (0, 0): 'stay'}
_FACTS = ('seeds', 'parameters', 'updates', 'transitions_trained')


def of_workdir(
    workdir: str, command: str, runs: int = 1,
    result: dict[str, Any] | None = None,
) -> dict[str, Any]:
  """What a page is given of the run in a workdir, as JSON.

  Args:
    workdir: the folder; its own name alone is told.
    command: that makes the run again.
    runs: how many the page has; they share its bytes.
    result: what result.json will say, if it is not there yet.

  Raises:
    ValueError: if the run is not finished, or a file of it is damaged.
  """
  path = lambda name: os.path.join(workdir, name)
  if result is None:
    if not os.path.exists(path('result.json')):
      raise ValueError(f'workdir={workdir}: must be of a finished run, with a '
                       'result.json')
    result = files.read_json(path('result.json'))
  saved = files.read_json(path('config.json'))
  facts = {
      'throughput and time': {name: result[name] for name in _FACTS} | {
          f'{name}, s': x for name, x in result['seconds'].items()} | {
              name: x and round(x) for name, x in result['throughput'].items()},
      'training, epoch by epoch': _training(path('metrics.jsonl')),
      'configuration': saved['config'],
      'versions and device': {'device': result['device'], **saved['versions']}}
  run = curves_of(result) | {
      'name': os.path.basename(os.path.abspath(workdir)),
      'command': command, 'facts': facts,
      'temperature': saved['config']['evaluate']['temperature']}
  if os.path.exists(path('weights.npz')):
    header, nested = weights.load(path('weights.npz'))
    run['model'] = model_data.of(header, weights.params(header, nested))
  if os.path.exists(path('rollouts.npz')):
    header, arrays = rollouts.read(path('rollouts.npz'))
    run |= of_scene(header['scenes'][rollouts.first(header)], header['actions'])
    left = min(MOST_OF_ONE, MOST_OF_ALL // runs) - len(files.to_json(run))
    run['rollouts'] = rollouts.packed(header, arrays, _late_of(run), left)
  return without_paths(run)


def curves_of(result: dict[str, Any]) -> dict[str, Any]:
  """What a result says of episodes and tasks.

  Returns:
    `optimum`, a mean, or None if nobody knows it; `series`, curves of returns,
    its own first; `shares` [N, E], of the optimum of each task (returns where
    nobody knows it), of the tasks `order` [N], from the worst to the best; and
    `tiles`, the figures at the top.
  """
  held_out, known = result['held_out'], result['optimum_known']
  optimum = float(np.mean(held_out['optimum'])) if known else None
  series = [_curve('adjax, held-out tasks', held_out)]
  series += [_curve(f'adjax, {name} tasks', some)
             for name, some in result.get('shifted', {}).items()]
  series += [_curve(label, result[name]) for name, label in _BESIDE.items()
             if name in result]
  if known:
    scale = optimum / np.mean(result['train']['optimum'])
    series.append({'name': 'adjax, training tasks (rescaled)', 'mean': _rounded(
        scale * np.array(result['train']['return_mean']))})
  shares = np.nan_to_num(np.array(held_out['per_task'], np.float64))
  if known:
    shares /= np.array(held_out['optimum'])[:, None]
  late = shares[:, -10:].mean(1)
  order = np.argsort(late, kind='stable')
  mean = np.array(held_out['return_mean'])
  return {
      'optimum': optimum, 'series': series, 'order': order.tolist(),
      'shares': _rounded(shares[order], 3), 'tiles': [
          *_first_and_last(mean, optimum),
          [_saying(optimum)[0](late.min()),
           f'worst task, last {min(10, len(mean))}'],
          [f'{result["parameters"]:,}', 'weights'],
          [f'{result["seconds"]["total"] / 60:.1f} min', 'the whole run']]}


def of_scene(scene: dict[str, Any], actions: int) -> dict[str, Any]:
  """A `scene`, and the `names` of its actions."""
  names = scene.get('actions') or [f'action {i}' for i in range(actions)]
  if scene['kind'] == 'grid':
    names = [_ARROWS.get(tuple(move), str(move)) for move in scene['moves']]
  elif scene['kind'] == 'arms':
    names = [f'arm {i + 1}' for i in range(actions)]
  return {'scene': scene, 'names': names}


def of_weights(
    header: dict[str, Any], nested: dict[str, Any], scene: dict[str, Any],
    command: str,
) -> dict[str, Any]:
  """What a page is given of a file of weights alone: a model, and its curve.

  Args:
    header: of the file.
    nested: its weights.
    scene: of a task to begin with.
    command: that makes the file again.
  """
  held_out = header['held_out']
  optimum, mean = held_out['optimum'], np.array(held_out['return_mean'])
  model = model_data.of(header, weights.params(header, nested))
  size = sum(math.prod(shape) for _, shape in model['tensors']) if model else 0
  return of_scene(scene, header['actions']) | {
      'name': header['experiment'], 'command': command, 'optimum': optimum,
      'series': [_curve('adjax, held-out tasks', held_out)],
      'tiles': [*_first_and_last(mean, optimum), [f'{size:,}', 'weights']],
      'temperature': held_out['temperature'], 'model': model, 'facts': {
          'configuration': {name: header[name] for name in ('model', 'tasks')
                            if name in header},
          'versions': header['versions']}}


def _first_and_last(mean: np.ndarray, optimum: float | None) -> list[list[str]]:
  """The figures that a curve is told by."""
  say, what = _saying(optimum)
  share, last = mean / (optimum or 1), min(10, len(mean))
  return [[say(share[0]), f'{what}, episode 1'],
          [say(share[-last:].mean()), f'{what}, last {last}']]


def _saying(optimum: float | None) -> tuple[Callable[[float], str], str]:
  """How a share of the optimum is told, or a return; and what it is."""
  if optimum is None:
    return lambda x: f'{x:.4g}', 'return'
  return lambda x: f'{100 * x:.3g} %', 'of the optimum'


def without_paths(value: Any) -> Any:
  """JSON with the last part alone of what looks like an absolute path."""
  if isinstance(value, dict):
    return {name: without_paths(x) for name, x in value.items()}
  if isinstance(value, list):
    return [without_paths(x) for x in value]
  if isinstance(value, str) and (
      value[:1] in ('/', '~', '\\') or value[1:3] in (':\\', ':/')):
    return value.replace('\\', '/').rstrip('/').rpartition('/')[2]
  return value


def _late_of(run: dict[str, Any]) -> dict[int, str]:
  """{task: what is told of it}, of its last episodes."""
  say, _ = _saying(run['optimum'])
  return {task: say(float(np.mean(shares[-10:])))
          for task, shares in zip(run['order'], run['shares'])}


def _curve(name: str, some: dict[str, Any]) -> dict[str, Any]:
  curve = {'name': name, 'mean': _rounded(some['return_mean'])}
  if 'ci95' in some:
    curve |= {'low': _rounded(some['ci95'][0]),
              'high': _rounded(some['ci95'][1])}
  return curve


def _rounded(x: Any, digits: int = 4) -> Any:
  return np.round(np.nan_to_num(np.asarray(x, np.float64)), digits).tolist()


def _training(path: str) -> dict[str, Any]:
  """What was measured in every epoch."""
  lines = [files.parse_json(path, line)
           for line in pathlib.Path(path).read_bytes().splitlines()]
  return {'loss': _rounded([line['loss'] for line in lines]),
          'validation return, last 10 episodes': _rounded(
              [np.mean(line['validation']['return_mean'][-10:])
               for line in lines])}
