"""What every learner needs in order to act: a place in an environment."""

from collections.abc import Callable
import functools
from typing import Any
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from adjax import arrays
from adjax import types


class Place(NamedTuple):
  """Where one copy of an environment is: its state, and the obs [*O] shown."""
  env_state: Any
  obs: chex.Array


def begin(env: Any, task: types.Task, key: chex.PRNGKey) -> Place:
  """The first place of a life."""
  _check_task(env, task, key)
  obs, env_state = env.reset(key, task)
  return Place(env_state, obs)


def act(
    env: Any, task: types.Task, place: Place, action: chex.Array,
    key: chex.PRNGKey,
) -> tuple[Place, types.Transition]:
  """One step; where an episode ends, the new place is the next one's first."""
  _check_task(env, task, key)
  arrays.check('place.obs [*O] any, action [] integer', place.obs, action,
               O=env.observation_space(task).shape)
  obs, env_state, reward, terminated, truncated, info = env.step(
      key, place.env_state, action, task)
  transition = types.Transition(
      obs=place.obs,
      action=action.astype(smallest_int(num_actions(env))),
      reward=jnp.asarray(reward, jnp.float32),
      done=jnp.logical_or(terminated, truncated),
      terminated=jnp.asarray(terminated, bool),
      next_obs=info['final_observation'])
  return Place(env_state, obs), transition


def _check_task(env, task, key):
  arrays.check('key [] key', key)
  arrays.check_like(
      'task', task, jax.eval_shape(lambda: env.default_params))


def begin_all(
    env: Any, task: types.Task, key: chex.PRNGKey, copies: int
) -> Place:
  """The first places [K] of so many copies."""
  arrays.check('key [] key', key)
  return jax.vmap(lambda key: begin(env, task, key))(
      jax.random.split(key, copies))


def act_all(
    env: Any, task: types.Task, places: Place, action: chex.Array,
    key: chex.PRNGKey,
) -> tuple[Place, types.Transition]:
  """One step of every copy: places [K] and actions [K] to Transition [K]."""
  arrays.check('action [K] integer, places [K, ...] any, key [] key',
               action, places, key)
  return jax.vmap(
      lambda place, action, key: act(env, task, place, action, key))(
          places, action, jax.random.split(key, action.shape[0]))


def single(transition: types.Transition) -> types.Transition:
  """One step of one copy as Transition [n=1, K=1]."""
  arrays.check_steps('transition', transition, '')
  return jax.tree.map(lambda x: x[None, None], transition)


def policy(
    env: Any, choose: Callable[..., chex.Array]
) -> types.Learner:
  """A learner that never learns: choose(task, place, time, key) -> action."""

  def init(task, key):
    return begin(env, task, key), jnp.int32(0)

  def step(task, state, key):
    place, time = state
    action_key, env_key = jax.random.split(key)
    place, transition = act(
        env, task, place, choose(task, place, time, action_key), env_key)
    return (place, time + 1), single(transition)

  return types.Learner(init, step)


class Arms(NamedTuple):
  """place; pulls [A] of each arm and what they paid, total [A]; float32."""
  place: Place
  pulls: chex.Array
  total: chex.Array


def bandit(
    env: Any, choose: Callable[..., chex.Array], draw: Callable[..., Any]
) -> types.Learner:
  """A learner that counts what arms paid, and pulls one by them and by chance.

  It chooses by choose(pulls, total, chance) -> action and looks at no
  observation, so it is for environments whose episodes are one step. Chance is
  what draw(key, calls) makes for each call.
  """
  arms = num_actions(env)

  def init(task, key):
    return Arms(begin(env, task, key), jnp.zeros(arms), jnp.zeros(arms))

  def step(task, state, chance):
    own, env_key = chance
    action = choose(state.pulls, state.total, own)
    place, seen = act(env, task, state.place, action, env_key)
    return Arms(place, state.pulls.at[action].add(1.0),
                state.total.at[action].add(seen.reward)), single(seen)

  return types.Learner(init, step, draw=beside_env_keys(draw))


def view(env: Any) -> Callable[[chex.Array], chex.Array]:
  """obs [*O] -> what the agent sees of it; the observation itself for most."""
  return getattr(env, 'view', lambda obs: obs)


def view_space(env: Any) -> Any:
  """The space of what the agent sees."""
  space = getattr(env, 'view_space', env.observation_space)
  return space(env.default_params)


def num_actions(env: Any) -> int:
  """A, the number of actions of an environment with discrete actions."""
  return int(env.action_space(env.default_params).n)


def smallest_int(size: int) -> Any:
  """The smallest signed integer dtype that holds -1 to size - 1."""
  return next(dtype for dtype in (jnp.int8, jnp.int16, jnp.int32)
              if size - 1 <= jnp.iinfo(dtype).max)


def anneal(
    start: float, end: float, steps: int, time: chex.Array
) -> chex.Array:
  """From start to end, linearly over so many steps, then end."""
  arrays.check('time [] number', time)
  share = jnp.clip(time / max(steps, 1), 0.0, 1.0)
  return start + (end - start) * share


def beside_env_keys(draw: Callable[..., Any]) -> Callable[..., Any]:
  """A Learner's draw: what draw(key, calls) makes, keys for the environment."""
  def both(key, calls):
    action_key, env_key = jax.random.split(key)
    return draw(action_key, calls), jax.random.split(env_key, calls)
  return both


def uniform(key: chex.PRNGKey, calls: int) -> chex.Array:
  """A number from [0, 1) for each call, as epsilon_greedy wants one."""
  arrays.check('key [] key', key)
  return jax.random.uniform(key, (calls,))


def epsilon_greedy(
    values: chex.Array, epsilon: chex.Numeric, u: chex.Array
) -> chex.Array:
  """A best action of values [A], ties uniformly; with epsilon any action.

  One random number u from [0, 1) serves both draws: below epsilon it picks
  among all actions, above it among the best.
  """
  arrays.check('values [A] number, epsilon [] number, u [] float',
               values, epsilon, u)
  explore = u < epsilon
  allowed = explore | (values == fold(jnp.maximum, values))
  share = jnp.where(explore, u / jnp.maximum(epsilon, 1e-9),
                    (u - epsilon) / jnp.maximum(1.0 - epsilon, 1e-9))
  return pick(allowed, share)


# On a CPU, XLA takes several times as long to reduce an axis this short as to
# run through its entries one by one, and to add them up as to multiply them.
_SHORT = 32


def fold(function: Any, values: chex.Array) -> chex.Array:
  """jnp.maximum, jnp.add or their like over all of values [A]."""
  arrays.check('values [A] number', values)
  if values.size > _SHORT:
    return function.reduce(values)
  return functools.reduce(function, list(values))


def _ranks(allowed):
  """How many entries are true up to and with each one [M]."""
  if allowed.size > _SHORT:
    return jnp.cumsum(allowed)
  triangle = np.tri(allowed.size, dtype=np.float32)
  return (triangle @ allowed.astype(jnp.float32)).astype(jnp.int32)


def pick(allowed: chex.Array, share: chex.Array) -> chex.Array:
  """The index at this share in [0, 1) of the true entries of allowed [M]."""
  arrays.check('allowed [M] bool, share [] float', allowed, share)
  rank = _ranks(allowed)
  nth = jnp.minimum((share * rank[-1]).astype(rank.dtype), rank[-1] - 1)
  return (rank <= nth).sum()


class Table(NamedTuple):
  """How observations of small integers index the rows of a table.

  Attributes:
    size: the number of rows.
    index: obs [*O] -> [], the row.
  """
  size: int
  index: Callable[[chex.Array], chex.Array]


def table(env: Any) -> Table:
  """The rows of a tabular learner, one for each observation.

  Raises:
    ValueError: if the observation space is not a small integer Box.
  """
  values = integer_values(env)
  if values is None:
    raise ValueError(
        'a tabular learner needs integer observations, '
        f'{env.name} has {env.observation_space(env.default_params)}')
  low, sizes = map(np.array, zip(*values))
  strides = np.cumprod([1, *sizes[:0:-1]])[::-1].astype(np.int32)

  def index(obs):  # Entry by entry, see _SHORT.
    entries = obs.ravel().astype(jnp.int32)
    return sum((entries[i] - int(low[i])) * int(strides[i])
               for i in range(len(low)))

  return Table(int(sizes.prod()), index)


def integer_values(env: Any) -> tuple[tuple[int, int], ...] | None:
  """(lowest, how many) for each entry of an observation of small integers.

  None for observations that are anything else.
  """
  space = env.observation_space(env.default_params)
  if not jnp.issubdtype(space.dtype, jnp.integer):
    return None
  low, high = (
      np.broadcast_to(np.asarray(bound, np.int64), space.shape).ravel()
      for bound in (space.low, space.high))
  return tuple((int(a), int(b - a + 1)) for a, b in zip(low, high))
