"""What is kept of how the last model learnt on held-out tasks: rollouts.npz.

For people to look at: the History of the first run on a task, of training seed
0, with what the model thought at each step. Nothing of it is needed to resume a
run or to act with its weights.
"""

import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import devices
from adjax import spaces
from adjax import types
from adjax.experiment import clock as clock_lib
from adjax.experiment import memory
from adjax.experiment import setup as setup_lib
from adjax.learners import stepping
from adjax.models import in_context
from adjax.models import transformer
from adjax.page import data as page_data
from adjax.page import rollouts as page_rollouts
from adjax.storage import files

# A person opens a few tasks; the file is to be small beside the checkpoints.
MOST_TASKS, MOST_STEPS, MOST_BYTES = 32, 4000, 2**23
# Bars that can be told from one another.
MOST_ACTIONS = 64
# A strip of attention has as many columns at most, each as many shades.
COLUMNS, LEVELS = 100, 8


def make(
    setup: setup_lib.Setup, clock: clock_lib.Clock, params: types.PyTree,
    history: types.History, held_out: dict[str, Any],
) -> dict[str, np.ndarray]:
  """The arrays of rollouts.npz; all processes make them together.

  Args:
    setup: the run's objects.
    clock: compiles the programs of what the model thought.
    params: [seeds], the last weights.
    history: History [N, T] of NumPy, of the first training seed.
    held_out: what the result says of these tasks.

  Raises:
    ValueError: if there is too little memory for it.

  Returns:
    header: JSON, of `tasks`, the indices of the n tasks kept, from the worst to
      the best; `shown`, which of them are the worst, the median and the best
      one; `scenes` [n]; and what the arrays are.
    obs [n, T, *O], action, reward, done [n, T].
    probabilities: [n, T, A], uint8, in 255ths, of few enough actions.
    attention: [shown, layers, T, columns], uint8 from 0 to LEVELS: the square
      root of a step's attention, in parts of its largest, by age; a column is
      the sum of `ages_per_column`. Of transformers.
    frames: [F, height, width, 3], uint8, what the model saw at the `frames` (of
      which task kept, at which step) of the header, where it sees images that
      are made of observations.
  """
  late = np.mean(np.array(held_out['per_task'])[:, -10:], 1)
  optima = page_data.optimum_of(held_out)
  tasks, shown = _choose(
      late if optima is None else late / optima, _fitting(history))
  kept = jax.tree.map(lambda x: x[tasks][:, :MOST_STEPS], history)
  config, env = setup.experiment.tasks, setup.tasks.env
  model = setup.model
  header: dict[str, Any] = {
      'format': files.FORMAT, 'tasks': tasks.tolist(), 'shown': shown,
      'episode_length': setup.tasks.episode_length,
      'scenes': [scene(config, env, jax.tree.map(
          lambda x, i=i: np.asarray(x[i]), setup.tasks.held_out))
                 for i in tasks]}
  found = kept._asdict()
  num_actions = stepping.num_actions(env)
  header['actions'] = num_actions
  if num_actions <= MOST_ACTIONS:
    found['probabilities'] = _run(
        setup, clock, params, kept, _probabilities)
  some = jax.tree.map(lambda x: x[shown], kept)
  if isinstance(model, transformer.Transformer):
    found['attention'] = _run(setup, clock, params, some, _attention)
    window = model.config.window
    header |= {'levels': LEVELS, 'window': window,
               'ages_per_column': -(-window // COLUMNS)}
  at = _key_frames(env, some.done)
  if at:
    header['frames'] = [[shown[life], step] for life, step in at]
    found['frames'] = np.asarray(jax.jit(jax.vmap(env.view))(
        np.stack([some.obs[index] for index in at])))
  return {'header': np.array(files.to_json(header))} | {
      name: np.asarray(x) for name, x in found.items()}


def save(path: str, arrays: dict[str, np.ndarray]) -> None:
  """Writes them, compressed, whole or not at all.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  files.write_npz(path, arrays, compress=True)


def scene(config: Any, env: types.Env, task: types.Task) -> dict[str, Any]:
  """What a page draws of one task, as JSON.

  Args:
    config: of the tasks; if it has no `scene(task)`, observations are traces.
    env: the environment.
    task: of NumPy arrays.
  """
  if hasattr(config, 'scene'):
    return config.scene(task)
  space = env.observation_space(env.default_params)
  return {'kind': 'traces', 'names': list(itertools.islice(
      spaces.entries(space), page_rollouts.MOST_ENTRIES))}


def _fitting(history: types.History) -> int:
  """How many tasks fit."""
  size = sum(x[0, :MOST_STEPS].nbytes for x in history)
  return max(1, min(MOST_TASKS, MOST_BYTES // size))


def _choose(late: np.ndarray, most: int) -> tuple[np.ndarray, list[int]]:
  """Tasks from the worst to the best, and which of them to look at first."""
  order = np.argsort(late, kind='stable')
  num = min(most, len(order))
  tasks = order[np.linspace(0, len(order) - 1, num).round().astype(int)]
  return tasks, sorted({0, num // 2, num - 1})


def _run(
    setup: setup_lib.Setup, clock: clock_lib.Clock, params: types.PyTree,
    history: types.History, look: Any,
) -> np.ndarray:
  """What `look` sees of the first seed's model, one task after another."""
  def looks(params: types.PyTree, history: types.History) -> chex.Array:
    first = jax.tree.map(lambda x: x[0], params)
    return jax.lax.map(
        lambda one: look(setup, first, in_context.inputs_of(one)), history)

  program = clock.compile(
      looks, params, history, out_shardings=devices.replicated(setup.mesh))
  # A whole history at once, of frames in some environments. The system would
  # kill the run, which could not say so then.
  needs = {'rollouts': memory.program(program)}
  devices.collectively(lambda: memory.check(
      needs, devices.local_size(setup.mesh)))
  return devices.fetch(clock.run('evaluate', program, params, history))


def _probabilities(
    setup: setup_lib.Setup, params: types.PyTree, inputs: Any
) -> chex.Array:
  temperature = setup.experiment.evaluate.temperature or 1.0
  logits: Any = setup.model.apply(params, inputs)
  return jnp.round(
      255 * jax.nn.softmax(logits / temperature)).astype(jnp.uint8)


def _attention(
    setup: setup_lib.Setup, params: types.PyTree, inputs: Any
) -> chex.Array:
  weights: Any = setup.model.apply(params, inputs, method='attention')
  window = weights.shape[-1]
  group = -(-window // COLUMNS)
  weights = jnp.pad(weights, ((0, 0), (0, 0), (0, -window % group)))
  columns = weights.reshape(*weights.shape[:2], -1, group).sum(-1)
  share = columns / columns.max(-1, keepdims=True)
  return jnp.round(LEVELS * jnp.sqrt(share)).astype(jnp.uint8)


def _key_frames(env: types.Env, done: np.ndarray) -> list[tuple[int, int]]:
  """(which, at which step) to be seen: of each first and last episode.

  Args:
    env: the environment.
    done: [shown, T].
  """
  if not hasattr(env, 'view'):
    return []
  shape = env.view_space(env.default_params).shape
  if len(shape) != 3 or shape[-1] != 3:
    return []
  at = []
  for life, ends in enumerate(map(np.flatnonzero, done)):
    first = ends[0] + 1 if len(ends) else done.shape[1]
    last = range(ends[-2] + 1, ends[-1] + 1) if len(ends) > 1 else ()
    at += [(life, int(step)) for step in (*range(first), *last)]
  most = max(1, MOST_BYTES // (2 * int(np.prod(shape))))
  return at[::-(-len(at) // most)]
