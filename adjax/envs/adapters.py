"""Any gymnax environment as a task distribution.

What makes a task, alone or together:

  * What `reset` draws, held fixed. Built-ins that draw a goal or the arms of a
    bandit there draw another at every automatic reset, in the middle of a
    history. Here what was drawn is in the task, and every reset state is given
    it.
  * Parameters within ranges: the length of CartPole's pole, say.
  * Permuted actions, by default where nothing else varies.

Continuous actions become a lattice of discrete ones. Rewards are float32,
observations have the dtype of the declared space, and states that of the reset,
whatever the environment gives.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import difflib
import itertools
import math
from types import EllipsisType
from typing import Annotated
from typing import Any

import chex
from flax import struct
import gymnax
from gymnax.environments import environment
from gymnax.environments import spaces as gymnax_spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import config as config_lib
from adjax import spaces
from adjax import types
from adjax.envs import equality
from adjax.envs import gymnax_builtins

try:
  from jax import enable_x64
except ImportError:  # Before jax 0.8.
  from jax.experimental import enable_x64  # type: ignore

# The permutations of more actions than this are drawn, not enumerated.
_MOST_ENUMERATED = 7
# The points of a lattice of actions: a network has an output for each.
_MOST_ACTIONS = 4096
# Tasks drawn at a time; when so many bring no new one, there are no others.
_BLOCK = 1024
# Tasks of each set where a config does not say.
_MOST_TRAIN, _MOST_OTHERS = 64, 8

_Size = Annotated[int, config_lib.Bound(
    lambda x: x >= 0, 'at least 1, or 0 for a share of the tasks there are')]


@contextlib.contextmanager
def _as_written() -> Iterator[None]:
  """jax as gymnax's own code takes it to be: 32 bits, and free promotion."""
  with enable_x64(False), arrays.standard_promotion():
    yield


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """An environment, what varies in it, and three sets of its tasks.

  Attributes:
    env_id: known to gymnax, but for MNISTBandit, which downloads.
    arguments: (name, value) of its constructor.
    fields: of its state, drawn in `reset`, to be held fixed; None for what
      gymnax_builtins.VARIATIONS says, () for none.
    ranges: (parameter, low, high), drawn uniformly for each task, both ends
      included for whole numbers and bools. Equal ends set a parameter.
    permute: whether a task permutes the actions; None for whether nothing else
      varies. Observations that name the last action name the environment's own.
      It adds nothing to a bandit whose arms are drawn.
    bins: actions along each dimension of a continuous action space, from end to
      end; odd numbers include the centre.
    entries: (start, end) of an observation vector that the agent sees; None for
      what gymnax_builtins.VARIATIONS says, or all.
    episode_length: steps after which an episode is truncated, 0 for the
      environment's own limit. Name it where episodes end long before that one:
      Catch after 9 steps, SimpleBandit after 1.
    num_train: training tasks; 0 for 80 % of the tasks there are, at most 64.
    num_validation: validation tasks; 0 for 10 %, from 1 to 8.
    num_held_out: held-out tasks; 0 for 10 %, from 1 to 8.
    split_seed: which tasks are sampled and where they go; the sets are disjoint
      for every seed.
  """
  env_id: str
  arguments: tuple[tuple[str, bool | int | float | str], ...] = ()
  fields: tuple[str, ...] | None = None
  ranges: tuple[tuple[str, float, float], ...] = ()
  permute: bool | None = None
  bins: Annotated[int, config_lib.Bound(
      lambda x: x >= 2, 'at least 2')] = 3
  entries: tuple[int, int] | None = None
  episode_length: Annotated[int, config_lib.Bound(
      lambda x: x >= 0,
      'at least 1, or 0 for the limit of the environment')] = 0
  num_train: _Size = 0
  num_validation: _Size = 0
  num_held_out: _Size = 0
  split_seed: config_lib.Index = 0

  def check(self) -> None:
    check = config_lib.check
    ids = [name for name in gymnax.registered_envs
           if name != 'MNISTBandit-bsuite']
    check('env_id', self.env_id, self.env_id in ids, 'one of ' + ', '.join(
        difflib.get_close_matches(self.env_id, ids, cutoff=0.4) or ids))
    check('permute', self.permute, self.permute in (None, True, False),
          'True, False or None')
    for item in self.ranges:
      check('ranges', item, len(item) == 3 and
            -math.inf < item[1] <= item[2] < math.inf,
            '(parameter, low, high) with low at most high, both finite')
    check('permute', self.permute, self.permutes or self._varies,
          'True or None where nothing else varies: all tasks are the same '
          'without ranges, or fields that are drawn in reset')

  @property
  def variation(self) -> gymnax_builtins.Variation:
    """What is drawn in `reset`, with all that this config says of it."""
    known = gymnax_builtins.Variation(self.fields or ())
    if self.fields is None:
      known = gymnax_builtins.VARIATIONS.get(self.env_id, known)
    return gymnax_builtins.Variation(
        known.fields, (*known.ranges, *self.ranges),
        known.entries if self.entries is None else self.entries)

  @property
  def permutes(self) -> bool:
    """Whether a task permutes the actions."""
    return not self._varies if self.permute is None else self.permute

  @property
  def _varies(self) -> bool:
    """Whether anything but the actions does."""
    return bool(self.variation.fields) or any(
        low < high for _, low, high in self.variation.ranges)

  def make(self) -> types.TaskDistribution:
    """The tasks of this config."""
    return tasks(self)


@struct.dataclass
class EnvParams(environment.EnvParams):
  """The task.

  Attributes:
    inner: the EnvParams of the environment itself.
    drawn: {field of its state: the value that every episode starts with}.
    permutation: [A], its own action for each action.
    max_steps_in_episode: [].
  """
  inner: types.Task = None
  drawn: types.PyTree = dataclasses.field(default_factory=dict)
  permutation: chex.Array = None
  max_steps_in_episode: chex.Numeric = 1


class Adapter(equality.EqualByConfig, environment.Environment):
  """A gymnax environment whose task is in its EnvParams.

  Equal configs are equal to jit.

  Attributes:
    config: what it was made from.
    inner: the environment itself.
  """

  @_as_written()
  def __init__(self, config: Config) -> None:
    self.config: Config = config
    with _named('arguments', config.arguments, 'what its constructor takes'):
      self.inner, self._params = gymnax.make(
          config.env_id, **dict(config.arguments))
    with self._gymnax():
      _, self._like = jax.eval_shape(
          lambda key: self.inner.reset_env(key, self._params),
          jax.random.key(0))
      actions = self.inner.action_space(self._params)
      declared = self.inner.observation_space(self._params)
    self._check_names(declared)
    self._lattice = _lattice(actions, config.bins)
    self._actions = gymnax_spaces.Discrete(
        actions.n if self._lattice is None else len(self._lattice))
    self._entries: slice | EllipsisType = ...
    if _is_vector(declared) and config.variation.entries:
      self._entries = slice(*config.variation.entries)
    self._space = self._shown(declared)
    with self._gymnax():
      # Asked for again and again, also while tracing.
      self._default = jax.jit(self.sample_task)(jax.random.key(0))
      self._check_step()

  def _gymnax(self) -> contextlib.AbstractContextManager[None]:
    return _named('env_id', self.config.env_id, 'an environment of gymnax 1.0')

  @property
  def ranged(self) -> list[str]:
    """The parameters that can be given a range."""
    derived = gymnax_builtins.DERIVED.get(self.config.env_id, ())
    return [field.name for field in dataclasses.fields(self._params)
            if np.ndim(getattr(self._params, field.name)) == 0
            and field.name not in ('max_steps_in_episode', *derived)]

  def _check_names(self, declared: gymnax_spaces.Space) -> None:
    """What a config names of its environment, which declares this to be seen.
    """
    check, entries = config_lib.check, self.config.entries
    check('entries', entries, entries is None or (
        _is_vector(declared)
        and bool(range(*declared.shape)[slice(*entries)])),
          '(start, end) with entries between them, of observations that are '
          'vectors')
    names = [field.name for field in dataclasses.fields(self._like)]
    for name in self.config.variation.fields:
      check('fields', name, name in names, 'one of ' + ', '.join(names))
    for name, *ends in self.config.variation.ranges:
      check('ranges', name, name in self.ranged,
            'one of ' + ', '.join(self.ranged))
      check('ranges', (name, *ends), _is_float(getattr(self._params, name))
            or all(end == int(end) for end in ends), 'whole numbers')

  def _check_step(self) -> None:
    """Traces a reset and a step, and the environment's own step if it has one.

    gymnax's needs no look: it calls reset_env and step_env, as ours does.
    """
    key, task = jax.random.key(0), self._default
    spaces.observation(self)
    obs, state = jax.eval_shape(self.reset, key, task)
    arrays.check_like('observation', obs, spaces.map_parts(
        lambda one: jax.ShapeDtypeStruct(one.shape, one.dtype), self._space))
    jax.eval_shape(self.step, key, state, jnp.int8(0), task)
    if type(self.inner).step is not environment.Environment.step:
      out = jax.eval_shape(
          lambda state, action: self.inner.step(key, state, action, task.inner),
          self._like, self.inner_action(jnp.int8(0), task))
      config_lib.check(
          'step', f'{len(out)} values',
          len(out) == 6 and 'final_observation' in out[5],
          "obs, state, reward, terminated, truncated, info, with "
          "info['final_observation']")

  @property
  def name(self) -> str:
    return self.config.env_id

  @property
  def default_params(self) -> EnvParams:
    return self._default

  @property
  def num_actions(self) -> int:
    return self._actions.n

  def action_space(
      self, params: EnvParams | None = None
  ) -> gymnax_spaces.Discrete:
    return self._actions

  def observation_space(
      self, params: EnvParams | None = None
  ) -> gymnax_spaces.Space:
    return self._space

  @_as_written()
  def sample_task(self, key: chex.PRNGKey) -> EnvParams:
    """One task."""
    arrays.check('key [] key', key)
    range_key, reset_key, permutation_key = jax.random.split(key, 3)
    inner = self._params
    for i, (name, low, high) in enumerate(self.config.variation.ranges):
      share = jax.random.uniform(jax.random.fold_in(range_key, i))
      default = jnp.asarray(getattr(inner, name))
      whole = not _is_float(default)
      value = low + share * (high - low + whole)
      if whole:
        value = jnp.minimum(jnp.floor(value), high)
      inner = inner.replace(**{name: value.astype(default.dtype)})
    derived = gymnax_builtins.DERIVED.get(self.config.env_id, {})
    inner = inner.replace(**{name: of(inner) for name, of in derived.items()})
    drawn, fields = {}, self.config.variation.fields
    if fields:
      _, state = self.inner.reset_env(reset_key, inner)
      drawn = {name: getattr(state, name) for name in fields}
    permutation = jnp.arange(self.num_actions)
    if self.config.permutes:
      permutation = jax.random.permutation(permutation_key, permutation)
    return jax.tree.map(jnp.asarray, EnvParams(
        inner=inner, drawn=drawn, permutation=permutation,
        max_steps_in_episode=self.config.episode_length or int(
            self._params.max_steps_in_episode)))

  @_as_written()
  def reset_env(
      self, key: chex.PRNGKey, params: EnvParams
  ) -> tuple[types.PyTree, types.PyTree]:
    obs, state = self.inner.reset_env(key, params.inner)
    if params.drawn:
      reset, state = state, state.replace(**params.drawn)
      if self.config.env_id in gymnax_builtins.STARTS:
        start = gymnax_builtins.STARTS[self.config.env_id]
        state = start(state, reset, params.inner)
      obs = self.inner.observe(key, state, None, params.inner)
    return self._see(obs), self._hold(state)

  @_as_written()
  def step_env(
      self, key: chex.PRNGKey, state: types.PyTree, action: chex.Array,
      params: EnvParams,
  ) -> tuple[types.PyTree, types.PyTree, chex.Array, chex.Array, dict]:
    obs, state, reward, terminated, _ = self.inner.step_env(
        key, state, self.inner_action(action, params), params.inner)
    arrays.check('reward [] any, terminated [] any', reward, terminated)
    return (self._see(obs), self._hold(state), jnp.asarray(reward, jnp.float32),
            jnp.asarray(terminated, bool), {})

  @_as_written()
  def is_truncated(
      self, state: types.PyTree, params: EnvParams
  ) -> chex.Array:
    return self.inner.is_truncated(state, params.inner.replace(
        max_steps_in_episode=params.max_steps_in_episode))

  @_as_written()
  def inner_action(self, action: chex.Array, params: EnvParams) -> chex.Array:
    """The action [] of the environment itself, or [*its own shape]."""
    arrays.check('action [] integer, params.permutation [A] integer',
                 action, params.permutation, A=self.num_actions)
    space = self.inner.action_space(params.inner)
    action = params.permutation[jnp.int32(action)]
    if self._lattice is None:
      return action.astype(space.dtype)
    share = jnp.asarray(self._lattice)[action].reshape(space.shape)
    low, high = (jnp.broadcast_to(jnp.asarray(end, share.dtype), space.shape)
                 for end in (space.low, space.high))
    # In this form the ends are met exactly.
    return ((1 - share) * low + share * high).astype(space.dtype)

  def _shown(self, space: gymnax_spaces.Space) -> gymnax_spaces.Space:
    """The space of what the agent sees."""
    if isinstance(space, gymnax_spaces.Dict):
      return gymnax_spaces.Dict(type(space.spaces)(
          (name, self._shown(part)) for name, part in space.spaces.items()))
    if isinstance(space, gymnax_spaces.Tuple):
      return gymnax_spaces.Tuple(tuple(map(self._shown, space.spaces)))
    if not isinstance(space, gymnax_spaces.Box):
      return space
    low, high = (np.array(np.broadcast_to(np.asarray(bound), space.shape))
                 for bound in (space.low, space.high))
    for start, end, *ends in gymnax_builtins.BOUNDS.get(
        self.config.env_id, ()):
      low[start:end], high[start:end] = ends
    low, high = low[self._entries], high[self._entries]
    whole = self.config.env_id in gymnax_builtins.WHOLE
    return gymnax_spaces.Box(
        low, high, low.shape,
        jnp.int8 if whole else jax.dtypes.canonicalize_dtype(space.dtype))

  def _see(self, obs: types.PyTree) -> types.PyTree:
    """An observation as its space declares it."""
    if isinstance(self._entries, slice):
      obs = jnp.asarray(obs)[self._entries]
    return spaces.map_parts(
        lambda one, x: jnp.asarray(x).astype(one.dtype), self._space, obs)

  def _hold(self, state: types.PyTree) -> types.PyTree:
    """A state in the dtypes of the state that a reset returns."""
    arrays.check_like('state', state, self._like)

    def cast(x: chex.Array, like: jax.ShapeDtypeStruct) -> chex.Array:
      x = jnp.asarray(x)
      return x if x.dtype == like.dtype else x.astype(like.dtype)

    return jax.tree.map(cast, state, self._like)


@contextlib.contextmanager
def _named(field: str, given: Any, allowed: str) -> Iterator[None]:
  """Says in one line what somebody else's code raises."""
  try:
    yield
  except Exception as error:
    first = str(error).strip().partition('\n')[0]
    raise ValueError(f'{field}={given!r}: must be {allowed}; '
                     f'{type(error).__name__}: {first}') from error


def _is_vector(space: gymnax_spaces.Space) -> bool:
  return isinstance(space, gymnax_spaces.Box) and len(space.shape) == 1


def _is_float(value: chex.Numeric) -> bool:
  return jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating)


def _lattice(space: gymnax_spaces.Space, bins: int) -> np.ndarray | None:
  """[A, dimensions], shares of the way from end to end; None if discrete."""
  if isinstance(space, gymnax_spaces.Discrete):
    return None
  config_lib.check(
      'action_space', ' '.join(repr(space).split()),
      isinstance(space, gymnax_spaces.Box)
      and jnp.issubdtype(space.dtype, jnp.floating)
      and np.isfinite(space.low).all() and np.isfinite(space.high).all(),
      'Discrete, or a Box of float numbers, which must have finite ends')
  dimensions = math.prod(space.shape)
  config_lib.check(
      'bins', bins, bins**dimensions <= _MOST_ACTIONS,
      f'such that there are at most {_MOST_ACTIONS} actions, bins to the power '
      f'of the dimensions, and not {bins}**{dimensions}')
  shares = np.linspace(0, 1, bins, dtype=np.float32)
  return np.array(list(itertools.product(shares, repeat=dimensions)))


def tasks(config: Config) -> types.TaskDistribution:
  """The task distribution of an environment: three disjoint sets.

  Raises:
    ValueError: if there are not as many different tasks as asked for.
  """
  env = Adapter(config)
  constant = not config.variation.fields and all(
      low == high for _, low, high in config.variation.ranges)
  hypotheses = None
  if constant and env.num_actions <= _MOST_ENUMERATED:
    permutations = np.array(
        list(itertools.permutations(range(env.num_actions))), np.int32)
    hypotheses = found = jax.vmap(
        lambda p: env.default_params.replace(permutation=p))(permutations)
    order = np.random.default_rng(config.split_seed).permutation(
        len(permutations))
  else:
    found, order = _different(env, sum(_sizes(config, _BLOCK)))
  train, validation, held_out = (
      jax.tree.map(lambda x, chosen=chosen: x[chosen], found)
      for chosen in _split(config, env, order))
  return types.TaskDistribution(
      env=env, train=train, validation=validation, held_out=held_out,
      episode_length=int(env.default_params.max_steps_in_episode),
      hypotheses=hypotheses)


def _sizes(config: Config, there: int) -> tuple[int, int, int]:
  """How many of the tasks that are there each set has."""
  share = min(_MOST_OTHERS, max(1, there // 10))
  validation = config.num_validation or share
  held_out = config.num_held_out or share
  left = there - validation - held_out
  train = config.num_train or max(1, min(_MOST_TRAIN, left))
  return train, validation, held_out


def _split(
    config: Config, env: Adapter, order: np.ndarray
) -> list[np.ndarray]:
  """The indices of different tasks [M] as those of the three sets."""
  there = len(order)
  config_lib.check(
      'env_id', config.env_id, there >= 3,
      f'given more that varies: there are {there} different tasks, and three '
      'sets need at least 3; ranges can be of '
      + (', '.join(env.ranged) or 'no parameter'))
  sizes = _sizes(config, there)
  config_lib.check(
      'num_train + num_validation + num_held_out', sum(sizes),
      sum(sizes) <= there, f'at most {there}, the different tasks there are')
  ends = np.cumsum(sizes)
  return np.split(order[:ends[-1]], ends[:-1])


def _different(env: Adapter, num: int) -> tuple[EnvParams, np.ndarray]:
  """Tasks, and the indices [M] of different ones; M < num if there are few."""
  key, order = jax.random.key(env.config.split_seed), np.array([], int)
  blocks: list[EnvParams] = []
  sample = jax.jit(jax.vmap(env.sample_task))
  while True:
    blocks.append(jax.tree.map(np.asarray, sample(
        jax.random.split(jax.random.fold_in(key, len(blocks)), _BLOCK))))
    found = jax.tree.map(lambda *x: np.concatenate(x), *blocks)
    rows = np.concatenate([
        np.ascontiguousarray(x.reshape(len(x), -1)).view(np.uint8)
        for x in jax.tree.leaves(found)], 1)
    before, order = len(order), np.sort(
        np.unique(rows, axis=0, return_index=True)[1])
    if len(order) >= num or len(order) == before:
      return jax.tree.map(jnp.asarray, found), order
