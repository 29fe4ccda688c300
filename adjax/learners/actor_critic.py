"""An actor-critic: A2C, and PPO (Schulman et al. 2017), which contains it.

With one epoch of one minibatch PPO's ratio is 1 where its gradient is taken,
the clip does nothing, and what is left is A2C (Huang et al. 2022). Several
actors act on one task with one network; what each of them sees and does is a
history. Knows nothing beforehand.
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
  """Advantage actor-critic, clipped as in PPO.

  Attributes:
    actors: K, copies of the environment; each of them makes one history.
    rollout: n, steps of every actor between two times of learning. The paper
      does not say how long those of its A3C are.
    discount: gamma.
    trace: lambda of generalised advantage estimation.
    entropy: the bonus for the entropy of the policy.
    value_cost: the weight of the error of the values, which is half its square.
    learning_rate: of Adam,
    b1: its decay of the mean gradient,
    b2: and of the squared one,
    adam_epsilon: and what keeps it from dividing by nothing.
    clip_norm: the largest norm of a gradient, over all weights.
    clip_ratio: how far the probability of an action may move, as a share of
      what it was acted with, before it moves no further in one time of
      learning. Nothing with one epoch of one minibatch.
    epochs: how often everything in a rollout is learned from.
    minibatches: gradient steps in an epoch; they divide rollout * actors.
    hidden: widths of the perceptrons' layers, one for the policy and one for
      the value; () for linear ones.
    channels: of the convolutions before them, if the agent sees images.
    normalise_advantages: whether those of a minibatch are brought to mean 0 and
      deviation 1. Where rewards are rare this makes noise as loud as they are.
    count_rewards: as in tabular_q.Config, an input that no history holds.
  """
  actors: int = 32
  rollout: int = 5
  discount: float = 0.95
  trace: float = 0.95
  entropy: float = 0.01
  value_cost: float = 0.5
  learning_rate: float = 0.01
  b1: float = 0.9
  b2: float = 0.999
  adam_epsilon: float = 1e-6
  clip_norm: float = 1.0
  clip_ratio: float = 0.2
  epochs: int = 1
  minibatches: int = 1
  hidden: tuple[int, ...] = (64,)
  channels: tuple[int, ...] = (16, 32)
  normalise_advantages: bool = False
  count_rewards: int = 0

  def __post_init__(self):
    check = functools.partial(config_lib.check, 'source')
    for name in ('discount', 'trace'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value <= 1.0, 'from 0 to 1')
    for name in ('b1', 'b2'):
      value = getattr(self, name)
      check(name, value, 0.0 <= value < 1.0, 'from 0 to below 1')
    for name in ('learning_rate', 'adam_epsilon', 'clip_norm', 'clip_ratio'):
      check(name, getattr(self, name), getattr(self, name) > 0, 'above 0')
    for name in ('entropy', 'value_cost', 'count_rewards'):
      check(name, getattr(self, name), getattr(self, name) >= 0, 'at least 0')
    for name in ('actors', 'rollout', 'epochs', 'minibatches'):
      check(name, getattr(self, name), getattr(self, name) >= 1, 'at least 1')
    steps = self.rollout * self.actors
    check('minibatches', self.minibatches, steps % self.minibatches == 0,
          f'a divisor of source.rollout * source.actors={steps}')
    for name in ('hidden', 'channels'):
      config_lib.check_widths('source', name, getattr(self, name))


A2C = Config()
PPO = Config(rollout=20, epochs=4, minibatches=4)
# The source of Laskin et al. (2022) in the dark rooms, where they say; the
# length of a rollout, the value's weight and the clipped norm they do not. Its
# actors wait for each other here; those of A3C did not, and updated by
# themselves. Two goals of Dark Room, 400 episodes: with rollouts of 20 it ended
# at .71 and .76 of the optimum, with rollouts of 5 at 1.0.
A2C_PAPER = Config(
    actors=100, rollout=5, discount=0.99, trace=0.95, entropy=0.01,
    learning_rate=1e-4, b1=0.9, b2=0.999, adam_epsilon=1e-6,
    hidden=(128, 128, 128))


class Step(NamedTuple):
  """What is learned from a step.

  Attributes:
    seen: the Transition.
    rewards: [], how many of this episode came before it, up to count_rewards,
    after: [], and with it.
    log_prob: [], of the action when it was chosen.
  """
  seen: types.Transition
  rewards: chex.Array
  after: chex.Array
  log_prob: chex.Array


class State(NamedTuple):
  """places [K]; rewards [K] of the present episodes; params; opt_state."""
  places: acting.Place
  rewards: chex.Array
  params: Any
  opt_state: Any


class Network(nn.Module):
  """Logits [..., A] and values [...] of observations [..., *O], rewards [...].

  Both are 0 at first: the first actions are random ones, and stay so until the
  first reward, however large Adam makes a small gradient. They share the view
  of the observation and nothing else: with one perceptron for both, the value
  overruns the policy of a goal that was just found.
  """
  config: Config
  env: Any

  @nn.compact
  def __call__(
      self, obs: chex.Array, rewards: chex.Array
  ) -> tuple[chex.Array, chex.Array]:
    x = networks.Observe(self.env, self.config.channels)(obs)
    x = networks.with_rewards(x, rewards, self.config.count_rewards)
    logits, value = x, x
    for width in self.config.hidden:
      logits = nn.relu(nn.Dense(width)(logits))
      value = nn.relu(nn.Dense(width)(value))
    head = functools.partial(nn.Dense, kernel_init=nn.initializers.zeros)
    return (head(acting.num_actions(self.env))(logits),
            head(1)(value).squeeze(-1))


def gae(
    reward_t: chex.Array, value_t: chex.Array, next_value_t: chex.Array,
    terminated_t: chex.Array, done_t: chex.Array, discount: float, trace: float,
) -> chex.Array:
  """Generalised advantage estimates of one sequence (Schulman et al. 2016).

  Args:
    reward_t: [T], the reward of each action.
    value_t: [T], of the observation it was chosen on,
    next_value_t: [T], and of the one it led to, before any reset.
    terminated_t: [T], bool: the episode ended by itself; nothing comes after.
    done_t: [T], bool: the next step is of another episode. At a time limit what
      would have come after still counts, as the value of it says.
    discount: gamma.
    trace: lambda.

  Returns:
    [T], advantages; with value_t added, targets for the value.
  """
  arrays.check('reward_t [T] float, value_t [T] float, next_value_t [T] float, '
               'terminated_t [T] bool, done_t [T] bool',
               reward_t, value_t, next_value_t, terminated_t, done_t)
  delta_t = reward_t + discount * ~terminated_t * next_value_t - value_t

  def back(after, step):
    delta, done = step
    advantage = delta + discount * trace * ~done * after
    return advantage, advantage

  return jax.lax.scan(
      back, jnp.zeros((), delta_t.dtype), (delta_t, done_t), reverse=True)[1]


def choose(
    logits: chex.Array, key: chex.PRNGKey
) -> tuple[chex.Array, chex.Array]:
  """An action of each policy [K, A], and its log probability: [K], [K].

  One random number each, where Gumbel noise takes one for every action.
  """
  arrays.check('logits [K, A] float, key [] key', logits, key)
  log_probs = jax.nn.log_softmax(logits)
  below = jnp.cumsum(jnp.exp(log_probs), -1)[:, :-1]
  action = (below <= jax.random.uniform(key, (len(logits), 1))).sum(-1)
  return action, log_prob(log_probs, action)


def log_prob(log_probs: chex.Array, action: chex.Array) -> chex.Array:
  """The entries [...] of [..., A] that belong to actions [...]."""
  arrays.check('action [*B] integer, log_probs [*B, A] float',
               action, log_probs)
  return jnp.take_along_axis(log_probs, action[..., None], -1).squeeze(-1)


def surrogate(
    logits: chex.Array, action: chex.Array, old_log_prob: chex.Array,
    advantage: chex.Array, clip_ratio: float,
) -> tuple[chex.Array, chex.Array]:
  """PPO's clipped surrogate [...] and the entropy [...] of policies [..., A].

  Where the policy is still the one that acted, its gradient is A2C's.
  """
  arrays.check('action [*B] integer, logits [*B, A] float, '
               'old_log_prob [*B] float, advantage [*B] float',
               action, logits, old_log_prob, advantage)
  log_probs = jax.nn.log_softmax(logits)
  ratio = jnp.exp(log_prob(log_probs, action) - old_log_prob)
  clipped = jnp.clip(ratio, 1 - clip_ratio, 1 + clip_ratio)
  gain = jnp.minimum(ratio * advantage, clipped * advantage)
  return gain, -(jnp.exp(log_probs) * log_probs).sum(-1)


def objective(
    config: Config, logits: chex.Array, value: chex.Array, step: Step,
    advantage: chex.Array, target: chex.Array,
) -> chex.Array:
  """What is to be made small [], the mean over a batch [B].

  Args:
    config: the weights of its three terms.
    logits: [B, A], of the policy as it is now.
    value: [B], as it is now.
    step: Step [B], as it was.
    advantage: [B].
    target: [B], of the value.
  """
  arrays.check('logits [B, A] float, value [B] float, advantage [B] float, '
               'target [B] float, step.seen.action [B] integer, '
               'step.log_prob [B] float',
               logits, value, advantage, target, step.seen.action,
               step.log_prob)
  if config.normalise_advantages:
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
  gain, entropy = surrogate(
      logits, step.seen.action, step.log_prob, advantage, config.clip_ratio)
  error = optax.l2_loss(value, target)
  return (config.value_cost * error - gain - config.entropy * entropy).mean()


def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """The actor-critic on one task; its stride is the rollout."""
  env = tasks.env
  network = Network(config, env)
  optimizer = optax.chain(
      optax.clip_by_global_norm(config.clip_norm),
      optax.adam(config.learning_rate, config.b1, config.b2,
                 config.adam_epsilon))

  def init(task, key):
    place_key, params_key = jax.random.split(key)
    places = acting.begin_all(env, task, place_key, config.actors)
    rewards = jnp.zeros(config.actors, jnp.int32)
    params = network.init(params_key, places.obs, rewards)
    return State(places, rewards, params, optimizer.init(params))

  def act(task, params, now, key):
    """One step of every actor, as Step [K]."""
    places, rewards = now
    action_key, env_key = jax.random.split(key)
    action, log_prob = choose(
        network.apply(params, places.obs, rewards)[0], action_key)
    places, seen = acting.act_all(env, task, places, action, env_key)
    after = jnp.minimum(rewards + (seen.reward > 0), config.count_rewards)
    step = Step(seen, rewards, after, log_prob)
    return (places, jnp.where(seen.done, 0, after)), step

  def update(carry, batch):
    """One gradient step."""
    params, opt_state = carry

    def loss(params):
      step, *rest = batch
      logits, value = network.apply(params, step.seen.obs, step.rewards)
      return objective(config, logits, value, step, *rest)

    change, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
    return (optax.apply_updates(params, change), opt_state), None

  def epoch(batch, carry, key):
    """Minibatches of everything, in another order each time."""
    if config.minibatches == 1:
      return update(carry, batch)
    order = jax.random.permutation(key, config.rollout * config.actors)
    order = order.reshape(config.minibatches, -1)
    return jax.lax.scan(
        lambda carry, some: update(
            carry, jax.tree.map(lambda x: x[some], batch)), carry, order)

  def step(task, state, key):
    act_key, learn_key = jax.random.split(key)
    (places, rewards), steps = jax.lax.scan(
        functools.partial(act, task, state.params),
        (state.places, state.rewards),
        jax.random.split(act_key, config.rollout))
    seen = steps.seen
    value = network.apply(state.params, seen.obs, steps.rewards)[1]
    next_value = network.apply(state.params, seen.next_obs, steps.after)[1]
    advantage = jax.vmap(
        lambda *x: gae(*x, config.discount, config.trace), 1, 1)(
            seen.reward, value, next_value, seen.terminated, seen.done)
    batch = jax.tree.map(  # [n, K, ...] -> [n * K, ...].
        lambda x: x.reshape(-1, *x.shape[2:]),
        (steps, advantage, advantage + value))
    (params, opt_state), _ = jax.lax.scan(
        functools.partial(epoch, batch), (state.params, state.opt_state),
        jax.random.split(learn_key, config.epochs))
    return State(places, rewards, params, opt_state), seen

  return types.Learner(init, step, config.rollout)
