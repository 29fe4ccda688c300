"""What a store of histories says of itself.

Nothing in these files is a path: where a file lies follows from the name of an
array and the number of a block. A block's record is
{'steps': T of the block, 'dropped': its diverged streams, 'kinds': {name:
[dtype, shape after [S, T]]}, 'files': {name: [bytes, SHA-256]}}.
"""

from collections.abc import Iterator
import dataclasses
import json
import os
from typing import Annotated
from typing import Any

from adjax import config
from adjax import types
from adjax.storage import files

Record = dict[str, Any]
Kinds = dict[str, list[Any]]
_INTEGERS = ('int8', 'int16', 'int32', 'int64',
             'uint8', 'uint16', 'uint32', 'uint64')
DTYPES = {'obs': ('bool', 'float16', 'float32', 'float64', *_INTEGERS),
          'action': _INTEGERS, 'reward': ('float32',), 'done': ('bool',)}
assert tuple(DTYPES) == types.History._fields
_Size = Annotated[int, config.Bound(lambda x: 1 <= x < 2**31,
                                    f'from 1 to {2**31 - 1}')]


@dataclasses.dataclass(frozen=True)
class Layout(config.Checked):
  """How many streams there are, and how they are cut into files.

  Attributes:
    num_streams: the number of streams, S.
    steps: the most steps a stream may have.
    block: the streams of a block, which are made at once; the last block has
      the rest.
  """
  num_streams: _Size
  steps: _Size
  block: _Size

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


def shard_name(index: int, shape: list[int]) -> str:
  """The file of a block, in the folder of its array."""
  return f'c.{index}.0' + '.0' * len(shape)


def plan(description: dict[str, Any], layout: Layout) -> dict[str, Any]:
  """What a manifest has from the beginning, as JSON gives it back.

  Raises:
    ValueError: if the description is no dict of JSON.
  """
  try:
    text = json.dumps(description, allow_nan=False)
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(f'description: must be JSON ({error})') from None
  config.check('description', text[:200], text[0] == '{', 'a dict')
  return {'description': json.loads(text), **dataclasses.asdict(layout)}


def is_done(directory: str, wanted: dict[str, Any]) -> bool:
  """Whether a store is finished.

  Raises:
    ValueError: if its manifest is damaged, or that of another plan.
  """
  if not os.path.exists(path_of(directory)):
    return False
  found = files.read_sealed(path_of(directory))
  different = config.differences(
      {name: found.get(name) for name in wanted}, wanted)
  if different:
    raise ValueError(
        f'{directory}: holds histories made otherwise; choose another folder, '
        'or set these as they were: '
        + '; '.join(line[:200] for line in different))
  return 'blocks' in found


def combine(
    where: str, layout: Layout, records: list[Record]
) -> tuple[int, list[int]]:
  """The steps that all blocks have, and the dropped streams of all."""
  if len(records) != layout.num_blocks:
    raise ValueError(f'{where}: must have {layout.num_blocks} blocks')
  for index, record in enumerate(records):
    check_kinds(f'{where}: block {index}', record['kinds'], records[0]['kinds'])
  dropped = [stream for record in records for stream in record['dropped']]
  if len(dropped) == layout.num_streams:
    raise ValueError(f'{where}: all {len(dropped)} streams are dropped')
  return min(record['steps'] for record in records), dropped


def check_kinds(where: str, found: Kinds, wanted: Kinds) -> None:
  """Raises a ValueError unless two blocks have the same kinds of arrays."""
  for name, (dtype, shape) in wanted.items():
    if found[name] != [dtype, shape]:
      raise ValueError(f'{where}: {name} must be {dtype} {shape} a step, as in '
                       'another block; it is {} {}'.format(*found[name]))


def shards_of(
    directory: str, index: int, record: Record
) -> Iterator[tuple[str, int, str]]:
  """(path, bytes, SHA-256) of each file of a block."""
  for name, (size, digest) in record['files'].items():
    _, shape = record['kinds'][name]
    path = os.path.join(directory, name, shard_name(index, shape))
    yield path, size, digest


def is_whole(path: str, size: int) -> bool:
  """Whether a file is there with all its bytes."""
  return os.path.isfile(path) and os.path.getsize(path) == size
