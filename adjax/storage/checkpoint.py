"""Saving and restoring a tree of arrays; the one place that knows orbax."""

from collections.abc import Callable
import contextlib
import errno
import os
import re
import shutil
import traceback

import jax
from orbax.checkpoint import v1 as ocp

from adjax import config
from adjax import devices
from adjax import types
from adjax.storage import files
from adjax.storage import seal

_STEP = re.compile('0|[1-9][0-9]{0,8}')
# A save that has not been sealed, and a state that is being deleted.
_PASSING = re.compile(r'[0-9]+\.(new|old).*')


class Checkpoints:
  """The newest few states of a run, in a folder of its own.

  A state is written to STEP.new, sealed there and renamed to STEP, so that a
  save that did not finish is as if it had not begun. The seal lists all leaves
  and files with their checksums; what does not agree with it is not opened.

  Of several processes all call save and restore, and the first one alone
  seals, renames and deletes.
  """

  def __init__(self, directory: str, keep: int = 3):
    config.check('keep', keep, keep >= 1, 'at least 1')
    self._directory = os.path.abspath(directory)
    self._keep = keep
    self._passed_over: set[int] = set()

  @property
  def steps(self) -> list[int]:
    """The steps that were saved and sealed, oldest first."""
    return [step for step in self._folders()
            if os.path.exists(seal.path_of(self._path(step)))]

  def save(self, step: int, state: types.PyTree) -> None:
    """Saves a state and returns once it is safe; then deletes old ones.

    Raises:
      OSError: if that failed, for whatever reason; what was saved before is
        left as it was.
      ValueError: if the step is no integer from 0 to 999999999.
    """
    config.check('step', step, bool(_STEP.fullmatch(str(step))),
                 'an integer from 0 to 999999999')
    good = self._good()
    try:
      _first(self._clear)
      leaves = devices.collectively(lambda: seal.describe(state))
      devices.collectively(lambda: ocp.save(self._path(f'{step}.new'), state))
      _first(lambda: self._commit(step, leaves))
    except Exception as error:  # Orbax raises what it likes.
      # Not collectively: the failure may be that of another process to answer.
      if jax.process_index() == 0:
        with contextlib.suppress(OSError):
          self._clear()
      last = f'the last good one is {good[-1]}' if good else 'none is there yet'
      raise OSError(f'checkpoint {step} could not be written to '
                    f'{self._directory} ({_reason(error)}); {last}') from error
    self._passed_over.discard(step)
    _first(lambda: self._delete_old(step))

  def restore(
      self, like: types.PyTree, warn: Callable[[str], None]
  ) -> tuple[int, types.PyTree] | None:
    """The newest state that is as it was saved, and its step.

    Args:
      like: a state of the same structure, shapes and dtypes; its shardings are
        those of the result, whatever they were when it was saved.
      warn: is told of each newer state that does not load.

    Returns:
      (step, state), or None if no save has ever finished.

    Raises:
      RuntimeError: if something was saved and none of it loads.
    """
    steps = devices.as_first(devices.collectively(self._folders))
    for step in reversed(steps):
      try:
        return step, self._load(step, like)
      except Exception as error:  # Orbax raises what it likes.
        self._passed_over.add(step)
        warn(f'checkpoint {step} does not load and is passed over '
             f'({_reason(error)})')
    if steps:
      raise RuntimeError(f'checkpoints {steps} are there and none loads')
    return None

  def _load(self, step: int, like: types.PyTree) -> types.PyTree:
    folder = self._path(step)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
        like)
    # Checked both before orbax opens the files and in what it makes of them.
    leaves = devices.collectively(lambda: seal.verify(folder, step, like))
    state = devices.collectively(lambda: ocp.load(folder, abstract))
    devices.collectively(lambda: seal.compare(leaves, state))
    return state

  def _path(self, name: int | str) -> str:
    return os.path.join(self._directory, str(name))

  def _folders(self) -> list[int]:
    """All steps that have a folder, oldest first."""
    if not os.path.exists(self._directory):
      return []
    return sorted(int(name) for name in os.listdir(self._directory)
                  if _STEP.fullmatch(name))

  def _good(self) -> list[int]:
    return [step for step in self.steps if step not in self._passed_over]

  def _commit(self, step: int, leaves: seal.Leaves) -> None:
    """Seals what orbax has written, and gives it its name."""
    new = self._path(f'{step}.new')
    seal.write(new, step, leaves)
    self._move_away(step)
    os.rename(new, self._path(step))
    files.sync(self._directory)

  def _delete_old(self, step: int) -> None:
    """Deletes all but the newest few states up to a new one."""
    older = [x for x in self._good() if x < step]
    for old in older[:max(0, len(older) + 1 - self._keep)]:
      self._move_away(old)
    self._clear()

  def _move_away(self, step: int) -> None:
    # At once, so that there is never half a state with a step's name.
    if os.path.exists(self._path(step)):
      os.rename(self._path(step), self._path(f'{step}.old'))

  def _clear(self) -> None:
    """Deletes what saves that did not finish have left."""
    os.makedirs(self._directory, exist_ok=True)
    for entry in os.scandir(self._directory):
      if not _PASSING.fullmatch(entry.name):
        continue
      if entry.is_dir():
        shutil.rmtree(entry.path, ignore_errors=True)
      else:
        os.unlink(entry.path)


def _first(action: Callable[[], None]) -> None:
  """Only the first process does this; all fail if it does."""
  devices.collectively(
      lambda: action() if jax.process_index() == 0 else None)


def _reason(error: BaseException) -> str:
  """One line; of a full disk, however wrapped, the system's own words."""
  full = os.strerror(errno.ENOSPC)
  if full in ''.join(traceback.format_exception(error)):
    return full
  error = error.__cause__ or error
  kind = '' if isinstance(error, ValueError) else f'{type(error).__name__}: '
  return kind + (str(error).strip().splitlines() or ['ValueError'])[0][:300]
