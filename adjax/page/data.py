"""What a page is given of a run: its files, made small.

Of a run of an older adjax there are curves, and no player or model. Nothing
here says when or where a page was made: the same files give the same page.
"""

import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from adjax.page import model_data
from adjax.page import rollouts
from adjax.storage import files
from adjax.storage import weights

# Bytes of one run, and of all runs of a page, as text.
MOST_OF_ONE, MOST_OF_ALL = 1_440_000, 5_900_000
# Bytes of a model, as text: of those of the GPU presets there are curves and
# rollouts alone.
MOST_OF_MODEL = 500_000
# What a result has beside its own curves, and what it is called.
_BESIDE = {'source': 'source learner', 'random_walk_with_memory':
           'random walk with memory'}
# Of what looks like an absolute path in a text, all but its last part.
_FOLDERS = re.compile(
    r'(?<![\w.])(?:[A-Za-z][\w+.-]*:/+|~|[A-Za-z]:)?[/\\][^\s\'"]*[/\\]')
_FACTS = ('seeds', 'parameters', 'updates', 'transitions_trained')


def of_workdir(
    workdir: str, command: str, runs: int = 1,
    result: dict[str, Any] | None = None,
) -> dict[str, Any]:
  """What a page is given of the run in a workdir, as JSON.

  Args:
    workdir: the folder; its own name alone is told.
    command: that makes the run again, of a config without paths.
    runs: how many the page has; they share its bytes.
    result: what result.json will say, if it is not there yet.

  Raises:
    ValueError: if the run is not finished, or a file of it is damaged, or of
      an older adjax.
  """
  path = lambda name: os.path.join(workdir, name)
  if result is None:
    if not os.path.exists(path('result.json')):
      raise ValueError(f'workdir={workdir}: must be of a finished run, with a '
                       'result.json')
    result = _read(path('result.json'))
  saved = without_paths(_read(path('config.json')))
  facts = {
      'throughput and time': {name: result[name] for name in _FACTS} | {
          f'{name}, s': x for name, x in result['seconds'].items()} | {
              name: x and round(x) for name, x in result['throughput'].items()},
      'training, epoch by epoch': _training(path('metrics.jsonl')),
      'configuration': saved['config'],
      'versions and device': {
          'device': result['device'], **saved['versions']}}
  run = curves_of(result) | {
      'name': os.path.basename(os.path.abspath(workdir)),
      'command': command, 'facts': facts,
      'temperature': saved['config']['evaluate']['temperature']}
  if os.path.exists(path('rollouts.npz')):
    header, arrays = rollouts.read(path('rollouts.npz'))
    header = without_paths(header)
    run |= of_scene(header['scenes'][rollouts.first(header)], header['actions'])
    if os.path.exists(path('weights.npz')):
      model = _model(*weights.load(path('weights.npz')), run['scene'])
      if model and len(model['weights']) <= MOST_OF_MODEL:
        run['model'] = model
    left = min(MOST_OF_ONE, MOST_OF_ALL // runs) - len(files.to_json(run))
    run['rollouts'] = rollouts.packed(header, arrays, _late_of(run), left)
  return run


def _read(path: str) -> dict[str, Any]:
  value = files.read_json(path)
  files.check_format(path, value)
  return value


def _model(
    header: dict[str, Any], nested: dict[str, Any], scene: dict[str, Any]
) -> dict[str, Any] | None:
  """The model, if the page has an environment for it too."""
  playable = scene.get('kind') in model_data.ENVIRONMENTS
  return model_data.of(header, nested) if playable else None


def optimum_of(held_out: dict[str, Any]) -> np.ndarray | None:
  """The optimum [N] of each task, which returns can be shares of.

  None if nobody knows it, or it is not above 0, as where rewards are costs.
  """
  if held_out['optimum'] is None or min(held_out['optimum']) <= 0:
    return None
  return np.array(held_out['optimum'])


def curves_of(result: dict[str, Any]) -> dict[str, Any]:
  """What a result says of episodes and tasks.

  Returns:
    `optimum`, a mean, or None if there is none that returns are shares of;
    `series`, curves of returns, its own first; `shares` [N, E], of the optimum
    of each task (returns where there is none), of the tasks `order` [N], from
    the worst to the best; and `tiles`, the figures at the top. What is not
    known is NaN, which JSON has as null.
  """
  held_out = result['held_out']
  optima = optimum_of(held_out)
  optimum = None if optima is None else float(optima.mean())
  series = [_curve('adjax, held-out tasks', held_out)]
  series += [_curve(f'adjax, {name} tasks', some)
             for name, some in result.get('shifted', {}).items()]
  series += [_curve(label, result[name]) for name, label in _BESIDE.items()
             if name in result]
  if optimum is not None and min(result['train']['optimum']) > 0:
    scale = optimum / np.mean(result['train']['optimum'])
    series.append({'name': 'adjax, training tasks (rescaled)', 'mean': _rounded(
        scale * np.array(result['train']['return_mean'], float))})
  shares = np.array(held_out['per_task'], float)
  if optima is not None:
    shares /= optima[:, None]
  late = _mean(shares[:, -10:], 1)
  order = np.argsort(late, kind='stable')
  mean = np.array(held_out['return_mean'], float)
  return {
      'optimum': optimum, 'series': series, 'order': order.tolist(),
      'shares': _rounded(shares[order], 3), 'tiles': [
          *_first_and_last(mean, optimum),
          [_told(late[order[0]], optimum),
           f'worst task, last {min(10, len(mean))}'],
          [f'{result["parameters"]:,}', 'weights'],
          [f'{result["seconds"]["total"] / 60:.1f} min', 'the whole run']]}


def of_scene(scene: dict[str, Any], actions: int) -> dict[str, Any]:
  """A `scene`, and the `names` of its actions."""
  names = scene.get('actions') or [f'action {i}' for i in range(actions)]
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
  optimum = held_out['optimum'] if (held_out['optimum'] or 0) > 0 else None
  mean = np.array(held_out['return_mean'], float)
  model = _model(header, nested, scene)
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
  what = 'return' if optimum is None else 'of the optimum'
  share, last = mean / (optimum or 1), min(10, len(mean))
  return [[_told(share[0], optimum), f'{what}, episode 1'],
          [_told(_mean(share[-last:]), optimum), f'{what}, last {last}']]


def _told(x: Any, optimum: float | None) -> str:
  """A share of the optimum, or a return where there is none."""
  if not np.isfinite(x):
    return '?'
  return f'{x:.4g}' if optimum is None else f'{100 * x:.3g} %'


def _mean(x: Any, axis: int | None = None) -> Any:
  """Of what is known; NaN where nothing is."""
  known = np.ma.masked_invalid(np.asarray(x, float))
  return np.ma.filled(known.mean(axis), np.nan)


def without_paths(value: Any) -> Any:
  """JSON with the last part alone of what looks like an absolute path."""
  if isinstance(value, dict):
    return {name: without_paths(x) for name, x in value.items()}
  if isinstance(value, list):
    return [without_paths(x) for x in value]
  if isinstance(value, str) and re.match(r'[/~\\]|[A-Za-z]:[/\\]', value):
    return re.split(r'[/\\]', value.rstrip('/\\'))[-1]
  return _FOLDERS.sub('', value) if isinstance(value, str) else value


def _late_of(run: dict[str, Any]) -> dict[int, str]:
  """{task: what is told of it}, of its last episodes."""
  return {task: _told(_mean(shares[-10:]), run['optimum'])
          for task, shares in zip(run['order'], run['shares'])}


def _curve(name: str, some: dict[str, Any]) -> dict[str, Any]:
  curve = {'name': name, 'mean': _rounded(some['return_mean'])}
  if 'ci95' in some:
    curve |= {'low': _rounded(some['ci95'][0]),
              'high': _rounded(some['ci95'][1])}
  return curve


def _rounded(x: Any, digits: int = 4) -> Any:
  return np.round(np.asarray(x, float), digits).tolist()


def _training(path: str) -> dict[str, Any]:
  """What was measured in every epoch."""
  lines = [files.parse_json(path, line)
           for line in pathlib.Path(path).read_bytes().splitlines()]
  return {'loss': _rounded([line['loss'] for line in lines]),
          'validation return, last 10 episodes': _rounded(
              [_mean(line['validation']['return_mean'][-10:])
               for line in lines])}
