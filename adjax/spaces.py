"""Observation spaces, understood in one place.

gymnax's spaces: Discrete, Box of floats, integers and bools, bounded or not,
and Dict and Tuple of these, nested. An observation that has several parts is
packed into one vector, so that a history holds one array whatever an
environment shows; what is seen of it is told part by part.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import math
import re
from typing import Any
from typing import NamedTuple
from typing import TypeAlias

import chex
from gymnax.environments import spaces as gymnax_spaces
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import types

# One of gymnax's.
Space: TypeAlias = Any

# A bound that is larger than this is none: many write the largest float.
_LARGEST_BOUND = 1e18
# The most values of a Discrete observation: each has a row of its own.
MOST_IDS = 8192


class Part(NamedTuple):
  """One array of an observation.

  Attributes:
    shape: its own.
    dtype: its own.
    low: [*shape], the least value of each entry, -inf where there is none.
    high: [*shape], the greatest value of each entry, inf where there is none.
    is_id: whether it is a name and not a quantity, as Discrete is.
  """
  shape: tuple[int, ...]
  dtype: np.dtype
  low: np.ndarray
  high: np.ndarray
  is_id: bool

  @property
  def size(self) -> int:
    """How many entries it has."""
    return math.prod(self.shape)

  @property
  def is_integer(self) -> bool:
    """Whether its entries are whole numbers."""
    return self.dtype.kind in 'biu'

  @property
  def bounded(self) -> np.ndarray:
    """Which entries have both bounds [*shape]."""
    return np.isfinite(self.low) & np.isfinite(self.high)

  @property
  def values(self) -> np.ndarray:
    """How many values an entry may take [*shape]; inf if it is no integer."""
    return np.where(
        self.is_integer & self.bounded, self.high - self.low + 1, np.inf)

  @property
  def is_image(self) -> bool:
    """Whether it is pixels from 0 to 255."""
    return (len(self.shape) == 3 and self.dtype == np.uint8
            and not self.low.any() and bool((self.high == 255).all()))


class Packed(NamedTuple):
  """What observations are, as histories hold them.

  Attributes:
    parts: of an observation, in their order.
    shape: of the whole: that of its only part, or a vector's.
    dtype: of the whole, which holds every part exactly.
  """
  parts: tuple[Part, ...]
  shape: tuple[int, ...]
  dtype: np.dtype

  def split(self, obs: chex.Array) -> Iterator[tuple[Part, chex.Array]]:
    """Each part of observations [..., *O], and it as [..., its shape]."""
    arrays.check('obs [*B, *O] any', obs, O=self.shape)
    batch = obs.shape[:obs.ndim - len(self.shape)]
    flat = obs.reshape(*batch, -1)
    start = 0
    for part in self.parts:
      yield part, flat[..., start:start + part.size].reshape(
          *batch, *part.shape)
      start += part.size


@dataclasses.dataclass(frozen=True, eq=False)
class Described:
  """What a model has to know of an environment, without the environment.

  Attributes:
    observations: the space of what is seen.
    actions: A.
    name: what errors call it.
  """
  observations: Space
  actions: int
  name: str = 'environment'
  default_params: None = None

  def observation_space(self, params: None = None) -> Space:
    return self.observations

  def action_space(self, params: None = None) -> gymnax_spaces.Discrete:
    return gymnax_spaces.Discrete(self.actions)


def to_data(space: Space) -> dict[str, Any]:
  """A space as JSON: its kind, and what its class is made of.

  Discrete has `n`; Box has `low` and `high` (a number if it is the same
  everywhere, 'inf' and '-inf' among them), `shape` and `dtype`; Dict and Tuple
  have `spaces`, those of a Dict as [name, space] in the order of its parts.
  """
  if isinstance(space, gymnax_spaces.Dict):
    return {'kind': 'Dict', 'spaces': [
        [name, to_data(space.spaces[name])] for name in _names(space)]}
  if isinstance(space, gymnax_spaces.Tuple):
    return {'kind': 'Tuple', 'spaces': [to_data(x) for x in space.spaces]}
  if isinstance(space, gymnax_spaces.Discrete):
    return {'kind': 'Discrete', 'n': int(space.n)}
  shape = tuple(int(size) for size in space.shape)
  return {'kind': 'Box', 'low': _bound_to_data(space.low, shape),
          'high': _bound_to_data(space.high, shape), 'shape': list(shape),
          'dtype': np.dtype(space.dtype).name}


def from_data(data: Mapping[str, Any]) -> Space:
  """The space that to_data described.

  Raises:
    ValueError: if it is no description of a space.
  """
  try:
    kind = data['kind']
    if kind == 'Dict':
      return gymnax_spaces.Dict(collections.OrderedDict(
          (name, from_data(x)) for name, x in data['spaces']))
    if kind == 'Tuple':
      return gymnax_spaces.Tuple(tuple(map(from_data, data['spaces'])))
    if kind == 'Discrete':
      return gymnax_spaces.Discrete(int(data['n']))
    if kind == 'Box':
      low, high = (np.array(data[name], np.float64) for name in ('low', 'high'))
      return gymnax_spaces.Box(
          low, high, tuple(data['shape']), np.dtype(data['dtype']))
  except (KeyError, TypeError, ValueError):
    pass
  raise ValueError(f'space={data!r}: must be a Discrete, Box, Dict or Tuple as '
                   'adjax describes it')


def _bound_to_data(bound: Any, shape: tuple[int, ...]) -> Any:
  with jax.ensure_compile_time_eval():
    bound = np.broadcast_to(np.asarray(bound, np.float64), shape)
  if bound.size and (bound == bound.flat[0]).all():
    bound = bound.flat[0]
  return _named_infinities(bound.tolist())


def _named_infinities(x: Any) -> Any:
  if isinstance(x, list):
    return [_named_infinities(y) for y in x]
  return x if math.isfinite(x) else str(x)


def observation(env: types.Env, space: Space | None = None) -> Packed:
  """What an environment shows.

  Args:
    env: the environment.
    space: of what is looked at, if not its observation space.

  Raises:
    ValueError: if its observation space is none that is understood; it names
      the part.
  """
  if space is None:
    space = _space(env)
  # Bounds may be made of arrays, also while a program is traced.
  with jax.ensure_compile_time_eval():
    parts = tuple(_part(env, one, name) for name, one, _ in _walk(space))
  if isinstance(space, (gymnax_spaces.Discrete, gymnax_spaces.Box)):
    return Packed(parts, parts[0].shape, parts[0].dtype)
  return Packed(parts, (sum(part.size for part in parts),), _common(parts))


def pack(env: types.Env, obs: types.PyTree) -> chex.Array:
  """An observation as histories hold it [*O].

  Raises:
    ValueError: if a part of it is not of the shape or the kind of numbers that
      the environment's space declares; it names the part.
  """
  space = _space(env)
  whole = observation(env, space)
  where = f'env={env.name}: its observation'
  try:
    named = list(_walk(space, obs))
  except (AttributeError, IndexError, KeyError, TypeError):
    raise ValueError(f'{where} must have the parts of {space}, not be '
                     f'{type(obs).__name__}') from None
  leaves = [_leaf(f'{where}{name}', part, leaf)
            for part, (name, _, leaf) in zip(whole.parts, named)]
  if len(whole.parts) == 1 and whole.shape == whole.parts[0].shape:
    return leaves[0].astype(whole.dtype)
  return jnp.concatenate([leaf.reshape(part.size).astype(whole.dtype)
                          for part, leaf in zip(whole.parts, leaves)])


def _leaf(where: str, part: Part, given: Any) -> chex.Array:
  """One part of an observation, of its shape; no fractions for integers."""
  try:
    leaf = jnp.asarray(given)
  except (TypeError, ValueError):
    raise ValueError(f'{where} must be an array, not {type(given).__name__}'
                     ) from None
  if leaf.shape != part.shape:
    raise ValueError(f'{where} must be of shape {list(part.shape)}, as its '
                     f'space says, not {list(leaf.shape)}')
  if part.is_integer and jnp.issubdtype(leaf.dtype, jnp.floating):
    raise ValueError(f'{where} must be of {part.dtype}, as its space says, not '
                     f'{leaf.dtype}')
  return leaf


def unpack(env: types.Env, obs: chex.Array) -> types.PyTree:
  """The observation that was packed: dicts and tuples as its space says."""
  space = _space(env)
  parts = iter([x.astype(part.dtype) for part, x
                in observation(env, space).split(obs)])
  return map_parts(lambda one: next(parts), space)


def read(
    space: Space, whole: Packed, obs: Any, batch: tuple[int, ...] = ()
) -> np.ndarray:
  """Observations from outside as histories hold them, of NumPy alone.

  Args:
    space: of the observations.
    whole: what observation() says of it.
    obs: one observation, or one whose arrays have leading axes [*batch]: of
      numbers and arrays, in dicts and tuples as the space says.
    batch: how many.

  Returns:
    [*batch, *O].

  Raises:
    ValueError: if a part is missing, or has another shape, or an entry that is
      not a number within its bounds. Floats may be a hundredth of their range
      outside, for what rounding does.
  """
  try:
    leaves = [(name, leaf) for name, _, leaf in _walk(space, obs)]
  except (AttributeError, KeyError, IndexError, TypeError):
    parts = ', '.join(name for name, _, _ in _walk(space))
    raise ValueError(
        f'obs={type(obs).__name__}: must have the parts {parts}') from None
  read_parts = [_read(part, f'obs{name}', leaf, batch)
                for part, (name, leaf) in zip(whole.parts, leaves)]
  if len(read_parts) == 1 and whole.shape == whole.parts[0].shape:
    return read_parts[0].astype(whole.dtype)
  return np.concatenate([
      x.reshape(*batch, -1).astype(whole.dtype) for x in read_parts], -1)


def _read(
    part: Part, where: str, given: Any, batch: tuple[int, ...]
) -> np.ndarray:
  """One part of observations from outside [*batch, *its shape]."""
  shape = (*batch, *part.shape)
  try:
    x = np.asarray(given)
  except ValueError:  # Lists of different lengths.
    x = np.array(None)
  if x.dtype.kind not in 'biuf' or x.shape != shape:
    said = (f'{x.dtype}{list(x.shape)}' if x.dtype.kind in 'biuf'
            else type(given).__name__)
    raise ValueError(f'{where}={said}: must be numbers of shape {list(shape)}')
  low, high = part.low, part.high
  if not part.is_integer:
    with np.errstate(invalid='ignore'):
      slack = np.where(part.bounded, 0.01 * (high - low), 0)
    low, high = low - slack, high + slack
  # Of NaN nothing is true.
  ok = (x >= low) & (x <= high) & np.isfinite(x)
  if part.is_integer and x.dtype.kind == 'f':
    ok &= x == np.floor(x)
  if not ok.all():
    index = tuple(int(i) for i in np.argwhere(~ok)[0])
    entry = index[len(batch):]
    at = f'[{", ".join(map(str, index))}]' if index else ''
    kind = 'an integer' if part.is_integer else 'a number'
    raise ValueError(
        f'{where}{at}={x[index]}: must be {kind} from {part.low[entry]:g} to '
        f'{part.high[entry]:g}')
  return x


def map_parts(
    function: Callable[..., Any], space: Space, *obs: types.PyTree
) -> types.PyTree:
  """A function of each part: dicts and tuples as the space says.

  Args:
    function: (space of a part, that part of each observation) -> anything.
    space: of the observations.
    *obs: observations.
  """
  if isinstance(space, gymnax_spaces.Dict):
    return {name: map_parts(function, space.spaces[name],
                            *(_get(x, name) for x in obs))
            for name in _names(space)}
  if isinstance(space, gymnax_spaces.Tuple):
    return tuple(map_parts(function, *some)
                 for some in zip(space.spaces, *obs, strict=True))
  return function(space, *obs)


def entries(space: Space) -> Iterator[str]:
  """A name for each entry of an observation, in the order of histories."""
  for where, part, _ in _walk(space):
    name = '.'.join(re.findall(r"[^\[\]']+", where)) or 'observation'
    for index in np.ndindex(*getattr(part, 'shape', ())):
      yield name + (f'[{", ".join(map(str, index))}]' if index else '')


def _space(env: types.Env) -> Space:
  with jax.ensure_compile_time_eval():
    return env.observation_space(env.default_params)


def _walk(
    space: Space, obs: types.PyTree = None, name: str = ''
) -> Iterator[tuple[str, Space, types.PyTree]]:
  """(where it stands, its space, it) of each part of an observation, if any."""
  if isinstance(space, gymnax_spaces.Dict):
    for key in _names(space):
      yield from _walk(space.spaces[key], None if obs is None else
                       _get(obs, key), f'{name}[{key!r}]')
  elif isinstance(space, gymnax_spaces.Tuple):
    for index, one in enumerate(space.spaces):
      yield from _walk(one, None if obs is None else obs[index],
                       f'{name}[{index}]')
  else:
    yield name, space, obs


def _part(env: types.Env, space: Space, name: str) -> Part:
  """One array of an observation, or an error that names it."""
  where = f'env={env.name}: its observation{name}'
  if isinstance(space, gymnax_spaces.Discrete):
    if not 1 <= space.n <= MOST_IDS:
      raise ValueError(
          f'{where} must have from 1 to {MOST_IDS} values, not {space.n}: each '
          'is an id with a row of its own; a Box is for quantities')
    return Part((), np.dtype(np.int32), np.zeros(()), np.array(space.n - 1.0),
                True)
  if not isinstance(space, gymnax_spaces.Box):
    raise ValueError(
        f'{where} must be a Discrete, a Box, or a Dict or Tuple of these, not '
        f'{space}')
  dtype = np.dtype(space.dtype)
  if dtype.kind not in 'biuf':
    raise ValueError(
        f'{where} must be of bools, integers or floats, not {dtype}')
  shape = tuple(space.shape)
  if 0 in shape:
    raise ValueError(f'{where} must have an entry, not shape {shape}')
  low, high = (
      np.broadcast_to(np.asarray(bound, np.float64), shape)
      for bound in (space.low, space.high))
  if np.isnan(low).any() or np.isnan(high).any() or (low > high).any():
    raise ValueError(f'{where} must have bounds with low at most high, not '
                     f'{space}')
  low = np.where(low < -_LARGEST_BOUND, -np.inf, low)
  high = np.where(high > _LARGEST_BOUND, np.inf, high)
  if dtype.kind in 'iu':  # As many as it can hold are as good as no bounds.
    ends = np.iinfo(dtype)
    if dtype.itemsize > 2:
      low = np.where(low <= ends.min, -np.inf, low)
      high = np.where(high >= ends.max, np.inf, high)
    else:
      low, high = np.maximum(low, ends.min), np.minimum(high, ends.max)
  return Part(shape, dtype, low, high, False)


def _common(parts: tuple[Part, ...]) -> np.dtype:
  """The smallest dtype that holds all parts exactly."""
  if all(part.is_integer for part in parts):
    for dtype in map(np.dtype, ('int8', 'uint8', 'int16', 'int32')):
      ends = np.iinfo(dtype)
      if all((part.low >= ends.min).all() and (part.high <= ends.max).all()
             for part in parts):
        return dtype
    return np.dtype(np.int32)
  return np.dtype(np.float32)


def _names(space: gymnax_spaces.Dict) -> list[Any]:
  """Keys of a Dict in the order of its parts."""
  spaces = space.spaces
  ordered = isinstance(spaces, collections.OrderedDict)
  return list(spaces) if ordered else sorted(spaces)


def _get(obs: types.PyTree, name: Any) -> types.PyTree:
  """What an observation of a Dict has of a name: a mapping's, or a class's."""
  return obs[name] if isinstance(obs, Mapping) else getattr(obs, name)
