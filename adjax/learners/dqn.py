"""DQN (Mnih et al. 2015) with Q(lambda) targets: learns images, knows nothing.

Several actors explore one task with one network; what each of them sees and
does is a history. The last steps of all of them are kept in a ring in device
memory, and sequences of it are learned from again and again.
"""

import dataclasses
import functools
from typing import Any
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.learners import acting
from adjax.learners import networks


@dataclasses.dataclass(frozen=True)
class Config:
  """DQN with Q(lambda) targets.

  Attributes:
    actors: K, copies of the environment; each of them makes one history.
    rollout: n, steps of every actor between two times of learning.
    discount: gamma.
    trace: lambda. 0 for targets of one step, 1 for as long as a sequence is.
    cut_traces: whether a trace ends before an action that is not greedy now, as
      Watkins' do, or goes on through it, as Peng's do. Cut traces are right
      whatever the actors did, and short where they explored; the others learn
      what exploring costs, too, and carry a rare reward far at once. The paper
      says no more than "Q(lambda) variant". Off, after Kozuno et al. (2021),
      who find Peng's the faster.
    epsilon: the share of random actions at first,
    final_epsilon: and after epsilon_episodes,
    epsilon_episodes: having fallen linearly.
    learning_rate: of Adam,
    b1: its decay of the mean gradient,
    b2: and of the squared one,
    adam_epsilon: and what keeps it from dividing by nothing.
    clip_norm: the largest norm of a gradient, over all weights.
    replay: steps of every actor that are kept, the last ones.
    batch_size: B, sequences in a gradient step.
    length: L, steps in a sequence.
    replay_share: of a batch, drawn from all that is kept; the other sequences
      are the newest of their actor. (The paper's "offline fraction".)
    updates: gradient steps at each time of learning.
    target_period: gradient steps from one copy of the weights into the target
      network to the next.
    hidden: widths of the perceptron's layers.
    channels: of the convolutions before it, if the agent sees images.
    count_rewards: as in tabular_q.Config, an input that no history holds.
  """
  actors: int = 4
  rollout: int = 5
  discount: float = 0.9
  trace: float = 0.75
  cut_traces: bool = False
  epsilon: float = 1.0
  final_epsilon: float = 0.02
  epsilon_episodes: int = 10
  learning_rate: float = 2e-3
  b1: float = 0.9
  b2: float = 0.999
  adam_epsilon: float = 1e-6
  clip_norm: float = 10.0
  replay: int = 2000
  batch_size: int = 16
  length: int = 10
  replay_share: float = 0.75
  updates: int = 2
  target_period: int = 20
  hidden: tuple[int, ...] = (64,)
  channels: tuple[int, ...] = (16, 32)
  count_rewards: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'source')
    for name in ('discount', 'trace', 'epsilon', 'final_epsilon',
                 'replay_share'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value <= 1.0, 'from 0 to 1')
    for name in ('b1', 'b2'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value < 1.0, 'from 0 to below 1')
    for name in ('learning_rate', 'adam_epsilon', 'clip_norm'):
      check(name, getattr(self, name), getattr(self, name) > 0, 'above 0')
    for name in ('actors', 'rollout', 'epsilon_episodes', 'batch_size',
                 'length', 'updates', 'target_period'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    for name in ('hidden', 'channels'):
      config_lib.check_widths('source', name, getattr(self, name))
    check('replay', self.replay,
          self.replay % self.rollout == 0 and self.replay >= self.length,
          f'a multiple of source.rollout={self.rollout}, and at least '
          f'source.length={self.length}')
    check('count_rewards', self.count_rewards, self.count_rewards >= 0,
          'at least 0')


# Quick: learns a grid or a small image in some 50 episodes of every actor.
DQN = Config()

# The paper's source in Watermaze, where it says. Its replay of 1e5 is taken for
# steps of all actors, to the next multiple. It learns from a new sequence of 40
# every 9 steps (an overlap of 31); how often, it does not say: here so often
# that the newest sequence of each of the 16 actors is in a batch once on
# average, at 2 of them in a batch of 8. Convolutions of stride 2 are in the
# place of its residual ones and pools, the perceptron's width is ours, and
# epsilon is not annealed.
DQN_PAPER = Config(
    actors=16, rollout=9, discount=0.9, trace=0.75, epsilon=0.01,
    final_epsilon=0.01, epsilon_episodes=1, learning_rate=1e-4, b1=0.9,
    b2=0.999, adam_epsilon=1e-6, clip_norm=10.0, replay=695 * 9, batch_size=8,
    length=40, replay_share=0.7, updates=8, target_period=50, hidden=(256,),
    channels=(32, 64, 64))


class Step(NamedTuple):
  """What is kept of a step.

  Attributes:
    seen: the Transition.
    rewards: [], how many of this episode came before it, up to count_rewards.
  """
  seen: types.Transition
  rewards: chex.Array


class Actors(NamedTuple):
  """Where the actors are.

  Attributes:
    places: acting.Place [K].
    rewards: [K], of the present episodes, up to count_rewards.
    time: [], steps taken by each of them.
  """
  places: acting.Place
  rewards: chex.Array
  time: chex.Array


class Weights(NamedTuple):
  """What is learned.

  Attributes:
    params: of the network.
    target: the weights that targets are made with.
    opt_state: of the optimiser.
    updates: [], gradient steps taken.
  """
  params: Any
  target: Any
  opt_state: Any
  updates: chex.Array


class State(NamedTuple):
  """actors; replay, a ring of Step [R, K], step t in row t % R; weights."""
  actors: Actors
  replay: Step
  weights: Weights


class Network(nn.Module):
  """Values [..., A] of observations [..., *O] and rewards so far [...].

  All are 0 until a first reward, so that actions are random ones until then.
  """
  config: Config
  env: Any

  @nn.compact
  def __call__(self, obs: chex.Array, rewards: chex.Array) -> chex.Array:
    x = networks.Observe(self.env, self.config.channels)(obs)
    x = networks.with_rewards(x, rewards, self.config.count_rewards)
    for width in self.config.hidden:
      x = nn.relu(nn.Dense(width)(x))
    return nn.Dense(
        acting.num_actions(self.env), kernel_init=nn.initializers.zeros)(x)


def write(replay: Any, steps: Any, time: chex.Array) -> Any:
  """The ring [R, K, ...] with steps [n, K, ...] from time on, R = m * n."""
  arrays.check('steps [n, K, ...] any, time [] integer', steps, time)
  num = jax.tree.leaves(steps)[0].shape[0]
  arrays.check_like('steps', steps, jax.eval_shape(
      lambda: jax.tree.map(lambda ring: ring[:num], replay)))
  return jax.tree.map(
      lambda ring, new: jax.lax.dynamic_update_slice_in_dim(
          ring, new, time % ring.shape[0], 0), replay, steps)


def sample(
    key: chex.PRNGKey, replay: Any, time: chex.Array, batch_size: int,
    length: int, newest: int = 0,
) -> Any:
  """Pieces of consecutive steps, each of one actor, uniform over the ring.

  Args:
    key: one key.
    replay: a tree of rings [R, K, ...].
    time: [], how many steps were ever written to it, at least L.
    batch_size: B.
    length: L.
    newest: how many of the pieces are the last L steps instead.

  Returns:
    The tree, [B, L, ...].
  """
  arrays.check('key [] key, replay [R, K, ...] any, time [] integer',
               key, replay, time)
  rows, actors = jax.tree.leaves(replay)[0].shape[:2]
  actor_key, start_key = jax.random.split(key)
  actor = jax.random.randint(actor_key, (batch_size,), 0, actors)
  # Times, not rows: no piece reaches over the place that is written next.
  start = jax.random.randint(
      start_key, (batch_size,), jnp.maximum(time - rows, 0), time - length + 1)
  start = jnp.where(jnp.arange(batch_size) < newest, time - length, start)
  row = (start[:, None] + jnp.arange(length)) % rows
  return jax.tree.map(lambda ring: ring[row, actor[:, None]], replay)


def q_lambda(
    r_t: chex.Array, discount_t: chex.Array, trace_t: chex.Array,
    q_t: chex.Array,
) -> chex.Array:
  """Q(lambda) targets of one sequence, as of the values of its actions.

  Args:
    r_t: [T], the reward of each action.
    discount_t: [T], of what comes after it; 0 where the episode ended itself.
    trace_t: [T], lambda, how much of what comes after is what was seen, not
      what is thought of it; 0 where the next step is of another episode. The
      last one is never read.
    q_t: [T, A], values of the observation that each action led to.

  Returns:
    [T], r + discount * ((1 - trace) * max q + trace * the next target).
  """
  arrays.check('r_t [T] float, discount_t [T] float, trace_t [T] float, '
               'q_t [T, A] float', r_t, discount_t, trace_t, q_t)
  v_t = q_t.max(-1)

  def back(after, step):
    r, discount, trace, v = step
    target = r + discount * (v + trace * (after - v))
    return target, target

  return jax.lax.scan(
      back, v_t[-1], (r_t, discount_t, trace_t, v_t), reverse=True)[1]


def traces(
    trace: float, cut: bool, seen: types.Transition, q_t: chex.Array
) -> chex.Array:
  """The traces [T] of q_lambda, for Transition [T] and its values [T, A]."""
  arrays.check('seen.action [T] integer, seen.done [T] bool, q_t [T, A] float',
               seen.action, seen.done, q_t)
  trace_t = trace * ~seen.done
  if cut:
    after = jnp.roll(seen.action, -1)[:, None]
    chosen = jnp.take_along_axis(q_t, after, -1)[:, 0]
    trace_t = trace_t * (chosen >= q_t.max(-1))
  return trace_t


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """DQN on one task; its stride is the rollout."""
  env = tasks.env
  network = Network(config, env)
  optimizer = optax.chain(
      optax.clip_by_global_norm(config.clip_norm),
      optax.adam(config.learning_rate, config.b1, config.b2,
                 config.adam_epsilon))
  annealing = config.epsilon_episodes * tasks.episode_length
  newest = config.batch_size - round(config.batch_size * config.replay_share)
  count_dtype = acting.smallest_int(config.count_rewards + 1)

  def count(rewards, reward):
    more = rewards + (reward > 0).astype(count_dtype)
    return jnp.minimum(more, config.count_rewards).astype(count_dtype)

  def init(task, key):
    place_key, params_key = jax.random.split(key)
    places = acting.begin_all(env, task, place_key, config.actors)
    actors = Actors(
        places, jnp.zeros(config.actors, count_dtype), jnp.int32(0))
    params = network.init(params_key, places.obs, actors.rewards)
    # Nothing is run here: this is what a step will look like.
    _, steps = jax.eval_shape(
        functools.partial(explore, task, params), actors, params_key)
    replay = jax.tree.map(
        lambda x: jnp.zeros((config.replay, *x.shape), x.dtype), steps)
    return State(actors, replay, Weights(
        params, params, optimizer.init(params), jnp.int32(0)))

  def explore(task, params, actors, key):
    """One step of every actor, as Step [K]."""
    action_key, env_key = jax.random.split(key)
    epsilon = acting.anneal(
        config.epsilon, config.final_epsilon, annealing, actors.time)
    values = network.apply(params, actors.places.obs, actors.rewards)
    action = jax.vmap(acting.epsilon_greedy, (0, None, 0))(
        values, epsilon, jax.random.uniform(action_key, (config.actors,)))
    places, seen = acting.act_all(
        env, task, actors.places, action, env_key)
    rewards = jnp.where(
        seen.done, count_dtype(0), count(actors.rewards, seen.reward))
    return Actors(places, rewards, actors.time + 1), Step(seen, actors.rewards)

  def loss(params, target, batch):
    seen, rewards = batch
    q_tm1 = network.apply(params, seen.obs, rewards)
    q_t = network.apply(target, seen.next_obs, count(rewards, seen.reward))
    trace_t = jax.vmap(functools.partial(
        traces, config.trace, config.cut_traces))(seen, q_t)
    # A time limit is no end: what would have come after it still counts.
    targets = jax.vmap(q_lambda)(
        seen.reward, config.discount * ~seen.terminated, trace_t, q_t)
    chosen = jnp.take_along_axis(q_tm1, seen.action[..., None], -1)[..., 0]
    return optax.l2_loss(chosen, targets).mean()

  def update(replay, time, weights, key):
    """One gradient step."""
    batch = sample(
        key, replay, time, config.batch_size, config.length, newest)
    params, target, opt_state, updates = weights
    gradient = jax.grad(loss)(params, target, batch)
    change, opt_state = optimizer.update(gradient, opt_state)
    params, updates = optax.apply_updates(params, change), updates + 1
    target = optax.periodic_update(
        params, target, updates, config.target_period)
    return Weights(params, target, opt_state, updates), None

  def step(task, state, key):
    explore_key, learn_key = jax.random.split(key)
    actors, steps = jax.lax.scan(
        functools.partial(explore, task, state.weights.params), state.actors,
        jax.random.split(explore_key, config.rollout))
    replay = write(state.replay, steps, state.actors.time)
    learn = lambda weights: jax.lax.scan(
        functools.partial(update, replay, actors.time), weights,
        jax.random.split(learn_key, config.updates))[0]
    weights = jax.lax.cond(
        actors.time >= config.length, learn, lambda x: x, state.weights)
    return State(actors, replay, weights), steps.seen

  return types.Learner(init, step, config.rollout)
