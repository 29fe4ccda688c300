"""The benchmark of training: transitions/s, and how near to the machine."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from adjax import histories
from adjax.envs import dark_room
from adjax.experiment import specification
from adjax.learners import tabular_q
from adjax.methods import distill
from adjax.methods import training
from adjax.models import in_context
from adjax.models import sequence_model
from adjax.models import transformer
from experiments.benchmarks import measure

Row = measure.Row

# The shape of the stated bars: 3 layers, heads of 32 to 64, ff 4x, 100 steps.
WIDTHS = {64: 2, 128: 2, 256: 4, 512: 8}
LENGTH, BATCH = 100, 64
# The PyTorch peer where it was first measured, on two idle cores.
FIRST = {64: 46.7e3, 128: 23.0e3, 256: 8.8e3}


def shape(width: int) -> dict[str, int]:
  """Fields of transformer.Config."""
  return {'layers': 3, 'width': width, 'heads': WIDTHS[width],
          'feed_forward': 4 * width}


def make_model(width: int, window: int) -> sequence_model.SequenceModel:
  """A transformer without noise, for Dark Room."""
  return transformer.Transformer(
      transformer.Config(**shape(width), window=window, dropout=0.0),
      dark_room.DarkRoom())


def flops(config: transformer.Config, length: int, inputs: int = 28,
          actions: int = 5) -> float:
  """Model FLOPs of training on one transition of a subsequence of this length.

  3 x 2 x (layers x (4 D D + 2 D F + 2 D keys) + inputs D + D actions), where
  keys is how many steps a step attends to on average and the backward pass
  counts twice the forward one.
  """
  keys = np.minimum(np.arange(length) + 1, config.window).mean()
  width, hidden = config.width, config.feed_forward
  block = 4 * width**2 + 2 * width * hidden + 2 * width * keys
  return 6 * (config.layers * block + (inputs + actions) * width)


def make_trainer(
    model: sequence_model.SequenceModel, length: int, batch_size: int = BATCH
) -> training.Trainer:
  """Of updates on so many subsequences of so many steps."""
  tasks = dark_room.tasks()
  return distill.Config(batch_size=batch_size, length=length).make(
      tasks, tabular_q.learner(tabular_q.Config(), tasks), model,
      specification.Data(episodes=100))


def train_case(
    width: int, length: int, selected: histories.Selected, number: int,
    batch_size: int = BATCH,
) -> tuple[Callable[[], Any], float]:
  """A program of so many updates, and its compile time.

  Args:
    width: D.
    length: L, and the window.
    selected: of [S, T].
    number: of updates.
    batch_size: B.
  """
  trainer = make_trainer(make_model(width, length), length, batch_size)
  state, selected = measure.replicate(
      (trainer.init(jax.random.key(0)), selected))
  return measure.compiled(
      lambda state, selected: training.train(trainer, state, selected, number),
      state, selected)


def some_histories() -> histories.Selected:
  """Of [65, 2000], tabular Q in Dark Room."""
  tasks = dark_room.tasks()
  return histories.select(*histories.streams(histories.generate(
      tabular_q.learner(tabular_q.Config(), tasks), tasks.train,
      jax.random.key(0), 1, 2000)), stride=1, last=0, bound=2000)


def rows(runs: int) -> Iterator[Row]:
  """transitions/s by width, and the share of what matrix products reach."""
  print('model FLOPs of a transition: 3 x 2 x (layers x (4 D^2 + 2 D F + 2 D '
        'keys) + inputs D + D actions), keys: those attended to on average')
  selected = some_histories()
  for width in WIDTHS:
    yield from at(width, LENGTH, max(1, 1280 // width), selected,
                  runs)
  yield from at(256, 128, 4, selected, runs, beside_torch=False)


def at(width: int, length: int, number: int,
       selected: histories.Selected, runs: int,
       beside_torch: bool = True) -> Iterator[Row]:
  """The rows of one shape, in turn with its peer and with bare products."""
  case = f'width {width}, {BATCH} x {length}'
  program, compiling = train_case(width, length, selected, number)
  products, work = measure.products()
  cases = {'ours': program, 'products': products}
  peer = beside_torch and measure.torch_baseline(shape(width), length)
  peer_number = max(1, number // 2)
  if peer:
    module, models, name = peer
    history = selected.history
    update = module.trainer(
        *models, jax.tree.map(np.asarray, tuple(in_context.inputs_of(history))),
        np.asarray(history.action), BATCH, length)
    cases['peer'] = lambda: [update() for _ in range(peer_number)]
  seconds = measure.measure(cases, runs, budget=12)
  row = measure.rate('train', case, 'transitions/s', number * BATCH * length,
                     seconds['ours'])
  if peer:
    row = measure.against(
        row, name, peer_number * BATCH * length / seconds['peer'].median)
  yield row
  if peer and width in FIRST and jax.default_backend() == 'cpu':
    yield measure.against(
        Row('train', case, 'the peer itself', row.peer_value, row.unit),
        'where it was first measured', FIRST[width])
  yield Row('train', case, 'compilation', compiling, 's')
  yield share_of_peak(row, width, length, work / seconds['products'].median)


def share_of_peak(row: Row, width: int, length: int, peak: float) -> Row:
  """Model FLOP/s of a row of transitions/s, against matrix products alone."""
  config = transformer.Config(**shape(width), window=length)
  reached = row.ours * flops(config, length)
  return measure.against(
      Row(row.stage, row.case, 'model FLOP/s', reached / 1e9, 'GFLOP/s'),
      'matrix products alone', peak / 1e9)
