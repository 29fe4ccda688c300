"""Overrides say what is wrong with them; comparisons name what differs."""

import dataclasses
import math

import pytest

from adjax import config


@dataclasses.dataclass(frozen=True)
class Inner(config.Checked):
  width: config.Count = 4
  rate: float = 0.5
  on: bool = False
  name: str = 'a'
  widths: tuple[int, ...] = (16,)
  pairs: tuple[tuple[str, int], ...] = ()

  def check(self):
    config.check('width', self.width, self.width < 100 or self.on,
                 'below 100 unless on')


@dataclasses.dataclass(frozen=True)
class Outer:
  inner: Inner = Inner()
  seeds: int = 1


def test_override_reads_values_by_the_type_of_the_field():
  new = config.override(Outer(), [
      'inner.width=8', 'inner.rate=1e-3', 'inner.on=true', 'inner.name=x=y',
      'inner.widths=8,4', 'seeds=3'])
  assert new == Outer(Inner(8, 1e-3, True, 'x=y', (8, 4)), 3)
  assert config.override(
      Outer(), ['inner.widths=']).inner.widths == ()


@pytest.mark.parametrize('assignment, message', [
    ('inner.wdth=3', r'inner\.wdth: no such field.*inner\.width, inner\.rate'),
    ('nothing=3', r'nothing: no such field.*inner, seeds'),
    ('inner.width=wide', r'inner\.width=wide: must be an integer'),
    ('inner.width=1.5', 'must be an integer'),
    ('inner.rate=fast', 'must be a finite number'),
    ('inner.rate=nan', 'must be a finite number'),
    ('inner.on=1', 'must be true or false'),
    ('inner.widths=3,wide', 'must be integers, as in 16,32'),
    ('inner.pairs=a,1', 'can only be set in Python'),
    ('inner=3', r'inner: a group; set one of its fields: inner\.width'),
    ('seeds.x=3', 'seeds: has no fields'),
    ('seeds', 'must look like field.name=value'),
    ('inner.width=0', r'^inner\.width=0: must be at least 1'),
    ('inner.width=100', r'^inner\.width=100: must be below 100 unless on'),
])
def test_a_bad_override_is_named(assignment, message):
  with pytest.raises(ValueError, match=message):
    config.override(Outer(), [assignment])


@dataclasses.dataclass(frozen=True)
class Bounds(config.Checked):
  count: config.Count = 1
  index: config.Index = 0
  positive: config.Positive = 1.0
  non_negative: config.NonNegative = 0.0
  fraction: config.Fraction = 0.5
  rate: config.Rate = 0.5
  widths: config.Widths = (1,)
  plain: bool = False


@pytest.mark.parametrize('name, good, bad', [
    ('count', (1, 10**9), (0, -1, 1.0, True, '1', None)),
    ('index', (0, 3), (-1, 0.5, None)),
    ('positive', (1e-9, 1, 5.0), (0, 0.0, -1.0, math.inf, math.nan, '1')),
    ('non_negative', (0, 0.0, 2), (-1e-9, math.inf, math.nan, None)),
    ('fraction', (0, 1, 0.3), (-0.1, 1.1, math.nan)),
    ('rate', (0, 0.999), (1, 1.0, -0.1, math.nan)),
    ('widths', ((), (3, 4)), ((0,), [3], 3, None)),
    ('plain', (True,), (1, 'true', None)),
])
def test_a_bound_beside_its_field_is_kept(name, good, bad):
  for value in good:
    assert getattr(Bounds(**{name: value}), name) == value
  for value in bad:
    with pytest.raises(ValueError, match=f'^{name}=.*: must be '):
      Bounds(**{name: value})


def test_a_field_is_set_once():
  with pytest.raises(ValueError, match='seeds: given twice'):
    config.override(Outer(), ['seeds=1', 'seeds=2'])


def test_differences_name_fields_and_both_values():
  old = {'inner': {'width': 4, 'gone': 1}, 'seeds': 1}
  new = {'inner': {'width': 8}, 'seeds': 1}
  assert config.differences(old, new) == [
      "inner.gone: 1 -> 'absent'", 'inner.width: 4 -> 8']
  assert not config.differences(Outer(), dataclasses.asdict(Outer()))


@pytest.mark.parametrize('given', [
    '', '.', '..', '../../x', '/x', 'a/b', 'a\\b', '-x', '.x', 'a b', 'a\n',
    'a\0', 'é', '٣', 'a' * 101])
def test_names_that_could_leave_a_folder_are_refused(given):
  with pytest.raises(ValueError, match=r'^name=.*: must be 1 to 100'):
    config.check_name('name', given)


@pytest.mark.parametrize('given', ['quick', 'a..b', '3.x_-', 'a' * 100])
def test_names_that_stay_in_a_folder_are_taken(given):
  assert config.check_name('name', given) is None
