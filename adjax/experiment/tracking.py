"""metrics.jsonl in the trackers people have: TensorBoard, Weights & Biases.

  with contextlib.closing(tracking.Tracked('tensorboard', workdir)) as progress:
    progress.result(adjax.run(experiment, workdir, progress))

Steps are epochs. A run that is resumed goes on in the same log.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import importlib
import json
import math
import os
import pathlib
import secrets
import time
from typing import Any

import jax
import numpy as np

from adjax.experiment import progress as progress_lib
from adjax.storage import files


class Tracked(progress_lib.Progress):
  """Tells another Progress all it is told, and trackers the epochs.

  A tracker that fails ends no training. They write into WORKDIR/tensorboard and
  WORKDIR/wandb; wandb is offline unless WANDB_MODE says otherwise.
  """

  def __init__(
      self, log: str, workdir: str | os.PathLike[str],
      progress: progress_lib.Progress | None = None,
  ) -> None:
    """Looks for the trackers' packages; writes nothing yet.

    Args:
      log: 'tensorboard', 'wandb', both with a comma between them, or ''.
      workdir: of the run.
      progress: is told how it goes; by default the logger 'adjax' is.

    Raises:
      ValueError: if there is no such tracker, or its package is not installed.
    """
    self._names = list(dict.fromkeys(log.split(','))) if log else []
    for name in self._names:
      if name not in _TRACKERS:
        raise ValueError(f'log={log}: must be of {", ".join(_TRACKERS)}, with '
                         'commas between them')
      try:
        importlib.import_module(_TRACKERS[name].package)
      except ImportError as error:
        raise ValueError(f'log={log}: must have its package installed, pip '
                         f'install {_TRACKERS[name].package} ({error})'
                         ) from None
    self._workdir, self._epochs = workdir, 0
    self._progress = progress or progress_lib.Progress()
    self._trackers: dict[str, Any] = {}

  def say(self, text: str) -> None:
    """Reports a line."""
    self._progress.say(text)

  @contextlib.contextmanager
  def epochs(self, done: int, epochs: int) -> Iterator[None]:
    """Opens the logs, and tells them the epochs that are done."""
    workdir = files.expand(os.fspath(self._workdir))
    self._epochs = epochs
    for name in self._names if jax.process_index() == 0 else ():
      with self._ends_nothing(name):
        self._trackers[name] = tracker = _TRACKERS[name](workdir)
        # All of them: whether it heard of each before, nobody knows.
        lines = pathlib.Path(workdir, 'metrics.jsonl').read_text().splitlines()
        for line in map(json.loads, lines):
          tracker.write(line['epoch'], scalars(line))
    with self._progress.epochs(done, epochs):
      yield

  def epoch(
      self, line: dict[str, Any], epochs: int, seconds_left: float
  ) -> None:
    """Reports an epoch."""
    self._each(lambda tracker: tracker.write(line['epoch'], scalars(line)))
    self._progress.epoch(line, epochs, seconds_left)

  def result(self, result: dict[str, Any]) -> None:
    """Adds the headline of what adjax.run has returned, at the last epoch."""
    self._each(
        lambda tracker: tracker.result(self._epochs, headline(result)))

  def close(self) -> None:
    """Ends all logs."""
    self._each(lambda tracker: tracker.close())
    self._trackers.clear()

  def _each(self, call: Callable[[Any], None]) -> None:
    for name, tracker in list(self._trackers.items()):
      with self._ends_nothing(name):
        call(tracker)

  @contextlib.contextmanager
  def _ends_nothing(self, name: str) -> Iterator[None]:
    """A tracker that fails, in whatever way, is told no more."""
    try:
      yield
    except Exception as error:
      self._trackers.pop(name, None)
      self.say(f'log={name}: nothing more is written there: {error!r}')


def scalars(line: dict[str, Any]) -> dict[str, float]:
  """The numbers of a line of metrics.jsonl, and means over tasks or episodes.

  What it has for each seed is left out, and what is not known or not finite.
  """
  found = {name: x for name, x in line.items() if isinstance(x, (int, float))}
  for name, some in line.items():
    if isinstance(some, dict):
      found |= {f'{name}/{key}': _mean(x) for key, x in some.items()}
  return {name: x for name, x in found.items()
          if np.isfinite(x) and name not in ('epoch', 'format')}


def _mean(x: Any) -> float:
  """Over what is known of it, which JSON has nulls beside; NaN of nothing."""
  known = np.array(x, float)
  known = known[~np.isnan(known)]
  return float(known.mean()) if known.size else math.nan


def headline(result: dict[str, Any]) -> dict[str, float]:
  """Returns on held-out tasks in episode 1 and in the last ten, by learner."""
  found = {'result/random': result['random']}
  for name in 'held_out', 'source', 'random_walk_with_memory':
    if name in result:
      curve = result[name]['return_mean']
      found |= {f'result/{name}_episode_1': curve[0],
                f'result/{name}_last_10': float(np.mean(curve[-10:]))}
  return found


class _TensorBoard:
  """A file of events for each time that the run was taken up.

  Written on the caller's thread: tensorboardX's own, if it has died of a full
  disk, is waited for for ever.
  """
  package = 'tensorboardX'

  def __init__(self, workdir: str) -> None:
    from tensorboardX import event_file_writer
    from tensorboardX.proto import event_pb2
    from tensorboardX.proto import summary_pb2
    folder = os.path.join(workdir, 'tensorboard')
    os.makedirs(folder, exist_ok=True)
    self._event, self._summary = event_pb2.Event, summary_pb2.Summary
    self._file = event_file_writer.EventsWriter(
        os.path.join(folder, 'events'))
    # TensorBoard forgets what earlier files have from this step on.
    self._add(1, session_log=event_pb2.SessionLog(
        status=event_pb2.SessionLog.START))

  def _add(self, step: int, **what: Any) -> None:
    self._file.write_event(
        self._event(step=step, wall_time=time.time(), **what))
    self._file.flush()

  def write(self, epoch: int, figures: dict[str, float]) -> None:
    value = self._summary.Value
    self._add(epoch, summary=self._summary(value=[
        value(tag=name, simple_value=x) for name, x in figures.items()]))

  result = write

  def close(self) -> None:
    self._file.close()


class _Wandb:
  """A run of wandb, which leaves out steps it has; its id is kept with it."""
  package = 'wandb'

  def __init__(self, workdir: str) -> None:
    import wandb
    path = pathlib.Path(workdir, 'wandb', 'id')
    if not path.exists():
      path.parent.mkdir(exist_ok=True)  # Else it would write elsewhere.
      files.write(str(path), secrets.token_hex(8))
    self._run = wandb.init(
        project='adjax', name=os.path.basename(os.path.abspath(workdir)),
        id=path.read_text(), resume='allow', dir=workdir,
        config=files.read_json(os.path.join(workdir, 'config.json'))['config'],
        mode=os.environ.get('WANDB_MODE', 'offline'), reinit='create_new',
        settings=wandb.Settings(console='off'))  # The screen is the Console's.

  def write(self, epoch: int, figures: dict[str, float]) -> None:
    if epoch >= self._run.starting_step:  # It would complain of each.
      self._run.log(figures, step=epoch, commit=True)

  def result(self, epoch: int, figures: dict[str, float]) -> None:
    del epoch
    self._run.summary.update(figures)

  def close(self) -> None:
    self._run.finish()


_TRACKERS: dict[str, Any] = {'tensorboard': _TensorBoard, 'wandb': _Wandb}
