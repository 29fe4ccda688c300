"""What arrays have to be, said at the top of the functions that take them.

Only shapes and dtypes are looked at: it works on tracers, and in a compiled
program nothing of it is left.
"""

from collections.abc import Iterator
import contextlib
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@contextlib.contextmanager
def standard_promotion() -> Iterator[None]:
  """Within, JAX promotes dtypes and ranks as it does by default.

  What stands in programs here relies on it, whatever a user has set for theirs.
  """
  with (jax.numpy_dtype_promotion('standard'),
        jax.numpy_rank_promotion('allow')):
    yield


_KINDS = {
    'bool': (np.bool_,), 'float': (jnp.floating,), 'integer': (jnp.integer,),
    'number': (jnp.floating, jnp.integer), 'key': (jax.dtypes.prng_key,),
    'any': (np.generic, jax.dtypes.prng_key)}
_SCALARS = (bool, int, float)


def check(spec: str, *given: Any, **sizes: int | tuple[int, ...]) -> None:
  """Refuses arrays of another shape or dtype than they should have.

  For example, check('reward [T] float, done [T] bool', reward, done).

  Args:
    spec: 'name [axes] kind' for each argument, separated by commas. An axis is
      a word, of the same size wherever it stands; a number; '*word', any number
      of axes, the same wherever it stands; or '...', whatever there is. A kind
      is bool, float, integer, number (both of these), key or any.
    *given: the arrays in the order of the spec, or trees, each array of which
      is to be so.
    **sizes: of axes that are known; a tuple for those of '*word'.

  Raises:
    ValueError: if one is not; it names that one, what it is and what it must
      be.
  """
  known = {f'*{axis}' if isinstance(size, tuple) else axis:
           size if isinstance(size, tuple) else (size,)
           for axis, size in sizes.items()}
  for (name, axes, kind), tree in zip(_parse(spec), given, strict=True):
    for path, leaf in _leaves(name, tree):
      before = dict(known)
      if not (_fits(axes, _shape(leaf), known) and _is_a(kind, leaf)):
        where = [f'{axis}={_plain(before[axis])}'
                 for axis in axes if axis in before]
        raise ValueError(
            f'{path}={_describe(leaf)}: must be {kind}[{", ".join(axes)}]'
            + f' with {", ".join(where)}' * bool(where))


def check_steps(name: str, given: Any, axes: str) -> None:
  """The same for History, Inputs and Transition.

  Args:
    name: the argument's.
    given: has obs [axes, *O], action, reward and done [axes].
    axes: as in a spec of check.
  """
  obs_axes = f'{axes}, *O' if axes else '*O'
  check(f'{name}.action [{axes}] integer, {name}.reward [{axes}] float, '
        f'{name}.done [{axes}] bool, {name}.obs [{obs_axes}] any',
        given.action, given.reward, given.done, given.obs)


def check_like(name: str, given: Any, like: Any) -> None:
  """Refuses a tree whose arrays have not the shapes and kinds of another's.

  Args:
    name: the argument's.
    given: a tree.
    like: a tree of arrays or jax.ShapeDtypeStruct.

  Raises:
    ValueError: if an array is not alike, or the trees are not.
  """
  wanted: Any = jax.tree.structure(like)
  if wanted != jax.tree.structure(given):
    raise ValueError(f'{name}: must be a tree like '
                     + re.sub(r'\s+', ' ', str(wanted)))
  for (path, leaf), model in zip(_leaves(name, given), jax.tree.leaves(like)):
    kind = next(kind for kind in _KINDS if _is_a(kind, model))
    # A whole number will do for a parameter that is none.
    kind = 'number' if kind == 'float' and not hasattr(leaf, 'dtype') else kind
    check(f'{path} [*shape] {kind}', leaf, shape=_shape(model))


@functools.cache
def _parse(spec: str) -> list[tuple[str, tuple[str, ...], str]]:
  """[(name, axes, kind)] of a spec."""
  found = re.findall(r'(\S+) \[(.*?)\] (\w+)(?:, |$)', spec)
  return [(name, tuple(filter(None, axes.split(', '))), kind)
          for name, axes, kind in found]


def _leaves(name: str, tree: Any) -> list[tuple[str, Any]]:
  """(name and path, leaf) of the arrays in a tree; None alone is one, too."""
  if tree is None:
    return [(name, None)]
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [(name + jax.tree_util.keystr(path), leaf) for path, leaf in leaves]


def _shape(leaf: Any) -> Any:
  """Of an array, a scalar of Python's, or None for anything else."""
  return () if isinstance(leaf, _SCALARS) else getattr(leaf, 'shape', None)


def _dtype(leaf: Any) -> Any:
  return leaf.dtype if hasattr(leaf, 'dtype') else np.dtype(type(leaf))


def _is_a(kind: str, leaf: Any) -> bool:
  return any(jnp.issubdtype(_dtype(leaf), base) for base in _KINDS[kind])


def _fits(
    axes: tuple[str, ...], shape: tuple[int, ...] | None,
    known: dict[str, tuple[int, ...]],
) -> bool:
  """Whether a shape has these axes; what it says of new ones becomes known."""
  if shape is None:
    return False
  many = [axis for axis in axes if axis[0] in '*.' and axis not in known]
  rest = len(shape) - sum(
      len(known.get(axis, (0,))) for axis in axes if axis not in many)
  start = 0
  for axis in axes:
    length = rest if axis in many else len(known.get(axis, (0,)))
    part = tuple(shape[start:start + length])
    start += length
    if axis.isdigit():
      size: tuple[int, ...] = (int(axis),)
    else:
      size = part if axis == '...' else known.setdefault(axis, part)
    if part != size:
      return False
  return rest >= 0 and start == len(shape)


def _plain(size: tuple[int, ...]) -> int | list[int]:
  return size[0] if len(size) == 1 else list(size)


def _describe(leaf: Any) -> str:
  if _shape(leaf) is None:
    return type(leaf).__name__
  return f'{_dtype(leaf)}{list(_shape(leaf))}'
