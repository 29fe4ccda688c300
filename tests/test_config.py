"""Overrides say what is wrong with them; comparisons name what differs."""

import dataclasses

import pytest

from adjax import config


@dataclasses.dataclass(frozen=True)
class Inner:
  width: int = 4
  rate: float = 0.5
  on: bool = False
  name: str = 'a'
  widths: tuple[int, ...] = (16,)
  pairs: tuple[tuple[str, int], ...] = ()

  def __post_init__(self):
    config.check('inner', 'width', self.width, self.width > 0, 'above 0')


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
    ('inner.width=0', r'inner\.width=0: must be above 0'),
])
def test_a_bad_override_is_named(assignment, message):
  with pytest.raises(ValueError, match=message):
    config.override(Outer(), [assignment])


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
