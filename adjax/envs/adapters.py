"""Any gymnax environment as a task distribution.

What makes a task, alone or together:

  * A draw held fixed. Built-ins that draw a goal or the arms of a bandit in
    `reset` draw another at every automatic reset, in the middle of a history.
    Here what was drawn is in the task, and every reset state is given it.
  * Parameters within ranges: the length of CartPole's pole, say.
  * Permuted actions.

Continuous actions become a lattice of discrete ones. Rewards are float32 and
observations have the dtype of the declared space, whatever the built-in gives.
"""

import dataclasses
import difflib
import functools
import itertools
import math
from typing import Any
from typing import NamedTuple

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

# The permutations of more actions than this are drawn, not enumerated.
_MOST_ENUMERATED = 7
# Tasks drawn at a time; when so many bring no new one, there are no others.
_BLOCK = 1024


class Law(NamedTuple):
  """How an environment draws its task in `reset`.

  Attributes:
    fields: of its state, which hold the task.
    ranges: of its parameters, as in Config.
    entries: (start, end) of its observation vector that do not tell the task:
      who is shown the goal has nothing to learn. None for all.
  """
  fields: tuple[str, ...] = ()
  ranges: tuple[tuple[str, float, float], ...] = ()
  entries: tuple[int, int] | None = None


# The other built-ins draw no more than how an episode starts.
LAWS = {
    'BernoulliBandit-misc': Law(('reward_probs', 'exp_reward_best')),
    'DeepSea-bsuite': Law(
        ('action_mapping',), (('sample_action_map', 1, 1),)),
    'FourRooms-misc': Law(('goal',), (('resample_goal_pos', 1, 1),), (0, 2)),
    'GaussianBandit-misc': Law(('mu',)),
    'MetaMaze-misc': Law(('goal',)),
    'PointRobot-misc': Law(('goal',)),
    'Reacher-misc': Law(('goal_xy',), entries=(0, -2)),
    'SimpleBandit-bsuite': Law(('rewards',)),
    'Swimmer-misc': Law(('goal_xy', 'urchin_xys'), entries=(-6, -2)),
}

# Parameters that follow from others.
DERIVED = {
    'CartPole-v1': {
        'total_mass': lambda params: params.masscart + params.masspole,
        'polemass_length': lambda params: params.masspole * params.length,
    },
}

# Observations of whole numbers, which gymnax gives in four bytes each. Not
# uint8: networks take that for shades of grey.
_WHOLE = (
    'Asterix-MinAtar', 'Breakout-MinAtar', 'Freeway-MinAtar',
    'Seaquest-MinAtar', 'SpaceInvaders-MinAtar', 'Catch-bsuite',
    'DeepSea-bsuite', 'FourRooms-misc', 'Pong-misc')


@dataclasses.dataclass(frozen=True)
class Config:
  """An environment, what varies in it, and three sets of its tasks.

  Attributes:
    env_id: known to gymnax, but for MNISTBandit, which downloads.
    arguments: (name, value) of its constructor.
    fields: of its state, drawn in `reset`, to be held fixed; None for what LAWS
      says, () for none.
    ranges: (parameter, low, high), drawn uniformly for each task, both ends
      included for whole numbers and bools. Equal ends set a parameter.
    permute: whether a task permutes the actions. Observations that name the
      last action name the environment's own. It adds nothing to a bandit whose
      arms are drawn.
    bins: actions along each dimension of a continuous action space, from end to
      end; odd numbers include the centre.
    entries: (start, end) of an observation vector that the agent sees; None for
      what LAWS says, or all.
    episode_length: steps after which an episode is truncated, 0 for the
      environment's own limit. Name it where episodes end long before that one:
      Catch after 9 steps, SimpleBandit after 1.
    num_train: training tasks.
    num_validation: validation tasks.
    num_held_out: held-out tasks.
    split_seed: which tasks are drawn and where they go; the sets are disjoint
      for every seed.
  """
  env_id: str
  arguments: tuple[tuple[str, Any], ...] = ()
  fields: tuple[str, ...] | None = None
  ranges: tuple[tuple[str, float, float], ...] = ()
  permute: bool = False
  bins: int = 3
  entries: tuple[int, int] | None = None
  episode_length: int = 0
  num_train: int = 64
  num_validation: int = 8
  num_held_out: int = 8
  split_seed: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'tasks')
    ids = [name for name in gymnax.registered_envs if 'MNIST' not in name]
    check('env_id', self.env_id, self.env_id in ids, 'one of ' + ', '.join(
        difflib.get_close_matches(self.env_id, ids, cutoff=0.4) or ids))
    for item in self.ranges:
      check('ranges', item, len(item) == 3 and
            -math.inf < item[1] <= item[2] < math.inf,
            '(parameter, low, high) with low at most high, both finite')
    check('bins', self.bins, self.bins >= 2, 'at least 2')
    check('episode_length', self.episode_length, self.episode_length >= 0,
          'at least 1, or 0 for the limit of the environment')
    check('split_seed', self.split_seed, self.split_seed >= 0, 'at least 0')
    for name in ('num_train', 'num_validation', 'num_held_out'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    varies = any(low < high for _, low, high in self.ranges)
    check('env_id', self.env_id, self.permute or self.law.fields or varies,
          'given something that varies, or all tasks are the same: permute, '
          'ranges, or fields that it draws in reset')

  @property
  def law(self) -> Law:
    """What is drawn in `reset`, with all that this config says of it."""
    law = Law(self.fields or ())
    if self.fields is None:
      law = LAWS.get(self.env_id, law)
    return Law(law.fields, (*law.ranges, *self.ranges),
               law.entries if self.entries is None else self.entries)


@struct.dataclass
class EnvParams(environment.EnvParams):
  """The task.

  Attributes:
    inner: the EnvParams of the environment itself.
    drawn: {field of its state: the value that every episode starts with}.
    permutation: [A], its own action for each action.
  """
  inner: Any = None
  drawn: Any = dataclasses.field(default_factory=dict)
  permutation: chex.Array | None = None
  max_steps_in_episode: int = 1


class Adapter(environment.Environment):
  """A gymnax environment whose task is in its EnvParams.

  Equal configs are equal to jit.

  Attributes:
    config: what it was made from.
    inner: the environment itself.
  """

  def __init__(self, config: Config):
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
    self._entries = ...
    self._space = self.inner.observation_space(self._params)
    if isinstance(self._space, spaces.Discrete):
      self._space = spaces.Box(0, self._space.n - 1, (), self._space.dtype)
    if len(self._space.shape) == 1 and config.law.entries is not None:
      self._entries = slice(*config.law.entries)
    low, high = (
        np.broadcast_to(np.asarray(bound), self._space.shape)[self._entries]
        for bound in (self._space.low, self._space.high))
    dtype = jnp.int8 if config.env_id in _WHOLE else self._space.dtype
    self._space = spaces.Box(low, high, low.shape, dtype)
    # Asked for again and again, also while tracing.
    self._default = self.draw(jax.random.key(0))

  def __eq__(self, other):
    return isinstance(other, Adapter) and self.config == other.config

  def __hash__(self):
    return hash(self.config)

  def _check(self):
    """What of a config only its environment can tell."""
    check = functools.partial(config_lib.check, 'tasks')
    _, state = jax.eval_shape(
        self.inner.reset_env, jax.random.key(0), self._params)
    names = [field.name for field in dataclasses.fields(state)]
    for name in self.config.law.fields:
      check('fields', name, name in names, 'one of ' + ', '.join(names))
    names = [field.name for field in dataclasses.fields(self._params)
             if np.ndim(getattr(self._params, field.name)) == 0
             and field.name != 'max_steps_in_episode'
             and field.name not in DERIVED.get(self.config.env_id, ())]
    for name, *ends in self.config.law.ranges:
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

  def action_space(self, params=None) -> spaces.Discrete:
    return self._actions

  def observation_space(self, params=None) -> spaces.Box:
    return self._space

  def draw(self, key: chex.PRNGKey) -> EnvParams:
    """One task."""
    arrays.check('key [] key', key)
    range_key, reset_key, permutation_key = jax.random.split(key, 3)
    inner = self._params
    for i, (name, low, high) in enumerate(self.config.law.ranges):
      share = jax.random.uniform(jax.random.fold_in(range_key, i))
      default = jnp.asarray(getattr(inner, name))
      whole = not _is_float(default)
      value = low + share * (high - low + whole)
      if whole:
        value = jnp.minimum(jnp.floor(value), high)
      inner = inner.replace(**{name: value.astype(default.dtype)})
    derived = DERIVED.get(self.config.env_id, {})
    inner = inner.replace(**{name: of(inner) for name, of in derived.items()})
    drawn = {}
    if self.config.law.fields:
      _, state = self.inner.reset_env(reset_key, inner)
      drawn = {name: getattr(state, name) for name in self.config.law.fields}
    permutation = jnp.arange(self.num_actions)
    if self.config.permute:
      permutation = jax.random.permutation(permutation_key, permutation)
    return jax.tree.map(jnp.asarray, EnvParams(
        inner=inner, drawn=drawn, permutation=permutation,
        max_steps_in_episode=self.config.episode_length or int(
            self._params.max_steps_in_episode)))

  def reset_env(self, key, params):
    obs, state = self.inner.reset_env(key, params.inner)
    if params.drawn:
      state = state.replace(**params.drawn)
      obs = self.inner.observe(key, state, None, params.inner)
    return self._see(obs), jax.tree.map(jnp.asarray, state)

  def step_env(self, key, state, action, params):
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

  def _see(self, obs):
    return jnp.asarray(obs)[self._entries].astype(self._space.dtype)


def _is_float(value) -> bool:
  return jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating)


def tasks(config: Config) -> types.TaskDistribution:
  """The task distribution of an environment: three disjoint sets.

  Raises:
    ValueError: if there are not as many different tasks as asked for.
  """
  env = Adapter(config)
  counts = (config.num_train, config.num_validation, config.num_held_out)
  constant = not config.law.fields and all(
      low == high for _, low, high in config.law.ranges)
  support = None
  if constant and env.num_actions <= _MOST_ENUMERATED:
    permutations = jnp.array(
        list(itertools.permutations(range(env.num_actions))))
    support = found = jax.vmap(
        lambda p: env.default_params.replace(permutation=p))(permutations)
    order = np.random.default_rng(config.split_seed).permutation(
        len(permutations))
  else:
    found, order = _different(env, sum(counts))
  config_lib.check(
      'tasks', 'num_train + num_validation + num_held_out', sum(counts),
      sum(counts) <= len(order),
      f'at most {len(order)}, the different tasks that were found')
  ends = np.cumsum(counts)
  train, validation, held_out = (
      jax.tree.map(lambda x, chosen=chosen: x[chosen], found)
      for chosen in np.split(order[:ends[-1]], ends[:-1]))
  return types.TaskDistribution(
      env=env, train=train, validation=validation, held_out=held_out,
      support=support,
      episode_length=int(env.default_params.max_steps_in_episode))


def _different(env: Adapter, num: int) -> tuple[EnvParams, np.ndarray]:
  """Tasks, and the indices [M] of different ones; M < num if there are few."""
  key, found, order = jax.random.key(env.config.split_seed), None, ()
  for block in itertools.count():
    drawn = jax.tree.map(np.asarray, jax.vmap(env.draw)(
        jax.random.split(jax.random.fold_in(key, block), _BLOCK)))
    found = drawn if found is None else jax.tree.map(
        lambda *x: np.concatenate(x), found, drawn)
    rows = np.concatenate([
        np.ascontiguousarray(x.reshape(len(x), -1)).view(np.uint8)
        for x in jax.tree.leaves(found)], 1)
    before, order = len(order), np.sort(
        np.unique(rows, axis=0, return_index=True)[1])
    if len(order) >= num or len(order) == before:
      return jax.tree.map(jnp.asarray, found), order
