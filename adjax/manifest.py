"""What a store of histories says of itself, checked before it is believed.

Nothing in these files is a path: where a file lies follows from the name of an
array and the number of a block.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import reprlib
import stat
from typing import Any

from adjax import config as config_lib
from adjax import types

NAMES = types.History._fields
_INTEGERS = ('int8', 'int16', 'int32', 'int64',
             'uint8', 'uint16', 'uint32', 'uint64')
DTYPES = {'obs': ('bool', 'float16', 'float32', 'float64', *_INTEGERS),
          'action': _INTEGERS, 'reward': ('float32',), 'done': ('bool',)}
_SCHEMA = 1
_LARGEST = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Layout:
  """How many streams there are, and how they are cut into files.

  Attributes:
    num_streams: S.
    steps: the most steps a stream may have.
    block: streams a block, which are made at once; the last has the rest.
  """
  num_streams: int
  steps: int
  block: int

  def __post_init__(self):
    for name, value in vars(self).items():
      config_lib.check('layout', name, value, is_natural(value, 1),
                       f'an integer from 1 to {_LARGEST}')

  @property
  def num_blocks(self) -> int:
    return -(-self.num_streams // self.block)

  def streams(self, index: int) -> tuple[int, int]:
    """The first stream of a block and the one after its last."""
    first = index * self.block
    return first, min(first + self.block, self.num_streams)


def path_of(directory: str) -> str:
  return os.path.join(directory, 'manifest.json')


def record_path(directory: str, index: int) -> str:
  return os.path.join(directory, 'blocks', f'{index:06d}.json')


def plan(description: dict[str, Any], layout: Layout) -> dict[str, Any]:
  """What a manifest has from the beginning, as JSON gives it back."""
  try:
    text = json.dumps(description, allow_nan=False)
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(f'description: must be JSON ({error})') from None
  if not isinstance(description, dict):
    raise ValueError(f'description={reprlib.repr(description)}: must be a dict')
  return {'schema': _SCHEMA, 'description': json.loads(text), **vars(layout)}


def read(directory: str) -> dict[str, Any]:
  """A manifest of this schema; only description and done are checked."""
  path = path_of(directory)
  manifest = read_json(path)
  if manifest.get('schema') != _SCHEMA:
    raise ValueError(f'{path}: schema={reprlib.repr(manifest.get("schema"))}: '
                     f'must be {_SCHEMA}, which this version reads')
  for name, kind in (('description', dict), ('done', bool)):
    if not isinstance(manifest.get(name), kind):
      raise ValueError(f'{path}: {name} must be a {kind.__name__}')
  return manifest


def check_same(
    directory: str, found: dict[str, Any], wanted: dict[str, Any]
) -> None:
  """Raises a ValueError unless a manifest is that of a plan."""
  try:
    different = config_lib.differences(
        {name: found.get(name) for name in wanted}, wanted)
  except RecursionError:
    different = ['description: nested too deep']
  if different:
    raise ValueError(
        f'{directory}: holds histories made otherwise; choose another folder, '
        'or set these as they were: '
        + '; '.join(line[:200] for line in different))


def parse(
    directory: str, manifest: dict[str, Any]
) -> tuple[Layout, list[dict[str, Any]]]:
  """The layout of a manifest that is done, and the records of its blocks."""
  path = path_of(directory)
  try:
    layout = Layout(*(manifest.get(field.name)
                      for field in dataclasses.fields(Layout)))
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path}: {str(error)[:200]}') from None
  records = manifest.get('blocks')
  if not isinstance(records, list) or len(records) != layout.num_blocks:
    raise ValueError(f'{path}: must have the records of {layout.num_blocks} '
                     'blocks')
  for index, record in enumerate(records):
    check_record(path, layout, index, record)
    check_same_kinds(f'{path}: block {index}', kinds(record), kinds(records[0]))
  return layout, records


def check_record(path: str, layout: Layout, index: int, record: Any) -> None:
  """Raises a ValueError unless a block's record is like one that we write.

  Args:
    path: the file it is in.
    layout: that of the store.
    index: the block.
    record: {'steps': T of the block, 'dropped': streams, 'arrays': {name:
      {'dtype', 'shape' after [S, T], 'bytes' and 'sha256' of its file}}}.
  """
  def demand(ok, field):
    if not ok:
      raise ValueError(f'{path}: {field} of block {index} is not as it is '
                       'written; it was damaged or changed from outside')

  first, last = layout.streams(index)
  demand(isinstance(record, dict), 'the record')
  demand(is_natural(record.get('steps'), 1, layout.steps), 'steps')
  dropped = record.get('dropped')
  demand(isinstance(dropped, list)
         and all(is_natural(stream, first, last - 1) for stream in dropped)
         and sorted(set(dropped)) == dropped, 'dropped')
  arrays = record.get('arrays')
  demand(isinstance(arrays, dict) and set(arrays) == set(NAMES), 'arrays')
  for name, array in arrays.items():
    demand(isinstance(array, dict), name)
    shape = array.get('shape')
    demand(isinstance(shape, list) and all(is_natural(n, 1) for n in shape)
           and math.prod(shape) <= _LARGEST
           and (name == 'obs' or not shape), f'{name}.shape')
    demand(array.get('dtype') in DTYPES[name], f'{name}.dtype')
    demand(is_natural(array.get('bytes'), 1, 2**63 - 1), f'{name}.bytes')
    digest = array.get('sha256')
    demand(isinstance(digest, str)
           and re.fullmatch('[0-9a-f]{64}', digest), f'{name}.sha256')


def kinds(record: dict[str, Any]) -> dict[str, tuple[str, list[int]]]:
  """{name: (dtype, shape after [S, T])} of a block's arrays."""
  return {name: (record['arrays'][name]['dtype'],
                 record['arrays'][name]['shape']) for name in NAMES}


def check_same_kinds(where: str, found: dict, wanted: dict) -> None:
  """Raises a ValueError unless two blocks have the same kinds of arrays."""
  for name in NAMES:
    if found[name] != wanted[name]:
      (dtype, shape), (other, others) = found[name], wanted[name]
      raise ValueError(f'{where}: {name} must be {other} {others} a step, as '
                       f'in another block; it is {dtype} {shape}')


def together(
    where: str, layout: Layout, records: list[dict[str, Any]]
) -> tuple[int, list[int]]:
  """The steps that all blocks have, and the dropped streams of all."""
  dropped = [stream for record in records for stream in record['dropped']]
  if len(dropped) == layout.num_streams:
    raise ValueError(f'{where}: all {len(dropped)} streams are dropped')
  return min(record['steps'] for record in records), dropped


def is_natural(value: Any, least: int = 0, largest: int = _LARGEST) -> bool:
  return type(value) is int and least <= value <= largest


def size(path: str) -> int:
  """The bytes of a plain file, which is no link to another one."""
  try:
    status = os.lstat(path)
  except OSError as error:
    raise ValueError(f'{path}: cannot be read ({error.strerror})') from None
  if not stat.S_ISREG(status.st_mode):
    raise ValueError(f'{path}: must be a plain file')
  return status.st_size


def read_json(path: str) -> dict[str, Any]:
  """The JSON object in a file, or a ValueError that names the file."""
  size(path)
  try:
    with open(path, encoding='utf-8') as file:
      value = json.load(file)
  except (ValueError, RecursionError):
    value = None
  if not isinstance(value, dict):
    raise ValueError(f'{path}: must be a JSON object; it was damaged or '
                     'changed from outside')
  return value


def replace_json(path: str, value: Any) -> None:
  replace(path, json.dumps(value).encode())


def replace(path: str, data: bytes) -> None:
  """Replaces a file at once, or leaves it as it was."""
  new = path + '.new'
  with contextlib.suppress(FileNotFoundError):
    os.unlink(new)
  try:
    with open(new, 'xb') as file:  # Follows no link.
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(new, path)
  except OSError:
    with contextlib.suppress(OSError):
      os.unlink(new)
    raise
