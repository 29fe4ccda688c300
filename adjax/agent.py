"""A trained model to act with, in any loop: NumPy in, NumPy out.

  agent = adjax.Agent.load('runs/quick')
  observation, _ = env.reset()
  for _ in range(1000):
    action = agent.act(observation)
    observation, reward, terminated, truncated, _ = env.step(action)
    agent.observe(reward, terminated or truncated)
    if terminated or truncated:
      observation, _ = env.reset()

It learns while it acts: what it was told since it was loaded is its context,
over the ends of episodes. Its weights never change.
"""

import copy as copy_lib
import functools
import math
import numbers
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import config
from adjax import pretrained as pretrained_lib
from adjax import spaces
from adjax import types
from adjax.models import sequence_model
from adjax.storage import files
from adjax.storage import weights

Observation = Any  # A number, an array, or dicts and tuples of these.


class Agent:
  """A model with frozen weights, and what it has seen so far.

  It acts as adjax.in_context does. An `act` and an `observe` take turns. It
  runs on a CPU, which for single steps is the fastest, unless
  jax.default_device says otherwise when it is loaded. Of a batch, each has a
  context of its own.

  Attributes:
    header: what the file of weights says of itself: `held_out` is what they
      earn on tasks they were not trained on, `observation` and `actions` what
      they act on, `model` and `tasks` what they were made by.
    batch: B, how many environments it acts in at once; None for a single one,
      without an axis.
    temperature: of the actions' distribution; 0 takes the likeliest.
    log_probs: [A], or [B, A], float32: the logarithms of the probabilities that
      the last action was drawn with; None before the first.
  """

  def __init__(
      self, header: weights.Header, params: types.PyTree,
      batch: int | None = None, rng: int = 0, temperature: float = 1.0,
  ):
    """An agent from what weights.load and weights.params return; see load."""
    config.check(
        'batch', batch, batch is None or (_is_int(batch) and batch >= 1),
        'None, or how many environments there are, at least 1')
    config.check('temperature', temperature,
                 isinstance(temperature, numbers.Real)
                 and 0 <= temperature < math.inf, 'at least 0')
    self.header = header
    self.batch = batch
    self.temperature = temperature
    self.log_probs: np.ndarray | None = None
    self._rng = _generator(rng)
    model = weights.model(header)
    self._space = model.env.observation_space()
    self._whole = spaces.observation(model.env)
    self._shape = () if batch is None else (batch,)
    self._step, self._empty = programs(model, batch)
    self._first = null_inputs(model, batch)
    self._device = _device()
    self._params = jax.device_put(params, self._device)
    self._cache: types.PyTree = None
    self._inputs = self._first  # Of the next step, but for its observation.
    self._acted: np.ndarray | None = None  # What nobody has answered yet.
    self.reset()

  @classmethod
  def load(
      cls, workdir: str | os.PathLike[str], seed: int = 0,
      batch: int | None = None, rng: int = 0, temperature: float = 1.0,
  ) -> 'Agent':
    """The agent that a run has trained.

    The environment is not needed, and nothing in the workdir is imported. A
    model of one's own has to be importable.

    Args:
      workdir: of a finished run, or the path of a file of weights.
      seed: which of the run's training seeds.
      batch: how many environments it is to act in at once; None for one.
      rng: the seed of the random numbers that actions are drawn with.
      temperature: of the actions' distribution; 0 takes the likeliest.

    Raises:
      ValueError: if there are no weights, or they are damaged, or an argument
        is not allowed.
    """
    header, nested = weights.load(find(workdir))
    return cls(header, weights.params(header, nested, seed), batch, rng,
               temperature)

  @classmethod
  def pretrained(
      cls, name: str, batch: int | None = None, rng: int = 0,
      temperature: float = 1.0,
  ) -> 'Agent':
    """An agent from the box: 'dark_room' or 'key_to_door'.

    Args:
      name: the preset that trained it.
      batch: as of load.
      rng: as of load.
      temperature: as of load.

    Raises:
      ValueError: if there is none of that name, or an argument is not allowed.
    """
    return cls.load(
        pretrained_lib.path(name), 0, batch, rng, temperature)

  def act(self, observation: Observation) -> Any:
    """The next action.

    Args:
      observation: as the environment's space has it; of a batch, with a leading
        axis [B] on every array. Of an environment with a `view`, the frame.

    Returns:
      An int, or of a batch an array [B] of integers.

    Raises:
      ValueError: if the observation is not of the space, or nobody has told
        what the last action brought.
    """
    if self._acted is not None:
      raise ValueError('act: must come after observe(reward, done), which '
                       'tells what the last action brought')
    obs = spaces.read(self._space, self._whole, observation, self._shape)
    logits, self._cache = self._step(
        self._params, self._inputs._replace(obs=obs), self._cache)
    self.log_probs = _log_softmax(
        np.asarray(logits, np.float32), self.temperature)
    # Noise is drawn at any temperature, and one for each of a batch.
    gumbel = self._rng.gumbel(size=self.log_probs.shape)
    action = np.argmax(self.log_probs + gumbel, -1)
    self._acted = action.astype(self._first.action.dtype)
    return int(action) if self.batch is None else action

  def observe(self, reward: Any, done: Any) -> None:
    """What the last action brought.

    Args:
      reward: a number; of a batch, [B].
      done: whether the episode ended, for whatever reason (Gymnasium's
        terminated or truncated); of a batch, [B]. The next observation is then
        that of a new episode: vector environments of Gymnasium do so with
        AutoresetMode.SAME_STEP.

    Raises:
      ValueError: if there was no action, or these are not numbers and truth
        values of its shape.
    """
    if self._acted is None:
      raise ValueError('observe: must come after act(observation), once for '
                       'every action')
    self._inputs = self._first._replace(
        action=self._acted, reward=_take('reward', reward, self._first.reward),
        done=_take('done', done, self._first.done))
    self._acted = None

  def reset(self) -> None:
    """Forgets all it was told, as if freshly loaded.

    For another task, that is; the end of an episode is to be observed, not
    forgotten. Its random numbers go on.
    """
    self.log_probs = None
    with jax.default_device(self._device):
      empty = jax.device_put(self._empty(), self._device)
      # What is given away is given away leaf by leaf: no two may be one.
      self._cache = jax.tree.map(jnp.copy, empty)
    self._inputs, self._acted = self._first, None

  def copy(self, rng: int | None = None) -> 'Agent':
    """Another agent that has seen what this one has; each goes on by itself.

    Args:
      rng: the seed of the copy's random numbers. By default these are copied,
        too: told the same, both do the same.
    """
    other = copy_lib.copy(self)
    other._cache = jax.tree.map(jnp.copy, self._cache)
    other._rng = copy_lib.deepcopy(self._rng) if rng is None else (
        _generator(rng))
    return other


@functools.lru_cache(maxsize=8)
def programs(model: sequence_model.SequenceModel, batch: int | None) -> Any:
  """A model as two compiled programs.

  Args:
    model: the model.
    batch: B, or None for none.

  Returns:
    step, (params, Inputs, cache) -> (logits, cache), to which its cache is
    given away; and empty, () -> cache.
  """
  axes = () if batch is None else (batch,)

  @arrays.standard_promotion()
  def step(
      params: types.PyTree, inputs: sequence_model.Inputs, cache: types.PyTree
  ) -> Any:
    one = lambda inputs, cache: model.apply(
        params, inputs, cache, method='step')
    return (jax.vmap(one) if axes else one)(inputs, cache)

  @arrays.standard_promotion()
  def empty() -> types.PyTree:
    return jax.tree.map(
        lambda x: jnp.broadcast_to(x, (*axes, *jnp.shape(x))),
        model.empty_cache())

  return jax.jit(step, donate_argnums=2), jax.jit(empty)


def null_inputs(
    model: sequence_model.SequenceModel, batch: int | None
) -> sequence_model.Inputs:
  """What a model is told before its first step, but for the observation."""
  axes = () if batch is None else (batch,)
  whole = spaces.observation(model.env)
  one = sequence_model.first_inputs(
      model.env, np.zeros(whole.shape, whole.dtype))
  return jax.tree.map(
      lambda x: np.broadcast_to(x, (*axes, *np.shape(x))), one)


def find(path: str | os.PathLike[str]) -> str:
  """The file of weights in a workdir, or the one that was named."""
  if isinstance(path, (str, os.PathLike)):
    expanded = files.expand(os.fspath(path))
    if os.path.isfile(expanded):
      return expanded
  workdir = files.folder('workdir', path)
  found = os.path.join(workdir, 'weights.npz')
  if os.path.isfile(found):
    return found
  has = lambda name: os.path.exists(os.path.join(workdir, name))
  if has('result.json'):
    why = 'it was finished by an adjax that kept none; run it in another folder'
  elif has('config.json'):
    why = 'the run is not finished; the same command or call resumes it'
  else:
    why = 'there is no run'
  raise ValueError(f'workdir={workdir}: must have a weights.npz, and {why}')


def _device() -> Any:
  """Where to act: a CPU, or where the user wants arrays to be."""
  chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
  if chosen is not None and not isinstance(chosen, str):
    return chosen
  try:
    return jax.local_devices(backend=chosen or 'cpu')[0]
  except RuntimeError:  # JAX was told to use accelerators only.
    return jax.local_devices()[0]


def _generator(rng: int) -> np.random.Generator:
  config.check('rng', rng, _is_int(rng) and rng >= 0, 'an integer from 0')
  return np.random.default_rng(rng)


def _is_int(x: Any) -> bool:
  return isinstance(x, numbers.Integral) and not isinstance(x, bool)


def _log_softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
  """The logarithms [..., A] of the probabilities at a temperature."""
  logits = logits - logits.max(-1, keepdims=True)
  if temperature == 0:
    best = np.arange(logits.shape[-1]) == logits.argmax(-1)[..., None]
    return np.where(best, np.float32(0), np.float32(-np.inf))
  logits = logits / np.float32(temperature)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _take(name: str, given: Any, like: np.ndarray) -> np.ndarray:
  """What the environment said, as an array like another; or an error."""
  truth = like.dtype == np.bool_
  try:
    x = np.asarray(given)
    ok = x.shape == like.shape and x.dtype.kind in 'biuf' and bool(
        (np.isin(x, (0, 1)) if truth else np.isfinite(x)).all())
  except ValueError:  # Lists of different lengths.
    ok = False
  config.check(name, given, ok, ('True or False' if truth else 'finite') + (
      f', of shape {list(like.shape)}' if like.shape else ''))
  return x.astype(like.dtype)
