"""The stages of the benchmark: each a generator of rows."""

from collections.abc import Iterator
import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import distill
from adjax import histories
from adjax import in_context
from adjax import metrics
from adjax import model as model_lib
from adjax import sharding
from adjax import transformer
from adjax import types
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import acting
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.learners import noise
from adjax.learners import patrol
from adjax.learners import posterior
from adjax.learners import rmax
from adjax.learners import tabular_q
from adjax.learners import thompson
from adjax.learners import ucb
from experiments import measure
from experiments import numpy_twin

Row = measure.Row
Rows = Iterator[Row]

# The shape of the stated bars: 3 layers, heads of 32 to 64, ff 4x, 100 steps.
WIDTHS = {64: 2, 128: 2, 256: 4, 512: 8}
LENGTH, BATCH = 100, 64
# What other code reaches (two idle cores; the programs as they are published,
# and our PyTorch twin where it was first measured).
AD_EPS_HISTORIES, AD_EPS_EVALUATION = 83e3, 149.0
TWIN = {64: 46.7e3, 128: 23.0e3, 256: 8.8e3}


def mesh() -> Any:
  return sharding.mesh() if jax.device_count() > 1 else None


def first_tasks(tasks: types.Task, num: int) -> types.Task:
  """The first tasks, over again if there are fewer."""
  index = jnp.arange(num) % types.num_tasks(tasks)
  return jax.tree.map(lambda x: x[index], tasks)


# Histories.


def histories_case(
    source: types.Learner, tasks: types.Task, steps: int
) -> tuple[Any, float]:
  """A program that makes one history on each task, and its compile time."""
  return measure.compiled(
      lambda tasks, key: histories.generate(
          source, tasks, key, 1, steps, mesh()),
      tasks, jax.random.key(0))


def make_histories(runs: int) -> Rows:
  """env-steps/s of every learner; tabular Q and UCB1 beside NumPy."""
  stage, unit = 'histories', 'env-steps/s'
  tasks = dark_room.tasks()
  source = tabular_q.learner(tabular_q.Config(), tasks)
  for learners, steps in ((65, 4000), (260, 4000), (1040, 2000), (4160, 1000)):
    some = first_tasks(tasks.train, learners)
    program, _ = histories_case(source, some, steps)
    peer = functools.partial(
        numpy_twin.tabular_q, np.asarray(some.goals[:, 0]), steps // 2, 0)
    seconds = measure.measure({'ours': program, 'peer': peer}, runs)
    row = measure.rate(
        stage, f'Dark Room, tabular Q, {learners} learners', unit,
        learners * steps, seconds['ours'], 'NumPy', learners * steps // 2,
        seconds['peer'])
    yield row
    if learners == 260:
      yield measure.against(dataclasses.replace(row, metric='speed, published'),
                            'ad-eps, 2 processes', AD_EPS_HISTORIES)
  law = bandit.tasks()
  some = first_tasks(law.train, 4096)
  program, _ = histories_case(ucb.learner(ucb.Config(), law), some, 100)
  seconds = measure.measure(
      {'ours': program, 'peer': functools.partial(
          numpy_twin.ucb, np.asarray(some.means), 100, 0)}, runs)
  yield measure.rate(
      stage, 'bandit, UCB1, 4096 learners', unit, 409_600, seconds['ours'],
      'NumPy', 409_600, seconds['peer'])

  hard = dark_room.tasks(dark_room.DARK_ROOM_HARD)
  doors = dark_room.tasks(dark_room.KEY_TO_DOOR)
  maze = watermaze.tasks(watermaze.Config(height=18, width=24))
  for name, learner, law, learners, steps in (
      ('Hard, tabular Q', tabular_q.learner(tabular_q.Config(), hard), hard,
       1040, 1000),
      ('Key-to-Door, tabular Q', tabular_q.learner(
          tabular_q.Config(count_rewards=2), doors), doors, 1040, 1000),
      ('Dark Room, R-max', rmax.learner(rmax.Config(), tasks), tasks, 260, 800),
      ('Dark Room, posterior sampling', posterior.learner(
          posterior.Config(), tasks), tasks, 260, 800),
      ('Dark Room, annealed noise', noise.learner(noise.Config(), tasks), tasks,
       1040, 1000),
      ('Dark Room, A2C of 32 actors', actor_critic.learner(
          actor_critic.A2C, tasks), tasks, 52, 1000),
      ('Dark Room, DQN of 4 actors', dqn.learner(dqn.DQN, tasks), tasks, 16,
       200),
      ('bandit, Thompson sampling', thompson.learner(
          thompson.Config(), bandit.tasks()), bandit.tasks(), 4096, 100),
      ('Watermaze, patrol', patrol.learner(patrol.Config(), maze), maze, 64,
       200)):
    program, _ = histories_case(
        learner, first_tasks(law.train, learners), steps)
    made = program().done.size
    yield measure.rate(
        stage, f'{name}, {learners} learners', unit, made,
        measure.measure({0: program}, min(runs, 3))[0])


# Training.


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
      mesh())

  def train(state, history):
    sequences = in_context.inputs_of(history), history.action
    return jax.lax.scan(
        lambda state, _: distill.update(
            config, model, state, sequences, mesh()), state, None, updates)

  return measure.compiled(train, state, history)


def some_history() -> types.History:
  """History [65, 2000] of tabular Q in Dark Room."""
  tasks = dark_room.tasks()
  return histories.streams(histories.generate(
      tabular_q.learner(tabular_q.Config(), tasks), tasks.train,
      jax.random.key(0), 1, 2000))


def twin() -> Any:
  """The module of the PyTorch twin, or None where there is no PyTorch."""
  try:
    from experiments import torch_twin
  except ImportError:
    print('no PyTorch here: pip install adjax[torch] for that peer')
    return None
  return torch_twin


def train(runs: int) -> Rows:
  """transitions/s by width, and the share of what matrix products reach."""
  stage, peer = 'train', twin()
  history = some_history()
  inputs = in_context.inputs_of(history)
  products, work = measure.products()
  for width in WIDTHS:
    updates = max(1, 1280 // width)
    case = f'width {width}, {BATCH} x {LENGTH}'
    program, compiling = train_case(width, LENGTH, history, updates)
    cases = {'ours': program, 'products': products}
    if peer:
      model, fast = peer.make(shape(width), LENGTH, os.cpu_count())
      update = peer.trainer(
          model, fast, jax.tree.map(np.asarray, tuple(inputs)),
          np.asarray(history.action), BATCH, LENGTH)
      peer_updates = max(1, updates // 2)
      cases['peer'] = lambda update=update, n=peer_updates: [
          update() for _ in range(n)]
    seconds = measure.measure(cases, runs, budget=10)
    amount = updates * BATCH * LENGTH
    if peer:
      row = measure.rate(
          stage, case, 'transitions/s', amount, seconds['ours'],
          'PyTorch, compiled', peer_updates * BATCH * LENGTH, seconds['peer'])
      yield row
      if width in TWIN:
        yield measure.against(
            Row(stage, case, 'the twin itself', row.peer_value, row.unit),
            'where it was first measured', TWIN[width])
    else:
      row = measure.rate(stage, case, 'transitions/s', amount, seconds['ours'])
      yield row
    yield Row(stage, case, 'compilation', compiling, 's')
    yield share_of_peak(row, width, LENGTH, work / seconds['products'].median)
  program, _ = train_case(256, 128, history, 4)
  seconds = measure.measure(
      {'ours': program, 'products': products}, runs, budget=20)
  row = measure.rate(
      stage, f'width 256, {BATCH} x 128', 'transitions/s', 4 * BATCH * 128,
      seconds['ours'])
  yield row
  yield share_of_peak(row, 256, 128, work / seconds['products'].median)


def share_of_peak(row: Row, width: int, length: int, peak: float) -> Row:
  """Model FLOP/s of a row of transitions/s, against matrix products alone."""
  config = transformer.Config(**shape(width), window=length)
  reached = row.ours * flops(config, length)
  return measure.against(
      Row(row.stage, row.case, 'model FLOP/s', reached / 1e9, 'GFLOP/s'),
      'matrix products alone', peak / 1e9)


# Evaluation.


def reencoding(env: Any, model: Any, params: Any, window: int) -> types.Learner:
  """The learner without its cache: the whole window anew for every action."""
  cached = in_context.in_context(env, model, params)

  def init(task, key):
    place, inputs, _ = cached.init(task, key)
    return place, jax.tree.map(
        lambda x: jnp.repeat(x[None], window, 0), inputs)

  def step(task, state, chance):
    place, inputs = state
    noise, env_key = chance
    logits = model.apply(params, inputs)[-1]
    place, seen = acting.act(
        env, task, place, in_context.choose(logits, 1.0, noise), env_key)
    last = model_lib.Inputs(place.obs, seen.action, seen.reward, seen.done)
    inputs = jax.tree.map(
        lambda x, new: jnp.concatenate([x[1:], new[None]]), inputs, last)
    return (place, inputs), acting.single(seen)

  return types.Learner(init, step, draw=cached.draw)


class Mute:
  """A model that says nothing, to time all that is not the model."""

  def __init__(self, actions: int):
    self.actions = actions

  def apply(self, params, inputs, cache, method):
    del params, inputs, method
    return jnp.zeros(self.actions), cache

  def empty_cache(self):
    return ()


def lives(learner: types.Learner, num: int, steps: int) -> Any:
  """A program of so many lives, and the returns of their episodes."""
  tasks, keys = histories.repeat(
      first_tasks(dark_room.tasks().validation, num), jax.random.key(1), 1)

  def live(tasks, keys):
    history = histories.run(learner, tasks, keys, steps, mesh())
    return metrics.learning_curves(history.reward, history.done, steps // 20)

  return measure.compiled(live, tasks, keys)[0]


def evaluate(runs: int) -> Rows:
  """env-steps/s of in-context learning: cached, re-encoding, in PyTorch."""
  stage, unit = 'evaluate', 'env-steps/s'
  env, peer = dark_room.DarkRoom(), twin()
  bandwidth = measure.copy_bandwidth(runs)
  yield Row(stage, 'addition in place', 'bandwidth', bandwidth / 1e9, 'GB/s')
  for window, num, few, few_steps in (
      (100, 512, 64, 40), (400, 128, 16, 20), (1600, 32, 4, 20)):
    model = make_model(64, window)
    params = model.init(jax.random.key(0), one_input(env))
    ours = in_context.in_context(env, model, params)
    cases = {'ours': lives(ours, num, 200),
             'again': lives(reencoding(env, model, params, window), few,
                            few_steps)}
    if peer:
      _, fast = peer.make(shape(64), window, os.cpu_count())
      goals = np.asarray(
          first_tasks(dark_room.tasks().validation, few).goals[:, 0])
      act, twin_steps = peer.actor(fast, goals, window), max(2, few_steps // 8)
      cases['peer'] = functools.partial(act, twin_steps)
    seconds = measure.measure(cases, runs, budget=10)
    case = f'window {window}, width 64, {num} environments'
    row = measure.rate(stage, case, unit, 200 * num, seconds['ours'],
                       'our own full pass', few * few_steps, seconds['again'])
    yield row
    if peer:
      yield measure.against(
          dataclasses.replace(row, metric='speed, PyTorch'),
          'PyTorch, re-encoding', few * twin_steps / seconds['peer'].median)
    moved = row.ours * 2 * 4 * model.config.layers * 64 * window
    yield measure.against(
        Row(stage, case, 'cache read', moved / 1e9, 'GB/s'),
        'bandwidth', bandwidth / 1e9)
    if window == 100:
      yield measure.against(
          dataclasses.replace(row, metric='speed, published'), 'ad-eps',
          AD_EPS_EVALUATION)
      mute = in_context.in_context(env, Mute(5), None)
      seconds = measure.measure(
          {'ours': cases['ours'], 'mute': lives(mute, num, 200)}, runs)
      yield Row(stage, case, 'all but the model', 100
                * seconds['mute'].median / seconds['ours'].median, '% of it')
      yield decoded_late(ours, runs)


def one_input(env: Any) -> model_lib.Inputs:
  place = acting.begin(env, env.default_params, jax.random.key(0))
  return model_lib.Inputs(
      place.obs[None], jnp.array([-1], jnp.int8), jnp.zeros(1),
      jnp.zeros(1, bool))


def decoded_late(learner: types.Learner, runs: int) -> Row:
  """What a step costs in episode 1000, against soon after the ring is full."""
  num, steps, episodes = 64, 200, 1000
  tasks = first_tasks(dark_room.tasks().validation, num)
  keys = jax.random.split(jax.random.key(0), num)
  # All lives are at the same step, as they are within unroll.
  axes = in_context.State(0, 0, transformer.Cache(0, None, None))

  @jax.jit
  def go_on(state, key):
    def live(task, state, key):
      return jax.lax.scan(
          lambda state, chance: (learner.step(task, state, chance)[0], None),
          state, learner.draw(key, steps))[0]
    return jax.vmap(live, (0, axes, 0), axes)(
        tasks, state, jax.random.split(key, num))

  early = go_on(jax.vmap(learner.init, out_axes=axes)(tasks, keys),
                jax.random.key(0))  # The ring holds 100 steps.
  late = early
  for part in range(episodes * tasks.max_steps_in_episode[0] // steps):
    late = go_on(late, jax.random.key(part))
  seconds = measure.measure(
      {name: functools.partial(go_on, state, jax.random.key(0))
       for name, state in (('early', early), ('late', late))}, 3 * runs)
  each = {name: 1e6 * spent.median / steps for name, spent in seconds.items()}
  return Row('evaluate', f'window 100, {num} environments',
             'step in episode 1000', each['late'], 'us', 'in episode 11',
             each['early'], each['early'] / each['late'])
