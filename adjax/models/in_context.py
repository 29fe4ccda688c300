"""The distilled learner: a frozen model that learns in its context."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import histories
from adjax import types
from adjax.learners import stepping
from adjax.models import sequence_model


def inputs_of(history: types.History) -> sequence_model.Inputs:
  """What was known before each step of a whole history [..., T]."""
  arrays.check_steps('history', history, '*S, T')

  def before(x: chex.Array, null: float) -> chex.Array:
    return jnp.concatenate(
        [jnp.full_like(x[..., :1], null), x[..., :-1]], -1)

  return sequence_model.Inputs(
      history.obs, before(history.action, -1), before(history.reward, 0),
      before(history.done, False))


def inputs_and_actions(
    batch: histories.Batch
) -> tuple[sequence_model.Inputs, chex.Array]:
  """What was known before each step of subsequences [B, L], and the actions.

  As cut from those of the whole history: a subsequence starts with its true
  predecessor, and null inputs mean the beginning of a history and nothing else.
  """
  rows = batch.rows
  arrays.check_steps('batch.rows', rows, 'B, L+1')
  arrays.check('batch.is_first [B] bool', batch.is_first)

  def before(x: chex.Array, null: float) -> chex.Array:
    first = jnp.where(batch.is_first, null, x[:, 0]).astype(x.dtype)
    return x[:, :-1].at[:, 0].set(first)

  return sequence_model.Inputs(
      rows.obs[:, 1:], before(rows.action, -1), before(rows.reward, 0),
      before(rows.done, False)), rows.action[:, 1:]


class State(NamedTuple):
  """What the learner carries from step to step.

  Attributes:
    actor: its environment's state and observation.
    inputs: Inputs of the next step.
    cache: the model's, after all steps before.
  """
  actor: stepping.ActorState
  inputs: sequence_model.Inputs
  cache: types.PyTree


def in_context(
    env: types.Env, model: sequence_model.SequenceModel, params: types.PyTree,
    temperature: float = 1.0,
) -> types.Learner:
  """A learner whose weights never change: what it learns is in its cache.

  Args:
    env: a gymnax environment.
    model: the sequence model.
    params: its weights.
    temperature: of the actions' distribution; 0 takes the likeliest.
  """

  def init(task: types.Task, key: chex.PRNGKey) -> State:
    actor = stepping.reset(env, task, key)
    return State(actor, sequence_model.first_inputs(env, actor.obs),
                 model.empty_cache())

  def sample_noise(key: chex.PRNGKey, calls: int) -> chex.Array:
    return jax.random.gumbel(key, (calls, stepping.num_actions(env)))

  def step(
      task: types.Task, state: State, noise: types.PyTree
  ) -> tuple[State, types.Transition]:
    gumbel, env_key = noise
    logits, cache = model.apply(
        params, state.inputs, state.cache, method='step')
    action = choose(logits, temperature, gumbel)
    return advance(env, task, state._replace(cache=cache), action, env_key)

  return types.Learner(
      init, step, sample_noise=stepping.with_env_keys(sample_noise))


def advance(
    env: types.Env, task: types.Task, state: State, action: chex.Array,
    key: chex.PRNGKey,
) -> tuple[State, types.Transition]:
  """What a learner's step returns once its action [] is chosen.

  Args:
    env: a gymnax environment.
    task: a task.
    state: whose cache knows this step already.
    action: [], the model's, or another's in its place.
    key: of the environment.
  """
  arrays.check('action [] integer, key [] key', action, key)
  actor, transition = stepping.step(env, task, state.actor, action, key)
  inputs = sequence_model.Inputs(
      actor.obs, transition.action, transition.reward, transition.done)
  return State(actor, inputs, state.cache), stepping.single(transition)


def choose(
    logits: chex.Array, temperature: float, gumbel: chex.Array
) -> chex.Array:
  """An action [] sampled from logits.

  Args:
    logits: [A].
    temperature: of the distribution; 0 takes the likeliest action.
    gumbel: [A], Gumbel noise.
  """
  arrays.check('logits [A] float, gumbel [A] float', logits, gumbel)
  if temperature == 0.0:
    return jnp.argmax(logits, -1)
  return jnp.argmax(logits / temperature + gumbel, -1)
