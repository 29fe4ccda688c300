"""The benchmark of in-context learning: cached, re-encoding, in PyTorch."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adjax import histories
from adjax import metrics
from adjax import types
from adjax.envs import dark_room
from adjax.learners import stepping
from adjax.models import in_context
from adjax.models import sequence_model
from adjax.models import transformer
from experiments.benchmarks import measure
from experiments.benchmarks import train

Row = measure.Row

# ad-eps as published, 16 goals, on two idle cores.
AD_EPS = 149.0


def reencoding(env: Any, model: Any, params: Any, window: int) -> types.Learner:
  """The learner without its cache: the whole window anew for every action."""
  cached = in_context.in_context(env, model, params)

  def init(task, key):
    actor, inputs, _ = cached.init(task, key)
    return actor, jax.tree.map(
        lambda x: jnp.repeat(x[None], window, 0), inputs)

  def step(task, state, noise):
    actor, inputs = state
    gumbel, env_key = noise
    logits = model.apply(params, inputs)[-1]
    actor, transition = stepping.step(
        env, task, actor, in_context.choose(logits, 1.0, gumbel), env_key)
    last = sequence_model.Inputs(
        actor.obs, transition.action, transition.reward, transition.done)
    inputs = jax.tree.map(
        lambda x, new: jnp.concatenate([x[1:], new[None]]), inputs, last)
    return (actor, inputs), stepping.single(transition)

  return types.Learner(init, step, sample_noise=cached.sample_noise)


class NullModel:
  """A model that computes nothing, to time all that is not the model."""

  def __init__(self, actions: int):
    self._actions = actions

  def apply(self, params, inputs, cache, method):
    del params, inputs, method
    return jnp.zeros(self._actions), cache

  def empty_cache(self):
    return ()


def rollouts(
    learner: types.Learner, num: int, steps: int
) -> Callable[[], Any]:
  """A program of so many rollouts, and the returns of their episodes."""
  tasks, keys = histories.repeat(
      measure.first_tasks(dark_room.tasks().validation, num),
      jax.random.key(1), 1)

  def run(tasks, keys):
    history, _ = histories.run(learner, tasks, keys, steps)
    return metrics.learning_curves(history.reward, history.done, steps // 20)

  return measure.compiled(run, tasks, keys)[0]


def rows(runs: int) -> Iterator[Row]:
  """env-steps/s of in-context learning: cached, re-encoding, in PyTorch."""
  stage, unit = 'evaluate', 'env-steps/s'
  env = dark_room.DarkRoom()
  bandwidth = measure.copy_bandwidth(runs)
  yield Row(stage, 'addition in place', 'bandwidth', bandwidth / 1e9, 'GB/s')
  for window, num, few, few_steps in (
      (100, 512, 64, 40), (400, 128, 16, 20), (1600, 32, 4, 20)):
    model = train.make_model(64, window)
    params = model.init(jax.random.key(0), one_input(env))
    ours = in_context.in_context(env, model, params)
    cases = {'ours': rollouts(ours, num, 200),
             'again': rollouts(reencoding(env, model, params, window), few,
                               few_steps)}
    peer = measure.torch_baseline(train.shape(64), window)
    peer_steps = max(2, few_steps // 8)
    if peer:
      module, models, name = peer
      some = measure.first_tasks(
          dark_room.tasks().validation, few)
      cases['peer'] = functools.partial(module.actor(
          *models, np.asarray(some.goals[:, 0]), window), peer_steps)
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
          few * peer_steps / seconds['peer'].median)
    moved = row.ours * 2 * 4 * model.config.layers * 64 * window
    yield measure.against(
        Row(stage, case, 'cache read', moved / 1e9, 'GB/s'),
        'bandwidth', bandwidth / 1e9)
    if window == 100 and jax.default_backend() == 'cpu':
      yield measure.against(
          dataclasses.replace(row, metric='speed, published'), 'ad-eps',
          AD_EPS)
    if window == 100:
      null = in_context.in_context(env, NullModel(5), None)
      seconds = measure.measure(
          {'ours': cases['ours'], 'null': rollouts(null, num, 200)}, runs)
      yield Row(stage, case, 'all but the model', 100
                * seconds['null'].median / seconds['ours'].median, '% of it')
      yield decoded_late(ours, runs)


def one_input(env: Any) -> sequence_model.Inputs:
  """Inputs [1] at the beginning of a history."""
  actor = stepping.reset(env, env.default_params, jax.random.key(0))
  return sequence_model.Inputs(
      actor.obs[None], jnp.array([-1], jnp.int8), jnp.zeros(1),
      jnp.zeros(1, bool))


def decoded_late(learner: types.Learner, runs: int) -> Row:
  """What a step costs in episode 1000, against soon after the ring is full."""
  num, steps, episodes = 64, 200, 1000
  tasks = measure.first_tasks(dark_room.tasks().validation, num)
  keys = jax.random.split(jax.random.key(0), num)
  # All rollouts are at the same step, as they are within unroll.
  axes = in_context.State(0, 0, transformer.Cache(0, None, None))

  @jax.jit
  def go_on(state, key):
    def one(task, state, key):
      return jax.lax.scan(
          lambda state, noise: (learner.step(task, state, noise)[0], None),
          state, learner.sample_noise(key, steps))[0]
    return jax.vmap(one, (0, axes, 0), axes)(
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
