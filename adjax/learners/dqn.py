"""DQN (Mnih et al. 2015) with Q(lambda) targets: learns images, knows nothing.

Several actors explore one task with one network; what each of them does and
observes is a history. The last steps of all of them are kept in a ring in
device memory, and sequences of it are learned from again and again.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from adjax import config as config_lib
from adjax import types
from adjax.learners import exploration
from adjax.learners import networks
from adjax.learners import q_lambda
from adjax.learners import replay
from adjax.learners import stepping


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """DQN with Q(lambda) targets.

  Attributes:
    actors: K, copies of the environment; each of them makes one history.
    rollout: n, steps of every actor between two times of learning.
    discount: gamma.
    lambda_: lambda. 0 for targets of one step, 1 for as long as a sequence is.
    cut_traces: whether a trace ends before an action that is not greedy now, as
      Watkins' do, or goes on through it, as Peng's do. Cut traces are right
      whatever the actors did, and short where they explored; the others learn
      what exploring costs, too, and carry a rare reward far at once. The paper
      says no more than "Q(lambda) variant". Off, after Kozuno et al. (2021),
      who find Peng's the faster.
    epsilon: the share of random actions at first.
    final_epsilon: the share of random actions from epsilon_episodes on.
    epsilon_episodes: the episodes over which that share moves linearly.
    learning_rate: Adam's.
    b1: Adam's decay of the mean gradient.
    b2: Adam's decay of the mean squared gradient.
    adam_epsilon: what keeps Adam from dividing by nothing.
    max_grad_norm: the greatest norm of a gradient, over all weights.
    replay: R, steps of every actor that are kept, the last ones; a multiple of
      rollout.
    batch_size: B, sequences in a gradient step.
    length: L, steps in a sequence.
    replay_share: the share of a batch that is sampled from all that is kept;
      the other sequences are the newest of their actor. (The paper's "offline
      fraction".)
    updates: gradient steps at each time of learning.
    target_period: gradient steps from one copy of the weights into the target
      network to the next.
    hidden: widths of the perceptron's layers.
    channels: of the convolutions before it, if the agent sees images.
    count_rewards: as in tabular_q.Config, an input that no history holds.
  """
  actors: config_lib.Count = 4
  rollout: config_lib.Count = 5
  discount: config_lib.Fraction = 0.9
  lambda_: config_lib.Fraction = 0.75
  cut_traces: bool = False
  epsilon: config_lib.Fraction = 1.0
  final_epsilon: config_lib.Fraction = 0.02
  epsilon_episodes: config_lib.Count = 10
  learning_rate: config_lib.Positive = 2e-3
  b1: config_lib.Rate = 0.9
  b2: config_lib.Rate = 0.999
  adam_epsilon: config_lib.Positive = 1e-6
  max_grad_norm: config_lib.Positive = 10.0
  replay: int = 2000
  batch_size: config_lib.Count = 16
  length: config_lib.Count = 10
  replay_share: config_lib.Fraction = 0.75
  updates: config_lib.Count = 2
  target_period: config_lib.Count = 20
  hidden: config_lib.Widths = (64,)
  channels: config_lib.Widths = (16, 32)
  count_rewards: config_lib.Index = 0

  def check(self) -> None:
    config_lib.check(
        'replay', self.replay,
        self.replay % self.rollout == 0 and self.replay >= self.length,
        f'a multiple of rollout={self.rollout}, and at least '
        f'length={self.length}')

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """DQN on some tasks."""
    return learner(self, tasks)


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
    actors=16, rollout=9, discount=0.9, lambda_=0.75, epsilon=0.01,
    final_epsilon=0.01, epsilon_episodes=1, learning_rate=1e-4, b1=0.9,
    b2=0.999, adam_epsilon=1e-6, max_grad_norm=10.0, replay=695 * 9,
    batch_size=8, length=40, replay_share=0.7, updates=8, target_period=50,
    hidden=(256,), channels=(32, 64, 64))


class Step(NamedTuple):
  """What is kept of a step.

  Attributes:
    transition: its Transition.
    rewards: [], how many of this episode came before it, up to count_rewards.
  """
  transition: types.Transition
  rewards: chex.Array


class Actors(NamedTuple):
  """The actors between two steps.

  Attributes:
    states: ActorState [K].
    rewards: [K], of the present episodes, up to count_rewards.
    time: [], steps taken by each of them.
  """
  states: stepping.ActorState
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
  params: types.PyTree
  target: types.PyTree
  opt_state: optax.OptState
  updates: chex.Array


class State(NamedTuple):
  """What DQN keeps.

  Attributes:
    actors: its Actors.
    replay: Step [R, K], a ring of their last steps.
    weights: its Weights.
  """
  actors: Actors
  replay: Step
  weights: Weights


class Network(nn.Module):
  """Values [..., A] of observations [..., *O] and rewards so far [...].

  All are 0 until a first reward, so that actions are random ones until then.

  Attributes:
    config: hidden, channels and count_rewards are read.
    env: the environment.
  """
  config: Config
  env: types.Env

  @nn.compact
  def __call__(self, obs: chex.Array, rewards: chex.Array) -> chex.Array:
    x = networks.Observe(self.env, self.config.channels)(obs)
    x = networks.with_rewards(x, rewards, self.config.count_rewards)
    for width in self.config.hidden:
      x = nn.relu(nn.Dense(width)(x))
    return nn.Dense(
        stepping.num_actions(self.env), kernel_init=nn.initializers.zeros)(x)


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """DQN on one task; a call is a rollout and what is learned after it."""
  env = tasks.env
  network = Network(config, env)
  optimizer = optax.chain(
      optax.clip_by_global_norm(config.max_grad_norm),
      optax.adam(config.learning_rate, config.b1, config.b2,
                 config.adam_epsilon))
  anneal_steps = config.epsilon_episodes * tasks.episode_length
  newest = config.batch_size - round(config.batch_size * config.replay_share)
  count_dtype = stepping.smallest_int(config.count_rewards + 1)

  def count(rewards: chex.Array, reward: chex.Array) -> chex.Array:
    more = rewards + (reward > 0).astype(count_dtype)
    return jnp.minimum(more, config.count_rewards).astype(count_dtype)

  def init(task: types.Task, key: chex.PRNGKey) -> State:
    reset_key, params_key = jax.random.split(key)
    states = stepping.reset_all(env, task, reset_key, config.actors)
    actors = Actors(
        states, jnp.zeros(config.actors, count_dtype), jnp.int32(0))
    params = network.init(params_key, states.obs, actors.rewards)
    # Nothing is run here: this is what a step will look like.
    _, steps = jax.eval_shape(
        functools.partial(explore, task, params), actors, params_key)
    ring = jax.tree.map(
        lambda x: jnp.zeros((config.replay, *x.shape), x.dtype), steps)
    return State(actors, ring, Weights(
        params, params, optimizer.init(params), jnp.int32(0)))

  def explore(
      task: types.Task, params: types.PyTree, actors: Actors, key: chex.PRNGKey
  ) -> tuple[Actors, Step]:
    """One step of every actor, as Step [K]."""
    action_key, env_key = jax.random.split(key)
    epsilon = exploration.anneal(
        config.epsilon, config.final_epsilon, anneal_steps, actors.time)
    values = network.apply(params, actors.states.obs, actors.rewards)
    action = jax.vmap(exploration.epsilon_greedy, (0, None, 0))(
        values, epsilon, jax.random.uniform(action_key, (config.actors,)))
    states, transition = stepping.step_all(
        env, task, actors.states, action, env_key)
    rewards = jnp.where(transition.done, count_dtype.type(0),
                        count(actors.rewards, transition.reward))
    return (Actors(states, rewards, actors.time + 1),
            Step(transition, actors.rewards))

  def loss(
      params: types.PyTree, target: types.PyTree, batch: Step
  ) -> chex.Array:
    transition, rewards = batch
    q_tm1: chex.Array = network.apply(params, transition.obs, rewards)
    q_t = network.apply(
        target, transition.next_obs, count(rewards, transition.reward))
    trace_t = jax.vmap(functools.partial(
        q_lambda.traces, config.lambda_, config.cut_traces))(transition, q_t)
    # A time limit is no end: what would have come after it still counts.
    target_tm1 = jax.vmap(q_lambda.targets)(
        transition.reward, config.discount * ~transition.terminated, trace_t,
        q_t)
    chosen = jnp.take_along_axis(
        q_tm1, transition.action[..., None], -1)[..., 0]
    return optax.l2_loss(chosen, target_tm1).mean()

  def update(
      ring: Step, time: chex.Array, weights: Weights, key: chex.PRNGKey
  ) -> tuple[Weights, None]:
    """One gradient step."""
    batch = replay.sample(
        key, ring, time, config.batch_size, config.length, newest)
    params, target, opt_state, updates = weights
    gradient = jax.grad(loss)(params, target, batch)
    change, opt_state = optimizer.update(gradient, opt_state)
    params, updates = optax.apply_updates(params, change), updates + 1
    target = optax.periodic_update(
        params, target, updates, config.target_period)
    return Weights(params, target, opt_state, updates), None

  def step(
      task: types.Task, state: State, key: chex.PRNGKey
  ) -> tuple[State, types.Transition]:
    explore_key, learn_key = jax.random.split(key)
    actors, steps = jax.lax.scan(
        functools.partial(explore, task, state.weights.params), state.actors,
        jax.random.split(explore_key, config.rollout))
    ring = replay.write(state.replay, steps, state.actors.time)
    learn = lambda weights: jax.lax.scan(
        functools.partial(update, ring, actors.time), weights,
        jax.random.split(learn_key, config.updates))[0]
    weights = jax.lax.cond(
        actors.time >= config.length, learn, lambda x: x, state.weights)
    return State(actors, ring, weights), steps.transition

  return types.Learner(init, step, config.rollout)
