"""The weights of a run in one file, and the model that they are of.

A file of weights says by itself what it is of: its header holds the model's
configuration and the spaces of the environment as data, so that neither the
environment nor anything else of a run is needed to act with it. It is a .npz of
NumPy's, without pickle, for any program to read: `header` is a JSON text, and
every other array is a leaf of the weights, named by its path.
"""

from collections.abc import Mapping
import functools
import json
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import config
from adjax import spaces
from adjax import types
from adjax.models import sequence_model
from adjax.storage import components
from adjax.storage import files

Header = dict[str, Any]

_FIELDS = {'seeds': int, 'model': dict, 'observation': dict, 'actions': int,
           'held_out': dict, 'experiment': str}
_WHAT = 'a file of weights'


def save(path: str, header: Header, params: types.PyTree) -> None:
  """Writes a file of weights, whole or not at all.

  Args:
    path: of the file.
    header: `experiment`, its name; `seeds`; `model`, as config.json has it;
      `observation`, a space as data; `actions`; `held_out`, what it earns; and
      whatever else is JSON.
    params: weights [seeds], of NumPy or on one host's devices; a leaf is stored
      in its own dtype.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  text = files.to_json({'format': files.FORMAT} | header)
  leaves = {_name(key): _storable(np.asarray(x)) for key, x
            in jax.tree_util.tree_leaves_with_path(params)}
  files.write_npz(path, {'header': np.array(text)} | leaves)


def load(path: str) -> tuple[Header, dict[str, Any]]:
  """Reads a file of weights.

  Returns:
    Its header, and the weights [seeds] as nested dicts of NumPy arrays, in the
    dtypes they are stored in.

  Raises:
    ValueError: with the path, if there is none, or it is damaged, or of another
      format.
  """
  header, leaves = files.read_npz(path, _WHAT)
  nested = _nest(leaves)
  if nested is None or not all(isinstance(header.get(name), kind)
                               for name, kind in _FIELDS.items()):
    raise files.damaged_npz(path, _WHAT)
  return header, nested


def model(header: Header) -> sequence_model.SequenceModel:
  """The model that weights are of; the same object for equal headers.

  Raises:
    ValueError: if its class cannot be found, or has other fields by now, or
      its `make` needs more of an environment than its spaces.
  """
  return _model(json.dumps(
      [header[name] for name in ('model', 'observation', 'actions')]))


@functools.lru_cache(maxsize=8)  # So that equal ones are compiled once.
def _model(text: str) -> sequence_model.SequenceModel:
  described, observation, actions = json.loads(text)
  env = spaces.Described(spaces.from_data(observation), actions)
  made = components.from_data(described, 'model')
  try:
    return made.make(env)
  except AttributeError as error:
    raise ValueError(
        f'model={described["kind"]}: its make must need no more of an '
        f'environment than its spaces, to be loaded without it; {error}'
    ) from error


def params(
    header: Header, nested: Mapping[str, Any], seed: int = 0
) -> types.PyTree:
  """The weights of one training seed, as model(header) takes them.

  Leaves that no step needs, such as a value head's, are left out.

  Args:
    header: of the file.
    nested: its weights [seeds], as load returns them.
    seed: which of them.

  Returns:
    A tree of NumPy arrays, float32 where they are floats.

  Raises:
    ValueError: if there is no such seed, or the weights are not the model's.
  """
  config.check('seed', seed, isinstance(seed, numbers.Integral)
               and not isinstance(seed, bool) and 0 <= seed < header['seeds'],
               f'an integer from 0 to {header["seeds"] - 1}, one of the '
               'training seeds')

  def one(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    name = _name(path)
    found: Any = nested
    for part in name.split('/'):
      found = found.get(part) if isinstance(found, Mapping) else None
    wanted = header['seeds'], *leaf.shape
    given = getattr(found, 'shape', None)
    if given != wanted:
      raise ValueError(
          f'weights {name}: must be of shape {list(wanted)}, as the model is '
          'configured, and ' + ('are not there' if given is None else
                                f'are of shape {list(given)}'))
    return np.asarray(found[seed]).astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(one, _structure(model(header)))


@arrays.standard_promotion()
def _structure(made: sequence_model.SequenceModel) -> types.PyTree:
  """The shapes and dtypes of all weights that a step needs."""
  whole = spaces.observation(made.env)
  inputs = sequence_model.first_inputs(
      made.env, jnp.zeros(whole.shape, whole.dtype))
  return jax.eval_shape(
      lambda key: made.init(key, inputs, made.empty_cache(), method='step'),
      jax.random.key(0))


def _nest(leaves: dict[str, np.ndarray]) -> dict[str, Any] | None:
  """The leaves by the parts of their paths; None if one lies in another."""
  nested: dict[str, Any] = {}
  for name, leaf in leaves.items():
    *parents, last = name.split('/')
    inner = nested
    for parent in parents:
      inner = inner.setdefault(parent, {})
      if not isinstance(inner, dict):
        return None
    if last in inner:
      return None
    inner[last] = leaf
  return nested


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _storable(x: np.ndarray) -> np.ndarray:
  """In a dtype that NumPy itself knows: bfloat16 is none."""
  return x.astype(np.float32) if x.dtype.kind == 'V' else x
