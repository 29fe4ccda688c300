"""Algorithm Distillation in one file: a transformer that learns while it acts.

A task is a dark room: a grid with a goal that cannot be seen, only stepped on.
Someone who learns a room searches it, and from then on goes straight there.
1. Let a learner (the source) learn many rooms, each from scratch, and keep its
   histories: what it saw, did and was paid, over many episodes.
2. Train a causal transformer to predict its next action from all that came
   before. What explains the actions is how the source learns, so that is what
   the transformer has to learn (Laskin et al. 2022).
3. Put it into rooms with other goals, its weights frozen. It is paid more from
   episode to episode: it learns in its context, without a gradient.

A few minutes on two CPU cores: python examples/one_file.py
Axes: N goals, S histories, T steps, L tokens, W window, H heads, D width.
"""

import argparse
import collections
import dataclasses
import functools
import time

from flax import linen as nn
from flax.training import train_state
import jax
import jax.numpy as jnp
import numpy as np
import optax


@dataclasses.dataclass(frozen=True)
class Config:
  """All constants; a test makes them small."""
  size: int = 9  # Cells along a side of the room.
  episode_length: int = 20
  split: tuple[int, int] = (65, 73)  # First validation, first held-out goal.
  histories: int = 256  # Of the source, for each training goal.
  history_episodes: int = 15
  layers: int = 3
  heads: int = 2  # Few and wide ones are fast.
  width: int = 64
  window: int = 200  # How many steps a step attends to, itself among them.
  updates: int = 1200
  epochs: int = 4  # After each, a look at the validation goals.
  batch: int = 16  # Histories in an update.
  learning_rate: float = 2e-3
  weight_decay: float = 0.5  # Strong: it closes the gap to held-out goals.
  runs: int = 20  # Lives in an evaluation, for each goal.
  episodes: int = 50  # Of such a life; the last 10 are scored.

  def cells(self) -> np.ndarray:
    """The cells [size * size, 2] of the room; each is a possible goal."""
    return np.indices((self.size,) * 2).reshape(2, -1).T.astype(np.int8)


# Left, right, up, down, stay, as (x, y).
MOVES = np.array([(-1, 0), (1, 0), (0, 1), (0, -1), (0, 0)], np.int8)


def move(config: Config, cell, action) -> jax.Array:
  """The cell [2] that an action [] leads to; walls hold."""
  return jnp.clip(cell + jnp.asarray(MOVES)[action], 0, config.size - 1)


# What is known before acting: cell [2]; previous action, reward and done [].
Token = collections.namedtuple('Token', 'cell action reward done')


def env_step(config: Config, goal, cell, action, t) -> Token:
  """What is known after step t [] of a life; episodes begin in the centre."""
  reached = move(config, cell, action)
  done = (t + 1) % config.episode_length == 0
  cell = jnp.where(done, jnp.int8(config.size // 2), reached)
  return Token(cell, action, (reached == goal).all(), done)


def live(config: Config, learner, goals, key, episodes):
  """Tokens, actions and rewards [S, T] of fresh learners in rooms of goals [S].

  A learner is two functions, start(key) -> memory and act(memory, token) ->
  (memory, logits [5]): so is the source, and so is the trained transformer.
  """
  start, act = learner

  def one_life(goal, key):
    def one_step(carry, now):
      (memory, token), (t, key) = carry, now
      memory, logits = act(memory, token)
      action = jax.random.categorical(key, logits).astype(jnp.int8)
      after = env_step(config, goal, token.cell, action, t)
      return (memory, after), (token, action, after.reward)

    token = Token(jnp.full(2, config.size // 2, jnp.int8), jnp.int8(-1),
                  jnp.bool_(False), jnp.bool_(False))
    steps = jnp.arange(episodes * config.episode_length)
    keys = jax.random.split(key, len(steps) + 1)
    return jax.lax.scan(
        one_step, (start(keys[0]), token), (steps, keys[1:]))[1]

  return jax.vmap(one_life)(goals, jax.random.split(key, len(goals)))


def source(config: Config):
  """Posterior sampling: go to some cell that may be the goal until refuted.

  Memory: the possible cells, a random order of preference, the previous cell.
  """
  cells = jnp.asarray(config.cells())

  def start(key):
    order = jax.random.uniform(key, (len(cells),))
    return order >= 0, order, cells[0]

  def act(memory, token):
    possible, order, cell = memory
    here = (cells == move(config, cell, token.action)).all(-1)
    here &= token.action >= 0  # Nowhere yet, where a life begins.
    possible = jnp.where(token.reward, here, possible & ~here)
    target = cells[jnp.argmax(jnp.where(possible, order, -1.0))]
    nearer = jnp.asarray(MOVES) @ jnp.sign(target - token.cell)
    logits = 99 * jnp.maximum(nearer, jnp.array([0, 0, 0, 0, 0.5]))  # Or stay.
    return (possible, order, token.cell), logits

  return start, act


def rotate(x, t) -> jax.Array:
  """Rotary positions t [L] (Su et al. 2021) on queries or keys [H, L, D/H]."""
  half = x.shape[-1] // 2
  angle = t[:, None] * 1e4 ** (-np.arange(half) / half)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  a, b = jnp.split(x, 2, -1)
  return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


class Transformer(nn.Module):
  """Logits of the action at every token: in a full pass, or one more step."""
  config: Config

  @nn.compact
  def __call__(self, tokens: Token, cache=None):
    """Tokens [L] to logits [L, 5]; with a cache, those of the next token [1].

    A cache is the time [] and, for each layer, a ring of the last W keys and
    values [H, W, D/H]: step t is in slot t % W, its key rotated by t.
    """
    config, length, rings = self.config, len(tokens.action), []
    if cache is None:
      t = np.arange(length)
      ago = t[:, None] - t
      visible = (ago >= 0) & (ago < config.window)
    else:
      t, slot = cache[0][None], cache[0] % config.window
      visible = jnp.arange(config.window) <= t
    x = jnp.concatenate([
        jax.nn.one_hot(tokens.cell, config.size).reshape(length, -1),
        jax.nn.one_hot(tokens.action + 1, len(MOVES) + 1),
        tokens.reward[:, None], tokens.done[:, None]], -1)
    x = nn.Dense(config.width, kernel_init=nn.initializers.normal(0.5))(x)
    for layer in range(config.layers):
      y = nn.Dense(3 * config.width, use_bias=False)(nn.LayerNorm()(x))
      q, k, v = y.reshape(length, 3, config.heads, -1).transpose(1, 2, 0, 3)
      q, k = rotate(q, t), rotate(k, t)
      if cache is not None:
        k, v = (jax.lax.dynamic_update_slice(ring, new, (0, slot, 0))
                for ring, new in zip(cache[1][layer], (k, v)))
        rings.append((k, v))
      scores = jnp.einsum('hqd,hkd->hqk', q, k) / np.sqrt(q.shape[-1])
      weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf))
      y = jnp.einsum('hqk,hkd->qhd', weights, v).reshape(length, -1)
      x += nn.Dense(config.width, use_bias=False)(y)
      y = nn.gelu(nn.Dense(4 * config.width)(nn.LayerNorm()(x)))
      x += nn.Dense(config.width)(y)
    head = nn.Dense(len(MOVES), kernel_init=nn.initializers.zeros)
    return head(nn.LayerNorm()(x)), (t[-1] + 1, tuple(rings))


def distilled(config: Config, params):
  """The model as a learner: its weights are frozen, its memory is the cache."""
  ring = jnp.zeros((config.heads, config.window, config.width // config.heads))
  empty = jnp.int32(0), ((ring, ring),) * config.layers

  def act(cache, token):
    token = jax.tree.map(lambda x: x[None], token)
    logits, cache = Transformer(config).apply(params, token, cache)
    return cache, logits[0]

  return lambda key: empty, act


@functools.partial(jax.jit, static_argnames='config')
def evaluate(config: Config, params, goals, key) -> jax.Array:
  """The share of the optimum that the model gets in each episode [episodes]."""
  _, _, rewards = live(config, distilled(config, params),
                       jnp.repeat(goals, config.runs, 0), key, config.episodes)
  returns = rewards.reshape(-1, config.episodes, config.episode_length).sum(-1)
  steps = jnp.abs(goals - config.size // 2).sum(-1)  # The last one is paid.
  optimum = config.episode_length - jnp.maximum(steps - 1, 0)
  return returns.mean(0) / optimum.mean()


@functools.partial(jax.jit, static_argnames='config')
def train(config: Config, state, tokens, actions, key):
  """An epoch on histories [S, T]: the next state and the losses [updates]."""
  def loss(params, tokens, taken):
    logits, _ = jax.vmap(state.apply_fn, (None, 0))(params, tokens)
    return optax.softmax_cross_entropy_with_integer_labels(logits, taken).mean()

  def update(state, rows):
    batch = jax.tree.map(lambda x: x[rows], (tokens, actions))
    value, gradient = jax.value_and_grad(loss)(state.params, *batch)
    return state.apply_gradients(grads=gradient), value

  return jax.lax.scan(update, state, jax.random.randint(
      key, (config.updates // config.epochs, config.batch), 0, len(actions)))


def main(config: Config = Config(), seed: int = 0) -> float:
  """Prints and returns the share of the optimum on held-out goals."""
  began = time.time()
  cells = np.random.default_rng(0).permutation(config.cells())
  goals, validation, held_out = np.split(cells, config.split)
  data_key, init_key, eval_key, *keys = jax.random.split(
      jax.random.key(seed), 3 + config.epochs)
  tokens, actions, _ = jax.jit(lambda key: live(
      config, source(config), jnp.repeat(goals, config.histories, 0), key,
      config.history_episodes))(data_key)
  rate = optax.warmup_cosine_decay_schedule(
      0.0, config.learning_rate, config.updates // 15, config.updates)
  state = train_state.TrainState.create(
      apply_fn=Transformer(config).apply,
      params=Transformer(config).init(
          init_key, jax.tree.map(lambda x: x[0], tokens)),
      tx=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(
          rate, b2=0.98, weight_decay=config.weight_decay,
          mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params))))
  for epoch, key in enumerate(keys):
    state, losses = train(config, state, tokens, actions, key)
    share = evaluate(config, state.params, validation, eval_key)
    print(f'epoch {epoch + 1}: loss {losses[-1]:.3f}, share of the optimum '
          f'{share[0]:.3f} to {share[-1]:.3f}, {time.time() - began:.0f} s')
  share = float(evaluate(config, state.params, held_out, eval_key)[-10:].mean())
  print(f'held-out goals, last 10 episodes: {share:.3f}')
  return share


if __name__ == '__main__':
  parser = argparse.ArgumentParser()
  parser.add_argument('--seed', type=int, default=0)
  main(seed=parser.parse_args().seed)
