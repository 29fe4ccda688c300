"""Rollouts of a run, made small: what the page's player is given."""

from collections.abc import Callable
from collections.abc import Iterator
import functools
from typing import Any

import numpy as np

from adjax.page import pack
from adjax.storage import files

# Entries of an observation that can be told from one another as traces.
MOST_ENTRIES = 12


def read(path: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """The header and the arrays of a rollouts.npz.

  Raises:
    ValueError: with the path, if it is none as a run writes it.
  """
  return files.read_npz(path, 'a file of rollouts')


def first(header: dict[str, Any]) -> int:
  """Which of the tasks kept is looked at first: the median one."""
  shown = header['shown']
  return shown[len(shown) // 2]


def packed(
    header: dict[str, Any], arrays: dict[str, np.ndarray],
    late: dict[int, str], most: int,
) -> dict[str, Any] | None:
  """Rollouts in so many bytes: what is looked at first goes in first.

  Args:
    header: of rollouts.npz.
    arrays: its other arrays.
    late: {task: what is told of it}.
    most: bytes.

  Returns:
    `lives`, of each task its `name`, `scene` and the `ends` of each entry of
    observations, and as far as they fit `data`,
    columns [T] of entries of observations, actions, rewards, dones and
    probabilities, and `attention` [layers, T, columns], both pack.halves; the
    `first` to be looked at; and what is needed to read these. None if not even
    that one fits.
  """
  lives: list[dict[str, Any]] = [
      {'task': task, 'scene': scene, 'name': f'task {task}: {late[task]}'}
      for task, scene in zip(header['tasks'], header['scenes'])]
  obs = arrays['obs'].reshape(*arrays['done'].shape, -1)
  obs = np.moveaxis(obs[..., :MOST_ENTRIES], -1, 1)
  for place, life in enumerate(lives):
    life['ends'] = [[float(x.min()), float(x.max())] for x in obs[place]]
  found = {'lives': lives, 'steps': arrays['done'].shape[1],
           'entries': obs.shape[1], 'actions': header['actions'],
           'window': header.get('window', 200),
           'group': header.get('ages_per_column', 1),
           'first': first(header)}
  if 'attention' in arrays:
    _, layers, _, columns = arrays['attention'].shape
    found['attention'] = [layers, columns]
  if 'frames' in arrays:
    which, image = pack.sprite(arrays['frames'])
    found['frames'] = {
        'at': [header['frames'][i] for i in which], 'image': image,
        'aspect': f'{arrays["frames"].shape[2]} / {arrays["frames"].shape[1]}'}
  left, full = most - len(files.to_json(found)), set()
  for place, name, packing in _parts(header, arrays, obs):
    if name in full:
      continue
    text = packing()
    if len(text) + 20 <= left:
      lives[place][name] = text
      left -= len(text) + 20
    else:
      full.add(name)
  return found if 'data' in lives[first(header)] else None


def _parts(
    header: dict[str, Any], arrays: dict[str, np.ndarray], obs: np.ndarray
) -> Iterator[tuple[int, str, Callable[[], str]]]:
  """(which task, name, what makes the text), the most wanted first.

  Args:
    header: of rollouts.npz.
    arrays: its other arrays.
    obs: [n, entries, T].
  """
  shown = header['shown']
  looked = sorted(shown, key=lambda place: place != first(header))

  def data(place: int) -> str:
    columns = [obs[place], *(arrays[name][place] for name in (
        'action', 'reward', 'done'))]
    if 'probabilities' in arrays:
      columns.append(arrays['probabilities'][place].T / 255)
    return pack.halves(*columns)

  def attention(place: int) -> str:
    return pack.halves(
        arrays['attention'][shown.index(place)] / header['levels'])

  order = [(place, 'data', data) for place in looked]
  if 'attention' in arrays:
    order += [(place, 'attention', attention) for place in looked[:1]]
  order += [(place, 'data', data) for place in range(len(obs))
            if place not in shown]
  if 'attention' in arrays:
    order += [(place, 'attention', attention) for place in looked[1:]]
  for place, name, packing in order:
    yield place, name, functools.partial(packing, place)
