"""An actor-critic: A2C, and PPO (Schulman et al. 2017), which contains it.

With one epoch of one minibatch PPO's ratio is 1 where its gradient is taken,
the clip does nothing, and what is left is A2C (Huang et al. 2022). Several
actors act on one task with one network; what each of them does and observes is
a history. Knows nothing beforehand.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import optax

from adjax import arrays
from adjax import config as config_lib
from adjax import types
from adjax.learners import networks
from adjax.learners import policy_gradient
from adjax.learners import stepping


@dataclasses.dataclass(frozen=True)
class Config(config_lib.Checked):
  """Advantage actor-critic, clipped as in PPO.

  Attributes:
    actors: K, copies of the environment; each of them makes one history.
    rollout: n, steps of every actor between two times of learning. The paper
      does not say how long those of its A3C are.
    discount: gamma.
    lambda_: lambda of generalised advantage estimation.
    entropy: the bonus for the entropy of the policy.
    value_cost: the weight of the error of the values, which is half its square.
    learning_rate: Adam's.
    b1: Adam's decay of the mean gradient.
    b2: Adam's decay of the mean squared gradient.
    adam_epsilon: what keeps Adam from dividing by nothing.
    max_grad_norm: the greatest norm of a gradient, over all weights.
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
  actors: config_lib.Count = 32
  rollout: config_lib.Count = 5
  discount: config_lib.Fraction = 0.95
  lambda_: config_lib.Fraction = 0.95
  entropy: config_lib.NonNegative = 0.01
  value_cost: config_lib.NonNegative = 0.5
  learning_rate: config_lib.Positive = 0.01
  b1: config_lib.Rate = 0.9
  b2: config_lib.Rate = 0.999
  adam_epsilon: config_lib.Positive = 1e-6
  max_grad_norm: config_lib.Positive = 1.0
  clip_ratio: config_lib.Positive = 0.2
  epochs: config_lib.Count = 1
  minibatches: config_lib.Count = 1
  hidden: config_lib.Widths = (64,)
  channels: config_lib.Widths = (16, 32)
  normalise_advantages: bool = False
  count_rewards: config_lib.Index = 0

  def check(self) -> None:
    steps = self.rollout * self.actors
    config_lib.check(
        'minibatches', self.minibatches, steps % self.minibatches == 0,
        f'a divisor of rollout * actors={steps}')

  def make(self, tasks: types.TaskDistribution) -> types.Learner:
    """The actor-critic on some tasks."""
    return learner(self, tasks)


A2C = Config()
PPO = Config(rollout=20, epochs=4, minibatches=4)
# The source of Laskin et al. (2022) in the dark rooms, where they say; the
# length of a rollout, the value's weight and the clipped norm they do not. Its
# actors wait for each other here; those of A3C did not, and updated by
# themselves. Two goals of Dark Room, 400 episodes: with rollouts of 20 it ended
# at .71 and .76 of the optimum, with rollouts of 5 at 1.0.
A2C_PAPER = Config(
    actors=100, rollout=5, discount=0.99, lambda_=0.95, entropy=0.01,
    learning_rate=1e-4, b1=0.9, b2=0.999, adam_epsilon=1e-6,
    hidden=(128, 128, 128))


class Step(NamedTuple):
  """What is learned from a step.

  Attributes:
    transition: its Transition.
    rewards: [], how many of this episode came before it, up to count_rewards.
    next_rewards: [], how many there are after it, up to count_rewards.
    log_prob: [], of the action when it was chosen.
  """
  transition: types.Transition
  rewards: chex.Array
  next_rewards: chex.Array
  log_prob: chex.Array


class State(NamedTuple):
  """What an actor-critic keeps.

  Attributes:
    actors: ActorState [K].
    rewards: [K], how many there were in the present episodes.
    params: of the network.
    opt_state: of the optimiser.
  """
  actors: stepping.ActorState
  rewards: chex.Array
  params: types.PyTree
  opt_state: optax.OptState


class Network(nn.Module):
  """Logits [..., A] and values [...] of observations [..., *O], rewards [...].

  Both are 0 at first: the first actions are random ones, and stay so until the
  first reward, however large Adam makes a small gradient. They share the view
  of the observation and nothing else: with one perceptron for both, the value
  overruns the policy of a goal that was just found.

  Attributes:
    config: hidden, channels and count_rewards are read.
    env: the environment.
  """
  config: Config
  env: types.Env

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
    return (head(stepping.num_actions(self.env))(logits),
            head(1)(value).squeeze(-1))


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
  return action, policy_gradient.log_prob(log_probs, action)


def objective(
    config: Config, logits: chex.Array, value: chex.Array, step: Step,
    advantage: chex.Array, target: chex.Array,
) -> chex.Array:
  """The loss [], the mean over a batch [B].

  Args:
    config: the weights of its three terms.
    logits: [B, A], of the policy as it is now.
    value: [B], as it is now.
    step: Step [B], as it was.
    advantage: [B].
    target: [B], of the value.
  """
  arrays.check('logits [B, A] float, value [B] float, advantage [B] float, '
               'target [B] float, step.transition.action [B] integer, '
               'step.log_prob [B] float',
               logits, value, advantage, target, step.transition.action,
               step.log_prob)
  if config.normalise_advantages:
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
  gain, entropy = policy_gradient.surrogate(
      logits, step.transition.action, step.log_prob, advantage,
      config.clip_ratio)
  error = optax.l2_loss(value, target)
  return (config.value_cost * error - gain - config.entropy * entropy).mean()


@types.cached
def learner(config: Config, tasks: types.TaskDistribution) -> types.Learner:
  """The actor-critic on one task; a call is a rollout and what it teaches."""
  env = tasks.env
  network = Network(config, env)
  optimizer = optax.chain(
      optax.clip_by_global_norm(config.max_grad_norm),
      optax.adam(config.learning_rate, config.b1, config.b2,
                 config.adam_epsilon))

  def init(task: types.Task, key: chex.PRNGKey) -> State:
    reset_key, params_key = jax.random.split(key)
    actors = stepping.reset_all(env, task, reset_key, config.actors)
    rewards = jnp.zeros(config.actors, jnp.int32)
    params = network.init(params_key, actors.obs, rewards)
    return State(actors, rewards, params, optimizer.init(params))

  def act(
      task: types.Task, params: types.PyTree,
      now: tuple[stepping.ActorState, chex.Array], key: chex.PRNGKey,
  ) -> tuple[tuple[stepping.ActorState, chex.Array], Step]:
    """One step of every actor, as Step [K]."""
    actors, rewards = now
    action_key, env_key = jax.random.split(key)
    action, log_prob = choose(
        network.apply(params, actors.obs, rewards)[0], action_key)
    actors, transition = stepping.step_all(env, task, actors, action, env_key)
    after = jnp.minimum(
        rewards + (transition.reward > 0), config.count_rewards)
    step = Step(transition, rewards, after, log_prob)
    return (actors, jnp.where(transition.done, 0, after)), step

  def update(
      carry: types.PyTree, batch: types.PyTree
  ) -> tuple[types.PyTree, None]:
    """One gradient step."""
    params, opt_state = carry

    def loss(params: types.PyTree) -> chex.Array:
      step, *rest = batch
      logits, value = network.apply(
          params, step.transition.obs, step.rewards)
      return objective(config, logits, value, step, *rest)

    change, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
    return (optax.apply_updates(params, change), opt_state), None

  def epoch(
      batch: types.PyTree, carry: types.PyTree, key: chex.PRNGKey
  ) -> tuple[types.PyTree, None]:
    """Minibatches of everything, in another order each time."""
    if config.minibatches == 1:
      return update(carry, batch)
    order = jax.random.permutation(key, config.rollout * config.actors)
    order = order.reshape(config.minibatches, -1)
    return jax.lax.scan(
        lambda carry, some: update(
            carry, jax.tree.map(lambda x: x[some], batch)), carry, order)

  def step(
      task: types.Task, state: State, key: chex.PRNGKey
  ) -> tuple[State, types.Transition]:
    act_key, learn_key = jax.random.split(key)
    (actors, rewards), steps = jax.lax.scan(
        functools.partial(act, task, state.params),
        (state.actors, state.rewards),
        jax.random.split(act_key, config.rollout))
    transition = steps.transition
    _, value = network.apply(state.params, transition.obs, steps.rewards)
    _, next_value = network.apply(
        state.params, transition.next_obs, steps.next_rewards)
    estimate = functools.partial(
        policy_gradient.gae, discount=config.discount, lambda_=config.lambda_)
    advantage = jax.vmap(estimate, 1, 1)(
        transition.reward, value, next_value, transition.terminated,
        transition.done)
    batch = jax.tree.map(  # [n, K, ...] -> [n * K, ...].
        lambda x: x.reshape(-1, *x.shape[2:]),
        (steps, advantage, advantage + value))
    (params, opt_state), _ = jax.lax.scan(
        functools.partial(epoch, batch), (state.params, state.opt_state),
        jax.random.split(learn_key, config.epochs))
    return State(actors, rewards, params, opt_state), transition

  return types.Learner(init, step, config.rollout)
