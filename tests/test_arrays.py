"""What is refused, in which words, and that nothing else is."""

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import arrays
from adjax import types

X = np.zeros((3, 4), np.float32)
I4, B4 = np.zeros(4, int), np.zeros(4, bool)


@pytest.mark.parametrize('spec, given', [
    ('a [N, T] float, b [T] integer, c [T] bool', (X, I4, B4)),
    ('a [3, 4] number, b [4] number', (X, I4)),
    ('b [*S] integer, a [N, *S] float', (I4, X)),
    ('a [N, ...] any, b [N, ...] any', (X, np.zeros(3, bool))),
    ('a [*S, T] any, b [T] any', (X, B4)),
    ('a [] float, b [] integer, c [] bool', (1.0, 2, True)),
    ('a [N] key, b [] key', (jax.random.split(jax.random.key(0)),
                             jax.random.key(0))),
    ('a [N, ...] any', ({'x': X, 'y': (np.zeros(3), None)},)),
    ('a [T] float', (jnp.zeros(2, jnp.bfloat16),)),
])
def test_what_fits_is_let_pass(spec, given):
  arrays.check(spec, *given)
  # The same of tracers.
  jax.eval_shape(lambda *given: arrays.check(spec, *given), *given)


@pytest.mark.parametrize('spec, given, message', [
    ('a [T] float', (X,), 'a=float32[3, 4]: must be float[T]'),
    ('a [T] float', (I4,), 'a=int64[4]: must be float[T]'),
    ('a [T] integer', (B4,), 'a=bool[4]: must be integer[T]'),
    ('a [N, T] any, b [T] any', (X, np.zeros(3)),
     'b=float64[3]: must be any[T] with T=4'),
    ('a [2] any', (I4,), 'a=int64[4]: must be any[2]'),
    ('a [N, *O] any, b [*O] any', (X, np.zeros((4, 1))),
     'b=float64[4, 1]: must be any[*O] with *O=4'),
    ('a [N, T, ...] any', (I4,), 'a=int64[4]: must be any[N, T, ...]'),
    ('a [] key', (np.zeros(2, np.uint32),), 'a=uint32[2]: must be key[]'),
    ('a [T] any', ([1, 2],), 'a[0]=int64[]: must be any[T]'),
    ('a [] float', (None,), 'a=NoneType: must be float[]'),
    ('a [] float', ('text',), 'a=str: must be float[]'),
    ('a [N, ...] any', ({'x': X, 'y': I4},),
     "a['y']=int64[4]: must be any[N, ...] with N=3"),
])
def test_what_does_not_is_named(spec, given, message):
  with pytest.raises(ValueError) as error:
    arrays.check(spec, *given)
  assert str(error.value) == message


def test_known_sizes_bind():
  arrays.check('a [N, T] any, b [*S] any', X, I4, T=4, S=(4,))
  with pytest.raises(ValueError, match=r'must be any\[N, T\] with T=5'):
    arrays.check('a [N, T] any', X, T=5)
  with pytest.raises(ValueError, match=r'must be any\[\*S\] with \*S=\[3, 5\]'):
    arrays.check('a [*S] any', X, S=(3, 5))


@hypothesis.given(st.lists(st.integers(0, 3), max_size=4),
                  st.lists(st.integers(0, 3), max_size=4))
@hypothesis.settings(deadline=None)
def test_axes_agree_exactly_if_the_sizes_do(one, other):
  """Against shapes compared by hand."""
  given = np.zeros(one), np.zeros(other)

  def passes(spec):
    try:
      arrays.check(spec, *given)
    except ValueError:
      return False
    return True

  assert passes('a [*S] any, b [*S] any') == (one == other)
  assert passes('a [*S] any, b [*S, A] any') == (one == other[:-1] != other)
  assert passes('a [N, ...] any, b [..., N] any') == (
      one[:1] == other[-1:] != [])
  assert passes('a [N, T] any, b [T, N] any') == (
      len(one) == 2 and one == other[::-1])


def test_a_history_is_refused_by_the_name_of_its_field():
  history = types.History(np.zeros((2, 5, 3)), np.zeros((2, 5), int),
                          np.zeros((2, 5)), np.zeros((2, 5), bool))
  arrays.check_steps('history', history, 'S, T')
  arrays.check_steps('history', history, '*S')
  one = jax.tree.map(lambda x: x[0, 0], history)
  arrays.check_steps('step', one, '')
  for field, bad in (('obs', np.zeros((2, 4, 3))), ('done', np.zeros((2, 5))),
                     ('reward', np.zeros((2, 4))), ('action', np.zeros(2))):
    with pytest.raises(ValueError, match=rf'^history\.{field}=[^\n]*$'):
      arrays.check_steps('history', history._replace(**{field: bad}), 'S, T')


def test_a_tree_is_like_another_by_its_shapes_and_kinds():
  like = {'a': jax.ShapeDtypeStruct((3,), jnp.float32), 'b': 7}
  arrays.check_like('task', {'a': jnp.ones(3), 'b': jnp.int32(1)}, like)
  for given, message in (
      ({'a': jnp.ones(3), 'b': 1.0}, r"task\['b'\]=float64\[\]: must be int"),
      ({'a': jnp.ones(4), 'b': 1}, r"task\['a'\]=float32\[4\]: .*\*shape=3"),
      ({'a': jnp.ones(3)}, r'task: must be a tree like .*a.*b')):
    with pytest.raises(ValueError, match=message):
      arrays.check_like('task', given, like)
