"""Any gymnax environment as a task distribution.

What makes a task, alone or together:

  * What `reset` draws, held fixed. Built-ins that draw a goal or the arms of a
    bandit there draw another at every automatic reset, in the middle of a
    history. Here what was drawn is in the task, and every reset state is given
    it.
  * Parameters within ranges: the length of CartPole's pole, say.
  * Permuted actions.

Continuous actions become a lattice of discrete ones. Rewards are float32 and
observations have the dtype of the declared space, whatever the built-in gives.
"""

import dataclasses
import difflib
import itertools
import math
from types import EllipsisType
from typing import Annotated

import chex
from flax import struct
import gymnax
from gymnax.environments import environment
from gymnax.environments import spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.envs import gymnax_builtins

# The permutations of more actions than this are drawn, not enumerated.
_MOST_ENUMERATED = 7
# Tasks drawn at a time; when so many bring no new one, there are no others.
_BLOCK = 1024


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
    permute: whether a task permutes the actions. Observations that name the
      last action name the environment's own. It adds nothing to a bandit whose
      arms are drawn.
    bins: actions along each dimension of a continuous action space, from end to
      end; odd numbers include the centre.
    entries: (start, end) of an observation vector that the agent sees; None for
      what gymnax_builtins.VARIATIONS says, or all.
    episode_length: steps after which an episode is truncated, 0 for the
      environment's own limit. Name it where episodes end long before that one:
      Catch after 9 steps, SimpleBandit after 1.
    num_train: training tasks.
    num_validation: validation tasks.
    num_held_out: held-out tasks.
    split_seed: which tasks are sampled and where they go; the sets are disjoint
      for every seed.
  """
  env_id: str
  arguments: tuple[tuple[str, bool | int | float | str], ...] = ()
  fields: tuple[str, ...] | None = None
  ranges: tuple[tuple[str, float, float], ...] = ()
  permute: bool = False
  bins: Annotated[int, config_lib.Bound(
      lambda x: x >= 2, 'at least 2')] = 3
  entries: tuple[int, int] | None = None
  episode_length: Annotated[int, config_lib.Bound(
      lambda x: x >= 0,
      'at least 1, or 0 for the limit of the environment')] = 0
  num_train: config_lib.Count = 64
  num_validation: config_lib.Count = 8
  num_held_out: config_lib.Count = 8
  split_seed: config_lib.Index = 0

  def check(self) -> None:
    check = config_lib.check
    ids = [name for name in gymnax.registered_envs if 'MNIST' not in name]
    check('env_id', self.env_id, self.env_id in ids, 'one of ' + ', '.join(
        difflib.get_close_matches(self.env_id, ids, cutoff=0.4) or ids))
    for item in self.ranges:
      check('ranges', item, len(item) == 3 and
            -math.inf < item[1] <= item[2] < math.inf,
            '(parameter, low, high) with low at most high, both finite')
    varies = any(low < high for _, low, high in self.ranges)
    check('env_id', self.env_id,
          self.permute or bool(self.variation.fields) or varies,
          'given something that varies, or all tasks are the same: permute, '
          'ranges, or fields that it draws in reset')

  @property
  def variation(self) -> gymnax_builtins.Variation:
    """What is drawn in `reset`, with all that this config says of it."""
    known = gymnax_builtins.Variation(self.fields or ())
    if self.fields is None:
      known = gymnax_builtins.VARIATIONS.get(self.env_id, known)
    return gymnax_builtins.Variation(
        known.fields, (*known.ranges, *self.ranges),
        known.entries if self.entries is None else self.entries)

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


class Adapter(environment.Environment):
  """A gymnax environment whose task is in its EnvParams.

  Equal configs are equal to jit.

  Attributes:
    config: what it was made from.
    inner: the environment itself.
  """

  def __init__(self, config: Config) -> None:
    self.config = config
    self.inner, self._params = gymnax.make(
        config.env_id, **dict(config.arguments))
    self._check()
    self._lattice = None
    actions = self.inner.action_space(self._params)
    if not isinstance(actions, spaces.Discrete):
      shares = np.linspace(0, 1, config.bins, dtype=np.float32)
      self._lattice = np.array(list(
          itertools.product(shares, repeat=math.prod(actions.shape))))
    self._actions = spaces.Discrete(
        actions.n if self._lattice is None else len(self._lattice))
    self._entries: slice | EllipsisType = ...
    self._space = self.inner.observation_space(self._params)
    if isinstance(self._space, spaces.Discrete):
      self._space = spaces.Box(0, self._space.n - 1, (), self._space.dtype)
    if len(self._space.shape) == 1 and config.variation.entries is not None:
      self._entries = slice(*config.variation.entries)
    low, high = (
        np.broadcast_to(np.asarray(bound), self._space.shape)[self._entries]
        for bound in (self._space.low, self._space.high))
    whole = config.env_id in gymnax_builtins.WHOLE
    dtype = jnp.int8 if whole else self._space.dtype
    self._space = spaces.Box(low, high, low.shape, dtype)
    # Asked for again and again, also while tracing.
    self._default = self.sample_task(jax.random.key(0))

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Adapter) and self.config == other.config

  def __hash__(self) -> int:
    return hash(self.config)

  def _check(self) -> None:
    """What of a config only its environment can tell."""
    check = config_lib.check
    _, state = jax.eval_shape(
        self.inner.reset_env, jax.random.key(0), self._params)
    names = [field.name for field in dataclasses.fields(state)]
    for name in self.config.variation.fields:
      check('fields', name, name in names, 'one of ' + ', '.join(names))
    derived = gymnax_builtins.DERIVED.get(self.config.env_id, ())
    names = [field.name for field in dataclasses.fields(self._params)
             if np.ndim(getattr(self._params, field.name)) == 0
             and field.name not in ('max_steps_in_episode', *derived)]
    for name, *ends in self.config.variation.ranges:
      check('ranges', name, name in names, 'one of ' + ', '.join(names))
      check('ranges', (name, *ends), _is_float(getattr(self._params, name))
            or all(end == int(end) for end in ends), 'whole numbers')

  @property
  def name(self) -> str:
    return self.config.env_id

  @property
  def default_params(self) -> EnvParams:
    return self._default

  @property
  def num_actions(self) -> int:
    return self._actions.n

  def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
    return self._actions

  def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
    return self._space

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
    if self.config.permute:
      permutation = jax.random.permutation(permutation_key, permutation)
    return jax.tree.map(jnp.asarray, EnvParams(
        inner=inner, drawn=drawn, permutation=permutation,
        max_steps_in_episode=self.config.episode_length or int(
            self._params.max_steps_in_episode)))

  def reset_env(
      self, key: chex.PRNGKey, params: EnvParams
  ) -> tuple[chex.Array, types.PyTree]:
    obs, state = self.inner.reset_env(key, params.inner)
    if params.drawn:
      state = state.replace(**params.drawn)
      obs = self.inner.observe(key, state, None, params.inner)
    return self._see(obs), jax.tree.map(jnp.asarray, state)

  def step_env(
      self, key: chex.PRNGKey, state: types.PyTree, action: chex.Array,
      params: EnvParams,
  ) -> tuple[chex.Array, types.PyTree, chex.Array, chex.Array, dict]:
    obs, state, reward, terminated, _ = self.inner.step_env(
        key, state, self.inner_action(action, params), params.inner)
    return (self._see(obs), state, jnp.asarray(reward, jnp.float32),
            jnp.asarray(terminated, bool), {})

  def inner_action(self, action: chex.Array, params: EnvParams) -> chex.Array:
    """The action [] of the environment itself, or [*its own shape]."""
    arrays.check('action [] integer, params.permutation [A] integer',
                 action, params.permutation, A=self.num_actions)
    action = params.permutation[action]
    if self._lattice is None:
      return action
    space = self.inner.action_space(params.inner)
    share = jnp.asarray(self._lattice)[action].reshape(space.shape)
    # In this form the ends are met exactly.
    return (1 - share) * space.low + share * space.high

  def _see(self, obs: chex.Array) -> chex.Array:
    return jnp.asarray(obs)[self._entries].astype(self._space.dtype)


def _is_float(value: chex.Numeric) -> bool:
  return jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating)


def tasks(config: Config) -> types.TaskDistribution:
  """The task distribution of an environment: three disjoint sets.

  Raises:
    ValueError: if there are not as many different tasks as asked for.
  """
  env = Adapter(config)
  counts = (config.num_train, config.num_validation, config.num_held_out)
  constant = not config.variation.fields and all(
      low == high for _, low, high in config.variation.ranges)
  hypotheses = None
  if constant and env.num_actions <= _MOST_ENUMERATED:
    permutations = jnp.array(
        list(itertools.permutations(range(env.num_actions))))
    hypotheses = found = jax.vmap(
        lambda p: env.default_params.replace(permutation=p))(permutations)
    order = np.random.default_rng(config.split_seed).permutation(
        len(permutations))
  else:
    found, order = _different(env, sum(counts))
  config_lib.check(
      'num_train + num_validation + num_held_out', sum(counts),
      sum(counts) <= len(order),
      f'at most {len(order)}, the different tasks that were found')
  ends = np.cumsum(counts)
  train, validation, held_out = (
      jax.tree.map(lambda x, chosen=chosen: x[chosen], found)
      for chosen in np.split(order[:ends[-1]], ends[:-1]))
  return types.TaskDistribution(
      env=env, train=train, validation=validation, held_out=held_out,
      episode_length=int(env.default_params.max_steps_in_episode),
      hypotheses=hypotheses)


def _different(env: Adapter, num: int) -> tuple[EnvParams, np.ndarray]:
  """Tasks, and the indices [M] of different ones; M < num if there are few."""
  key, order = jax.random.key(env.config.split_seed), np.array([], int)
  blocks: list[EnvParams] = []
  while True:
    blocks.append(jax.tree.map(np.asarray, jax.vmap(env.sample_task)(
        jax.random.split(jax.random.fold_in(key, len(blocks)), _BLOCK))))
    found = jax.tree.map(lambda *x: np.concatenate(x), *blocks)
    rows = np.concatenate([
        np.ascontiguousarray(x.reshape(len(x), -1)).view(np.uint8)
        for x in jax.tree.leaves(found)], 1)
    before, order = len(order), np.sort(
        np.unique(rows, axis=0, return_index=True)[1])
    if len(order) >= num or len(order) == before:
      return jax.tree.map(jnp.asarray, found), order
