"""What the paper's figures show, and the most that any learner could do.

paper.json says where each number is from.
"""

import functools
import pathlib
from typing import Any

import numpy as np

from adjax.storage import files

_FILE = pathlib.Path(__file__).parent / 'paper.json'


@functools.cache
def _all() -> dict[str, Any]:
  return files.read_json(str(_FILE))


def curve(name: str) -> np.ndarray:
  """A curve of the paper's [2, points]: episodes, shares of the optimum."""
  return np.array(_all()['curves'][name]).T


def last(name: str) -> float:
  """Where a curve of the paper's ends."""
  return float(curve(name)[1, -1])


def bars(name: str) -> list[float]:
  """The bandit's: odd, even, uniform, with random at 0 and UCB at 1."""
  return list(_all()['bars'][name])


def limit(name: str, episodes: int) -> np.ndarray:
  """[E] of what can be earned, the most in each episode: an upper bound."""
  bound = np.array(_all()['limits'][name])
  return np.pad(bound, (0, max(0, episodes - len(bound))), 'edge')[:episodes]


def bandit_mean(learner: str) -> float:
  """Mean reward of a pull of a learner, of what the best arm pays."""
  means = _all()['bandit_means']
  return float(means[learner] / means['oracle'])
