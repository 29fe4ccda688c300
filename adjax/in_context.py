"""The distilled learner: a frozen model that learns in its context."""

from typing import Any
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp

from adjax import arrays
from adjax import model as model_lib
from adjax import types
from adjax.learners import acting


def inputs_of(history: types.History) -> model_lib.Inputs:
  """What was known before each step of a whole history [..., T].

  Made before a history is cut, so that a piece begins with its true predecessor
  and null inputs mean the beginning of a life and nothing else.
  """
  arrays.check_steps('history', history, '*S, T')

  def previous(x, null):
    return jnp.concatenate(
        [jnp.full_like(x[..., :1], null), x[..., :-1]], -1)

  return model_lib.Inputs(
      obs=history.obs, action=previous(history.action, -1),
      reward=previous(history.reward, 0), done=previous(history.done, False))


def inputs_of_piece(
    rows: types.History, first: chex.Array
) -> tuple[model_lib.Inputs, chex.Array]:
  """What was known before each step of a piece of a history, and the actions.

  Args:
    rows: History [L + 1]: the step before the piece, and the piece.
    first: whether the piece begins a life [], so that there was none.

  Returns:
    Inputs and actions [L], as cut from those of the whole history.
  """
  arrays.check_steps('rows', rows, 'L+1')
  arrays.check('first [] bool', first)
  piece = jax.tree.map(lambda x: x[1:], rows)

  def previous(x, null):
    return x[:-1].at[0].set(jnp.where(first, null, x[0]).astype(x.dtype))

  inputs = model_lib.Inputs(
      obs=piece.obs, action=previous(rows.action, -1),
      reward=previous(rows.reward, 0), done=previous(rows.done, False))
  return inputs, piece.action


class State(NamedTuple):
  """place; the Inputs of the next step; the model's cache."""
  place: acting.Place
  inputs: model_lib.Inputs
  cache: Any


def in_context(
    env: Any, model: nn.Module, params: Any, temperature: float = 1.0
) -> types.Learner:
  """A learner whose weights never change: what it learns is in its cache.

  Args:
    env: a gymnax environment.
    model: the sequence model.
    params: its weights.
    temperature: of the actions' distribution; 0 takes the likeliest.
  """

  def init(task, key):
    place = acting.begin(env, task, key)
    action = jnp.full(
        (), -1, acting.smallest_int(acting.num_actions(env)))
    inputs = model_lib.Inputs(
        place.obs, action, jnp.float32(0), jnp.bool_(False))
    return State(place, inputs, model.empty_cache())

  def draw(key, calls):
    return jax.random.gumbel(key, (calls, acting.num_actions(env)))

  def step(task, state, chance):
    noise, env_key = chance
    logits, cache = model.apply(
        params, state.inputs, state.cache, method='step')
    action = choose(logits, temperature, noise)
    place, seen = acting.act(env, task, state.place, action, env_key)
    inputs = model_lib.Inputs(
        place.obs, seen.action, seen.reward, seen.done)
    return State(place, inputs, cache), acting.single(seen)

  return types.Learner(init, step, draw=acting.beside_env_keys(draw))


def choose(
    logits: chex.Array, temperature: float, noise: chex.Array
) -> chex.Array:
  """An action from logits [A], drawn by Gumbel noise [A]."""
  arrays.check('logits [A] float, noise [A] float', logits, noise)
  if temperature == 0.0:
    return jnp.argmax(logits, -1)
  return jnp.argmax(logits / temperature + noise, -1)
