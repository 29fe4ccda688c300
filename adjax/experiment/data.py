"""What a model is trained on: its own trials, or histories kept in memory.

Four sources of data, one class each, with the same epoch: Online, InMemory and
Regenerated here, Stored in `stored`.
"""

from collections.abc import Callable
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import devices
from adjax import histories
from adjax import types
from adjax.experiment import clock as clock_lib
from adjax.experiment import memory
from adjax.experiment import progress as progress_lib
from adjax.experiment import setup as setup_lib
from adjax.methods import training
from adjax.models import sequence_model

# Subsequences that tell how large numbers are, and their bytes at most.
_SAMPLE = 256
_SAMPLE_BYTES = 2**26

Trained = tuple[training.TrainState, dict[str, types.PyTree]]


class Online:
  """A method that makes its own data, and what all sources of data share.

  `compile` makes all programs before anything is computed, so that the memory
  they need can be told first; `begin` generates or opens the data; `scale`
  tells fresh states of it; `epoch` trains and evaluates; `release` lets go of
  the data.

  Attributes:
    rate: env-steps/s at which histories were generated; None if none were.
  """

  def __init__(
      self, setup: setup_lib.Setup, clock: clock_lib.Clock,
      progress: progress_lib.Progress,
  ):
    self._setup, self._clock, self._progress = setup, clock, progress
    self.rate: float | None = None
    self._curves: clock_lib.Program | None = None

  def compile(self, states: training.TrainState) -> dict[str, int]:
    """Compiles the programs: {stage: bytes it needs on each device}."""
    self._program = self._compile_epoch(training.epoch, states)
    return {'training': memory.program(self._program)}

  def compile_curves(self, states: training.TrainState) -> clock_lib.Program:
    """The program of an epoch's evaluation alone: params -> returns."""
    if self._curves is None:
      setup, evaluation = self._setup, self._setup.evaluation
      self._curves = self._clock.compile(
          lambda params: devices.map_seeds(
              lambda params: training.learning_curves(
                  setup.trainer, params, evaluation), params), states.params)
    return self._curves

  def begin(self) -> None:
    """Generates or opens the data."""

  def scale(self, states: training.TrainState) -> training.TrainState:
    """Fresh states, told how large the numbers in the data are."""
    return states

  def epoch(self, number: int, states: training.TrainState) -> Trained:
    """States after the epoch of a number from 1, and metrics."""
    del number
    return self._program(states)

  def release(self) -> None:
    """Lets go of the data: no epoch is to follow."""

  def _compile_epoch(
      self, epoch: Callable[..., Any], states: training.TrainState,
      *data: types.PyTree, donate: int | tuple[int, ...] = 0,
      more: tuple[Any, ...] = (),
  ) -> clock_lib.Program:
    mesh = self._setup.mesh
    return self._clock.compile(
        functools.partial(
            epoch, self._setup.trainer, self._setup.evaluation),
        states, *data, donate_argnums=donate,
        out_shardings=(devices.by_seed(mesh), *more, None))


class Histories(Online):
  """What all ways of training on a source's histories share."""

  def __init__(
      self, setup: setup_lib.Setup, clock: clock_lib.Clock,
      progress: progress_lib.Progress,
  ):
    super().__init__(setup, clock, progress)
    assert setup.source is not None and setup.experiment.data is not None
    self._source, self._data = setup.source, setup.experiment.data
    data, length = self._data, setup.tasks.episode_length
    self._steps = data.episodes * data.episode_stride * length
    # Of a history as it is selected. Where episodes may end early, how many
    # there are is known later.
    self._bound = data.selected_episodes * length

  def scale(self, states: training.TrainState) -> training.TrainState:
    """As Online.scale; from the same sample whatever histories are kept in."""
    history = self._sample()
    found = sequence_model.statistics(
        self._setup.tasks.env, history.obs, history.reward)
    program = self._clock.compile(
        lambda states, found: jax.vmap(
            lambda state: training.scale(state, found))(states),
        states, found, donate_argnums=0,
        out_shardings=devices.by_seed(self._setup.mesh))
    return self._clock.run('train', program, states, found)

  def _sample(self) -> types.History:
    """Some subsequences of the histories, as NumPy arrays [B, L]."""
    raise NotImplementedError

  def _places(
      self, row: types.PyTree, num_streams: int, steps: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """Streams and starts [B] of a sample of rows of these shapes."""
    number, length = self._sample_size(row), self._setup.trainer.length
    rng = np.random.default_rng(self._setup.experiment.seed)
    return (rng.integers(0, num_streams, number),
            rng.integers(0, steps - length + 1, number))

  def _sample_size(self, row: types.PyTree) -> int:
    """How many subsequences a sample has of rows of these shapes."""
    each = self._setup.trainer.length * memory.size(row)
    return max(1, min(_SAMPLE, _SAMPLE_BYTES // each))

  def _generated(self, steps: int) -> None:
    """Reports how fast histories of so many steps in all were generated."""
    self.rate = steps / self._clock.seconds['generate']
    self._progress.say(
        f'{steps // self._steps} histories of {self._steps} steps at '
        f'{self.rate / 1e6:.2f} M env-steps/s')

  def _check_steps(self, steps: int) -> None:
    """Refuses histories that are shorter than a subsequence."""
    length = self._setup.trainer.length
    if steps < length:
      raise ValueError(
          f'method.length={length}: is longer than the shortest history, of '
          f'{steps} steps in finished episodes; set data.episodes higher')

  def _check_diverged(
      self, diverged: np.ndarray | list[int], total: int
  ) -> None:
    """Names the source learners of diverged streams, out of a total.

    Raises:
      FloatingPointError: if these are all.
    """
    left_out = progress_lib.left_out(
        diverged, total, self._data.histories,
        types.num_tasks(self._setup.tasks.train))
    if left_out:
      self._progress.say(left_out)


class InMemory(Histories):
  """Histories that are generated once; every device has a copy of them.

  Attributes:
    selected: what is trained on, Selected [S], from begin on.
  """

  def compile(self, states: training.TrainState) -> dict[str, int]:
    """As Online.compile."""
    setup, data = self._setup, self._data

    def generate(
        tasks: types.Task, key: chex.PRNGKey
    ) -> tuple[types.History, chex.Array]:
      return devices.evenly(histories.streams(histories.run(
          self._source, *histories.repeat(tasks, key, data.histories),
          self._steps, devices.shard_over_all)))

    def select(
        history: types.History, finite: chex.Array
    ) -> histories.Selected:
      return histories.select(history, finite, data.episode_stride,
                              data.last_episodes, self._bound)

    self._generate = self._clock.compile(
        generate, setup.tasks.train, setup.keys.data)
    self._select = self._clock.compile(
        select, *clock_lib.output_shapes(self._generate),
        out_shardings=devices.replicated(setup.mesh))
    self._program = self._compile_epoch(
        training.epoch, states, clock_lib.output_shapes(self._select))
    return {'histories': max(memory.program(self._generate),
                             memory.program(self._select)),
            'training': memory.program(self._program)}

  def begin(self) -> None:
    """As Online.begin."""
    setup = self._setup
    history, finite = self._clock.run(
        'generate', self._generate, setup.tasks.train, setup.keys.data)
    self._generated(history.done.size)
    diverged = np.flatnonzero(~devices.fetch(finite))
    self._check_diverged(diverged, finite.size)
    self.selected = self._clock.run(
        'generate', self._select, history, finite)
    self._check_steps(int(devices.fetch(self.selected.steps)))

  def _sample(self) -> types.History:
    history, steps, num_streams = self.selected
    bounds = devices.fetch((num_streams, steps))
    streams, starts = self._places(_row(history), int(bounds[0]),
                                   int(bounds[1]))
    program = self._clock.compile(
        lambda history, streams, starts: histories.gather(
            history, streams, starts, self._setup.trainer.length).rows,
        history, streams, starts)
    return jax.tree.map(
        lambda x: x[:, 1:],
        devices.fetch(self._clock.run(
            'generate', program, history, streams, starts)))

  def epoch(self, number: int, states: training.TrainState) -> Trained:
    """As Online.epoch."""
    del number
    return self._program(states, self.selected)

  def release(self) -> None:
    """As Online.release."""
    self.selected = None


class Regenerated(Histories):
  """Histories generated anew every few epochs, in the program that trains."""

  def compile(self, states: training.TrainState) -> dict[str, int]:
    """As Online.compile."""
    setup, data = self._setup, self._data
    make = histories.regenerator(
        self._source, setup.tasks, data.histories, data.episodes,
        data.episode_stride, data.last_episodes)

    def epoch(
        trainer: training.Trainer, evaluation: training.Evaluation,
        states: training.TrainState, made: types.PyTree, key: chex.PRNGKey,
        renew: chex.Array,
    ) -> tuple[training.TrainState, types.PyTree, types.PyTree]:
      made = jax.lax.cond(renew, lambda: make(key), lambda: made)
      selected = made[0]
      streams, starts = histories.sample_subsequences(
          jax.random.fold_in(key, 1), selected.num_streams, selected.steps,
          self._sample_size(_row(selected.history)), trainer.length)
      rows = histories.gather(
          selected.history, streams, starts, trainer.length).rows
      found = sequence_model.statistics(setup.tasks.env, rows.obs, rows.reward)
      states = jax.vmap(lambda state: training.scale(state, found))(states)
      states, measured = training.epoch(
          trainer, evaluation, states, made[0])
      return states, made, measured

    shardings = devices.replicated(setup.mesh)
    self._empty = self._clock.compile(
        lambda key: jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(make, key)),
        setup.keys.data, out_shardings=shardings)
    self._program = self._compile_epoch(
        epoch, states, clock_lib.output_shapes(self._empty), setup.keys.data,
        True, donate=(0, 1), more=(shardings,))
    self._renew = True  # A run that is resumed has none yet.
    return {'training': memory.program(self._program)}

  def scale(self, states: training.TrainState) -> training.TrainState:
    """As Online.scale; it is done in the program that generates."""
    return states

  def begin(self) -> None:
    """As Online.begin."""
    self._made = self._clock.run(
        'generate', self._empty, self._setup.keys.data)

  def epoch(self, number: int, states: training.TrainState) -> Trained:
    """As Online.epoch; histories depend on its number alone."""
    renewal, since = divmod(number - 1, self._data.regenerate_every)
    renew, self._renew = self._renew or since == 0, False
    states, self._made, measured = self._program(
        states, self._made, jax.random.fold_in(
            self._setup.keys.data, renewal), renew)
    if renew:  # Nothing of an epoch is kept if these raise.
      selected, finite = devices.fetch(jax.block_until_ready(
          (self._made[0].steps, self._made[1])))
      self._check_steps(int(selected))
      self._check_diverged(np.flatnonzero(~finite), finite.size)
    return states, measured

  def release(self) -> None:
    """As Online.release."""
    self._made = None


def _row(history: types.History) -> types.History:
  """The shapes of one step of histories [S, T]."""
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), history)
