"""The benchmark of in-context learning: cached, re-encoding, in PyTorch."""

from collections.abc import Iterator
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import histories
from adjax import in_context
from adjax import metrics
from adjax import model as model_lib
from adjax import transformer
from adjax import types
from adjax.envs import dark_room
from adjax.learners import acting
from experiments import benchmark_train
from experiments import measure

Row = measure.Row

# ad-eps as published, 16 goals, on two idle cores.
AD_EPS = 149.0


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
      measure.first_tasks(dark_room.tasks().validation, num),
      jax.random.key(1), 1)

  def live(tasks, keys):
    history = histories.run(learner, tasks, keys, steps, measure.mesh())
    return metrics.learning_curves(history.reward, history.done, steps // 20)

  return measure.compiled(live, tasks, keys)[0]


def rows(runs: int) -> Iterator[Row]:
  """env-steps/s of in-context learning: cached, re-encoding, in PyTorch."""
  stage, unit = 'evaluate', 'env-steps/s'
  env = dark_room.DarkRoom()
  bandwidth = measure.copy_bandwidth(runs)
  yield Row(stage, 'addition in place', 'bandwidth', bandwidth / 1e9, 'GB/s')
  for window, num, few, few_steps in (
      (100, 512, 64, 40), (400, 128, 16, 20), (1600, 32, 4, 20)):
    model = benchmark_train.make_model(64, window)
    params = model.init(jax.random.key(0), one_input(env))
    ours = in_context.in_context(env, model, params)
    cases = {'ours': lives(ours, num, 200),
             'again': lives(reencoding(env, model, params, window), few,
                            few_steps)}
    peer = measure.torch_twin(benchmark_train.shape(64), window)
    twin_steps = max(2, few_steps // 8)
    if peer:
      module, models, name = peer
      some = measure.first_tasks(
          dark_room.tasks().validation, few)
      cases['peer'] = functools.partial(module.actor(
          *models, np.asarray(some.goals[:, 0]), window), twin_steps)
    seconds = measure.measure(cases, runs, budget=10)
    case = f'window {window}, width 64, {num} environments'
    row = measure.rate(stage, case, unit, 200 * num, seconds['ours'],
                       f'our own full pass, {few} at once', few * few_steps,
                       seconds['again'])
    yield row
    if peer:
      yield measure.against(
          dataclasses.replace(row, metric='speed, PyTorch'),
          f'{name}, {few} at once',
          few * twin_steps / seconds['peer'].median)
    moved = row.ours * 2 * 4 * model.config.layers * 64 * window
    yield measure.against(
        Row(stage, case, 'cache read', moved / 1e9, 'GB/s'),
        'bandwidth', bandwidth / 1e9)
    if window == 100 and jax.default_backend() == 'cpu':
      yield measure.against(
          dataclasses.replace(row, metric='speed, published'), 'ad-eps',
          AD_EPS)
    if window == 100:
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
  tasks = measure.first_tasks(dark_room.tasks().validation, num)
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
