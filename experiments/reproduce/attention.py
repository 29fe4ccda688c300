"""What a model looks at while it learns: more sets of a run's row.

Of the rollouts that a run leaves and its first seed's weights: attention to
steps of a kind, as a multiple of what they would get if all steps that can be
seen got as much. A mean over layers and heads.
"""

import os
from typing import Any

import jax
import numpy as np

from adjax import types
from adjax.models import in_context
from adjax.page import rollouts
from experiments.reproduce import trained
from experiments.results import pack

# {set of a row: what its steps are}.
KINDS = {'attention_reward': 'after a reward',
         'attention_restart': 'the first of an episode',
         'attention_before': 'of earlier episodes'}


def sets(run: trained.Trained) -> dict[str, dict[str, Any]]:
  """{name: set of a row} of a finished run: multiples [1, N, 1, E]."""
  _, found = rollouts.read(os.path.join(run.workdir, 'rollouts.npz'))
  looks = jax.jit(lambda history: run.setup.model.apply(
      run.params[0], in_context.inputs_of(history), method='attention'))
  multiples: dict[str, list[np.ndarray]] = {name: [] for name in KINDS}
  for obs, action, reward, done in zip(
      *(found[name] for name in types.History._fields), strict=True):
    seen = np.asarray(looks(types.History(obs, action, reward, done))).mean(0)
    for name, kind in kinds(reward, done).items():
      multiples[name].append(multiple(seen, kind, done))
  return {name: {'optimum': None, 'returns': pack.pack(
      np.stack(x)[None, :, None])} for name, x in multiples.items()}


def kinds(reward: np.ndarray, done: np.ndarray) -> dict[str, np.ndarray]:
  """{set: [T, T]}: whether a step is of a kind for one that looks at it.

  A step's token has the reward and the end of the step before.
  """
  before = lambda x: np.concatenate([[False], x[:-1]])
  episode = np.cumsum(before(done))
  every = (len(done), 1)
  return {
      'attention_reward': np.tile(before(reward > 0), every),
      'attention_restart': np.tile(before(done), every),
      'attention_before': episode[None, :] < episode[:, None]}


def multiple(
    seen: np.ndarray, kind: np.ndarray, done: np.ndarray
) -> np.ndarray:
  """Attention to a kind of steps over that of uniform attention, [E].

  Args:
    seen: [T, W], what each step attends to, by age.
    kind: [T, T], whether a step is of the kind for one that looks.
    done: [T].

  Returns:
    Of each whole episode; NaN where there is no such step to be seen.
  """
  steps, window = seen.shape
  at = np.arange(steps)[:, None] - np.arange(window)
  there = at >= 0
  of_kind = np.take_along_axis(kind, np.maximum(at, 0), 1) & there
  ends = np.flatnonzero(done) + 1
  sums = lambda x: np.diff(np.cumsum(x)[ends - 1], prepend=0.0)
  uniform = sums(of_kind.sum(1) / there.sum(1))
  return np.divide(sums((seen * of_kind).sum(1)), uniform,
                   out=np.full(len(ends), np.nan), where=uniform > 0)
