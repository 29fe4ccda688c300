"""Distilling histories that are in memory: made once, or anew every so often.

Both have what `training.Online` has.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from adjax import distill
from adjax import histories
from adjax import sharding
from adjax import types
from experiments import memory


class Distillation:
  """What all ways of distilling histories share."""

  def __init__(self, experiment, tasks, source, model, key, mesh):
    config, data = experiment.training, experiment.data
    self._experiment, self._config, self._data = experiment, config, data
    self._tasks, self._source, self._model = tasks, source, model
    self._key, self._mesh = key, mesh
    self._steps = data.episodes * data.every * tasks.episode_length
    self.transitions = (config.updates_per_epoch * config.batch_size
                        * config.length)
    self.rate = None

  def init(self, key):
    """A fresh state of one training seed."""
    one = jax.eval_shape(
        functools.partial(types.unroll, self._source, num_steps=1),
        jax.tree.map(lambda x: x[0], self._tasks.train), key)
    return distill.init(self._config, self._model, jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), one), key)

  def _made(self, steps, clock, progress):
    """Tells how fast histories of so many steps in all were made."""
    self.rate = steps / clock.seconds['generate']
    progress.say(f'{steps // self._steps} histories of {self._steps} steps at '
                 f'{self.rate / 1e6:.2f} M env-steps/s')

  def _check_sick(self, streams, total, progress):
    """Names the source learners of streams that are dropped, out of a total.

    Raises:
      FloatingPointError: if these are all.
    """
    if len(streams) == total:
      raise FloatingPointError(
          'source: every learner fell ill (NaN or infinity in its state, '
          'rewards or observations); nothing can be distilled')
    if len(streams):
      each = self._data.histories
      actors = total // (each * types.num_tasks(self._tasks.train))
      learners = np.unique(np.asarray(streams) // actors)
      named = ', '.join(
          f'{n % each} of task {n // each}' for n in learners[:8])
      more = f' and {len(learners) - 8} more' if len(learners) > 8 else ''
      progress.say(f'dropped {len(learners)} source learners that fell ill '
                   f'(NaN or infinity): learner {named}{more}')


class InMemory(Distillation):
  """Histories that are made once; every device has a copy of them.

  Attributes:
    history: what is distilled, History [S, T], from begin on.
  """

  def compile(self, evaluation, states, clock):
    """As Online.compile."""
    num, mesh = self._data.histories, sharding.flat(self._mesh)

    def generate(tasks, key):
      history, sound = histories.run_checked(
          self._source, *histories.repeat(tasks, key, num), self._steps, mesh)
      return histories.streams(history), sound.reshape(-1)

    self._generate = clock.compile(
        jax.jit(generate), self._tasks.train, self._key)
    made, _ = jax.eval_shape(generate, self._tasks.train, self._key)
    # Where episodes may end early, the true length is known later.
    kept = self._data.kept * self._tasks.episode_length
    self._expected = jax.tree.map(lambda x: jax.ShapeDtypeStruct(
        (x.shape[0], kept, *x.shape[2:]), x.dtype,
        sharding=sharding.replicated(self._mesh)), made)
    self._epoch = distill.make_epoch(
        self._config, self._model, evaluation, self._mesh)
    self._program = clock.compile(self._epoch, states, self._expected)
    self._clock = clock
    return {'histories': max(memory.program(self._generate),
                             self._moving(made, self._expected)),
            'training': memory.program(self._program)}

  def _moving(self, made, kept):
    """Bytes on a device while histories are cut to what is kept and copied."""
    num = 1 if self._mesh is None else self._mesh.size
    cut = made.done.size != kept.done.size
    marks = cut * 4 * (2 * made.done.size + kept.done.size)
    return ((memory.size(made) + marks + cut * memory.size(kept)) // num
            + (num > 1) * memory.size(kept))

  def begin(self, clock, progress):
    """As Online.begin."""
    history, sound = clock.run(
        'generate', self._generate, self._tasks.train, self._key)
    self._made(history.done.size, clock, progress)
    sound = sharding.fetch(sound)
    if not sound.all():
      self._check_sick(np.flatnonzero(~sound), sound.size, progress)
      well = np.flatnonzero(sound)
      history = jax.tree.map(lambda x: x[well], history)
    self.history = sharding.replicate(histories.distilled(
        history, self._data.every, self._data.tail), self._mesh)

  def release(self):
    """As Online.release."""
    self.history = None

  def epoch(self, number, states):
    """As Online.epoch."""
    del number
    if self.history.done.shape != self._expected.done.shape:
      self._program = self._clock.compile(self._epoch, states, self.history)
      self._expected = self.history
    return self._program(states, self.history)


class Endless(Distillation):
  """Histories made anew every few epochs, in the program that trains."""

  def compile(self, evaluation, states, clock):
    """As Online.compile."""
    data = self._data
    make = histories.endless(
        self._source, self._tasks, data.histories, data.episodes, data.every,
        data.tail, sharding.flat(self._mesh))
    self._fresh = sharding.replicate(
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype),
                     jax.eval_shape(make, self._key)), self._mesh)
    self._epoch = clock.compile(
        distill.make_endless_epoch(
            self._config, self._model, evaluation, make, self._mesh),
        states, self._fresh, self._key, True)
    self._renew = True  # A run that is taken up has none yet.
    return {'training': memory.program(self._epoch)}

  def begin(self, clock, progress):
    """As Online.begin."""
    del clock
    self._progress = progress

  def release(self):
    """As Online.release."""
    self._fresh = None

  def epoch(self, number, states):
    """As Online.epoch; histories depend on its number alone."""
    renewal, since = divmod(number - 1, self._data.refresh)
    renew, self._renew = self._renew or since == 0, False
    states, self._fresh, measured = self._epoch(
        states, self._fresh, jax.random.fold_in(self._key, renewal), renew)
    if renew:
      self._check()
    return states, measured

  def _check(self):
    """What was made in an epoch; nothing of it is kept if this raises."""
    steps, sick = int(self._fresh.steps), sharding.fetch(self._fresh.sick)
    if steps < self._config.length:
      raise ValueError(f'distill.length={self._config.length}: is longer than '
                       f'a history of {steps} steps; set data.episodes higher')
    self._check_sick(np.flatnonzero(sick), sick.size, self._progress)
