"""The benchmark of training: transitions/s, and how near to the machine."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from adjax import distill
from adjax import histories
from adjax import in_context
from adjax import model as model_lib
from adjax import sharding
from adjax import transformer
from adjax import types
from adjax.envs import dark_room
from adjax.learners import tabular_q
from experiments import measure

Row = measure.Row

# The shape of the stated bars: 3 layers, heads of 32 to 64, ff 4x, 100 steps.
WIDTHS = {64: 2, 128: 2, 256: 4, 512: 8}
LENGTH, BATCH = 100, 64
# The PyTorch peer where it was first measured, on two idle cores.
TWIN = {64: 46.7e3, 128: 23.0e3, 256: 8.8e3}


def shape(width: int) -> dict[str, int]:
  """Fields of transformer.Config."""
  return {'layers': 3, 'width': width, 'heads': WIDTHS[width],
          'feed_forward': 4 * width}


def make_model(width: int, window: int) -> model_lib.SequenceModel:
  """A transformer without noise, for Dark Room."""
  return transformer.Transformer(
      transformer.Config(**shape(width), window=window, dropout=0.0),
      dark_room.DarkRoom())


def flops(config: transformer.Config, length: int, inputs: int = 28,
          actions: int = 5) -> float:
  """Model FLOPs of training on one transition of a piece of this length.

  3 x 2 x (layers x (4 D D + 2 D F + 2 D keys) + inputs D + D actions), where
  keys is how many steps a step attends to on average and the backward pass
  counts twice the forward one.
  """
  keys = np.minimum(np.arange(length) + 1, config.window).mean()
  width, hidden = config.width, config.feed_forward
  block = 4 * width**2 + 2 * width * hidden + 2 * width * keys
  return 6 * (config.layers * block + (inputs + actions) * width)


def train_case(width: int, length: int, history: Any, updates: int,
               batch_size: int = BATCH) -> Any:
  """A program of so many updates, and its compile time."""
  model = make_model(width, length)
  config = distill.Config(batch_size=batch_size, length=length)
  state, history = sharding.replicate(
      (distill.init(config, model, history, jax.random.key(0)), history),
      measure.mesh())

  def train(state, history):
    sequences = in_context.inputs_of(history), history.action
    return jax.lax.scan(
        lambda state, _: distill.update(
            config, model, state, sequences, measure.mesh()),
        state, None, updates)

  return measure.compiled(train, state, history)


def some_history() -> types.History:
  """History [65, 2000] of tabular Q in Dark Room."""
  tasks = dark_room.tasks()
  return histories.streams(histories.generate(
      tabular_q.learner(tabular_q.Config(), tasks), tasks.train,
      jax.random.key(0), 1, 2000))


def rows(runs: int) -> Iterator[Row]:
  """transitions/s by width, and the share of what matrix products reach."""
  print('model FLOPs of a transition: 3 x 2 x (layers x (4 D^2 + 2 D F + 2 D '
        'keys) + inputs D + D actions), keys: those attended to on average')
  history = some_history()
  for width in WIDTHS:
    yield from at(width, LENGTH, max(1, 1280 // width), history, runs)
  yield from at(256, 128, 4, history, runs, beside_torch=False)


def at(width: int, length: int, updates: int, history: Any, runs: int,
       beside_torch: bool = True) -> Iterator[Row]:
  """The rows of one shape, in turn with its peer and with bare products."""
  case = f'width {width}, {BATCH} x {length}'
  program, compiling = train_case(width, length, history, updates)
  products, work = measure.products()
  cases = {'ours': program, 'products': products}
  peer = beside_torch and measure.torch_twin(shape(width), length)
  peer_updates = max(1, updates // 2)
  if peer:
    module, models, name = peer
    update = module.trainer(
        *models, jax.tree.map(np.asarray, tuple(in_context.inputs_of(history))),
        np.asarray(history.action), BATCH, length)
    cases['peer'] = lambda: [update() for _ in range(peer_updates)]
  seconds = measure.measure(cases, runs, budget=12)
  row = measure.rate('train', case, 'transitions/s', updates * BATCH * length,
                     seconds['ours'])
  if peer:
    row = measure.against(
        row, name, peer_updates * BATCH * length / seconds['peer'].median)
  yield row
  if peer and width in TWIN and jax.default_backend() == 'cpu':
    yield measure.against(
        Row('train', case, 'the peer itself', row.peer_value, row.unit),
        'where it was first measured', TWIN[width])
  yield Row('train', case, 'compilation', compiling, 's')
  yield share_of_peak(row, width, length, work / seconds['products'].median)


def share_of_peak(row: Row, width: int, length: int, peak: float) -> Row:
  """Model FLOP/s of a row of transitions/s, against matrix products alone."""
  config = transformer.Config(**shape(width), window=length)
  reached = row.ours * flops(config, length)
  return measure.against(
      Row(row.stage, row.case, 'model FLOP/s', reached / 1e9, 'GFLOP/s'),
      'matrix products alone', peak / 1e9)
