"""Every public function that takes arrays says which of them is wrong.

A table of good arguments, each array of which is spoilt in turn; and a walk
over the library that finds what the table leaves out.
"""

import collections.abc
import dataclasses
import importlib
import inspect
import pkgutil
import re
import typing
from typing import Any
from typing import NamedTuple

from flax import linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np
import pytest

import adjax
from adjax import distill
from adjax import histories
from adjax import in_context
from adjax import lstm
from adjax import metrics
from adjax import model as model_lib
from adjax import rl2
from adjax import transformer
from adjax import types
from adjax.envs import adapters
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import acting
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.learners import networks
from adjax.learners import references
from adjax.learners import thompson
from adjax.learners import ucb

N, K, T, B, L, A = 2, 3, 8, 2, 6, 5
KEY = jax.random.key(0)
TASKS = dark_room.tasks(dark_room.Config(
    size=5, num_train=11, num_validation=7, num_held_out=7))
TASK = jax.tree.map(lambda x: x[0], TASKS.train)
ENV = TASKS.env
PLACE = acting.begin(ENV, TASK, KEY)
LEARNER = references.random(TASKS)
POOL = watermaze.tasks(watermaze.Config(height=4, width=4))
ADAPTER = adapters.Adapter(adapters.Config('Catch-bsuite', permute=True))
MODEL = transformer.Transformer(
    transformer.Config(layers=1, width=8, heads=2, window=4, feed_forward=8),
    ENV)
TRAINING = distill.Config(batch_size=B, length=L)
ONLINE = rl2.Config(trials=B, minibatches=1, episodes=1)


def take(tree, index):
  return jax.tree.map(lambda x: x[index], tree)


def floats(*shape):
  return jnp.ones(shape, jnp.float32)


def bools(*shape):
  return jnp.zeros(shape, bool)


def ints(*shape):
  return jnp.zeros(shape, jnp.int8)


def history(*shape):
  return types.History(ints(*shape, 2), ints(*shape), floats(*shape),
                       bools(*shape))


def inputs(*shape):
  return model_lib.Inputs(*history(*shape))


def transition(*shape):
  return types.Transition(ints(*shape, 2), ints(*shape), floats(*shape),
                          bools(*shape), bools(*shape), ints(*shape, 2))


PARAMS = MODEL.init(KEY, inputs(1), method='logits_and_values')
STATE = distill.init(TRAINING, MODEL, history(N, T), KEY)
STEPS = ('action', 'reward', 'done')


def within(name, *fields):
  return [f'{name}.{field}' for field in fields]


class Call(NamedTuple):
  """A call that is well.

  Attributes:
    function: what is called,
    given: and its arguments by name.
    spoilt: paths of arrays; each is given another axis, and another dtype.
    bad: {path: a value that is refused there}, for what may have any dtype or
      any number of axes.
  """
  function: Any
  given: dict[str, Any]
  spoilt: collections.abc.Sequence[str]
  bad: dict[str, Any] = {}  # noqa: RUF012


CALLS = {
    'metrics.episode_returns': Call(
        metrics.episode_returns,
        dict(reward=floats(T), done=bools(T), num_episodes=2),
        ['reward', 'done']),
    'metrics.learning_curves': Call(
        metrics.learning_curves,
        dict(reward=floats(N, T), done=bools(N, T), num_episodes=2),
        ['done'], {'reward': bools(N, T)}),
    'metrics.iqm': Call(
        metrics.iqm, dict(x=np.ones((N, T))), [],
        {'x': np.ones((N, T), bool)}),
    'metrics.bootstrap': Call(
        metrics.bootstrap, dict(x=np.ones((1, N, K)), resamples=2), [],
        {'x': np.ones((N, K))}),
    'model.Embedding.__call__': Call(
        lambda inputs: model_lib.Embedding(MODEL.config, ENV).init(
            KEY, inputs, True), dict(inputs=inputs(L)),
        within('inputs', *STEPS), {'inputs.obs': ints(L - 1, 2)}),
    'model.SequenceModel.__call__': Call(
        lambda inputs: MODEL.apply(PARAMS, inputs), dict(inputs=inputs(L)),
        within('inputs', *STEPS)),
    'model.SequenceModel.logits_and_values': Call(
        lambda inputs: MODEL.apply(
            PARAMS, inputs, method='logits_and_values'),
        dict(inputs=inputs(L)), within('inputs', *STEPS)),
    'model.SequenceModel.step': Call(
        lambda inputs, cache: MODEL.apply(
            PARAMS, inputs, cache, method='step'),
        dict(inputs=inputs(), cache=MODEL.empty_cache()),
        [*within('inputs', *STEPS), *within('cache', 'time', 'turn')]),
    'transformer.Block.heads': Call(
        lambda x, turns: transformer.Block(MODEL.config).init(
            KEY, x, turns, method='heads'),
        dict(x=floats(L, 8), turns=floats(2, L, 2)), ['x', 'turns']),
    'transformer.Block.mix': Call(
        lambda x, attended: transformer.Block(MODEL.config).init(
            KEY, x, attended, True, method='mix'),
        dict(x=floats(L, 8), attended=floats(2, L, 4)), ['x', 'attended']),
    'transformer.turn': Call(
        transformer.turn, dict(size=4, time=jnp.arange(L)), [],
        {'time': jnp.zeros((L, 1))}),
    'transformer.rotate': Call(
        transformer.rotate, dict(x=floats(2, L, 4), turns=floats(2, L, 2)),
        ['x', 'turns']),
    'transformer.attend': Call(
        transformer.attend,
        dict(q=floats(2, L, 4), k=floats(2, L, 4), v=floats(2, L, 4), window=3,
             dropout=0.5, key=KEY), ['q', 'k', 'v', 'key'], {'key': None}),
    'lstm.Layer.__call__': Call(
        lambda x, carry: lstm.Layer(8).init(KEY, x, (carry, carry)),
        dict(x=floats(L, 8), carry=floats(8)), ['x'], {'x': floats(L, 4)}),
    'in_context.inputs_of': Call(
        in_context.inputs_of, dict(history=history(N, T)),
        within('history', *STEPS[1:]), {'history.obs': ints(N, T - 1, 2)}),
    'in_context.inputs_of_piece': Call(
        in_context.inputs_of_piece,
        dict(rows=history(L + 1), first=jnp.bool_(True)),
        [*within('rows', *STEPS), 'first']),
    'in_context.choose': Call(
        in_context.choose,
        dict(logits=floats(A), temperature=1.0, noise=floats(A)),
        ['logits', 'noise'], {'noise': floats(A - 1)}),
    'envs.bandit.optimal_return': Call(
        bandit.optimal_return, dict(task=bandit.EnvParams(floats(A))),
        ['task.means']),
    'envs.bandit.optimal_policy': Call(
        bandit.optimal_policy,
        dict(task=bandit.EnvParams(floats(A)), state=None, key=KEY),
        ['task.means', 'key']),
    'envs.dark_room.walk': Call(
        dark_room.walk, dict(obs=ints(2), target=ints(2), key=KEY),
        ['obs', 'target', 'key']),
    'envs.dark_room.optimal_policy': Call(
        dark_room.optimal_policy,
        dict(task=TASK, state=PLACE.env_state, key=KEY),
        ['task.goals', 'state.position', 'state.found', 'key']),
    'envs.dark_room.optimal_return': Call(
        dark_room.optimal_return, dict(config=ENV.config, task=TASK),
        ['task.goals']),
    'envs.watermaze.move': Call(
        watermaze.move,
        dict(position=floats(2), heading=0.0, moved=floats(3)),
        ['position', 'heading', 'moved']),
    'envs.watermaze.draw': Call(
        watermaze.draw, dict(config=POOL.env.config, obs=floats(6)), ['obs']),
    'envs.watermaze.Watermaze.view': Call(
        POOL.env.view, dict(obs=floats(6)), ['obs']),
    'envs.watermaze.walk': Call(
        watermaze.walk, dict(obs=floats(6), target=floats(6), key=KEY),
        ['obs', 'target', 'key']),
    'envs.watermaze.optimal_policy': Call(
        watermaze.optimal_policy,
        dict(task=take(POOL.train, 0), key=KEY,
             state=POOL.env.reset(KEY, take(POOL.train, 0))[1]),
        ['task.platform', 'state.position', 'state.heading', 'key']),
    'envs.adapters.Adapter.draw': Call(ADAPTER.draw, dict(key=KEY), ['key']),
    'envs.adapters.Adapter.inner_action': Call(
        ADAPTER.inner_action,
        dict(action=jnp.int8(0), params=ADAPTER.default_params),
        ['action', 'params.permutation']),
    'learners.acting.begin': Call(
        acting.begin, dict(env=ENV, task=TASK, key=KEY),
        ['task.goals', 'task.max_steps_in_episode', 'key']),
    'learners.acting.act': Call(
        acting.act,
        dict(env=ENV, task=TASK, place=PLACE, action=jnp.int8(0), key=KEY),
        ['task.goals', 'task.max_steps_in_episode', 'action', 'key'],
        {'place.obs': ints(3)}),
    'learners.acting.begin_all': Call(
        acting.begin_all, dict(env=ENV, task=TASK, key=KEY, copies=K),
        ['task.goals', 'key']),
    'learners.acting.act_all': Call(
        acting.act_all,
        dict(env=ENV, task=TASK, action=ints(K), key=KEY,
             places=acting.begin_all(ENV, TASK, KEY, K)),
        ['task.goals', 'action', 'key'], {'places.obs': ints(K - 1, 2)}),
    'learners.acting.single': Call(
        acting.single, dict(transition=transition()),
        within('transition', *STEPS)),
    'learners.acting.anneal': Call(
        acting.anneal, dict(start=1.0, end=0.0, steps=9, time=jnp.int32(1)),
        [], {'time': jnp.ones(3)}),
    'learners.acting.uniform': Call(
        acting.uniform, dict(key=KEY, calls=3), ['key']),
    'learners.acting.epsilon_greedy': Call(
        acting.epsilon_greedy,
        dict(values=floats(A), epsilon=0.1, u=jnp.float32(0.5)),
        ['values', 'epsilon', 'u']),
    'learners.acting.fold': Call(
        acting.fold, dict(function=jnp.maximum, values=floats(A)), ['values']),
    'learners.acting.pick': Call(
        acting.pick, dict(allowed=bools(A), share=jnp.float32(0.5)),
        ['allowed', 'share']),
    'learners.actor_critic.Network.__call__': Call(
        lambda obs, rewards: actor_critic.Network(
            actor_critic.Config(), ENV).init(KEY, obs, rewards),
        dict(obs=ints(K, 2), rewards=ints(K)), ['rewards'],
        {'obs': ints(K, 3)}),
    'learners.actor_critic.gae': Call(
        actor_critic.gae,
        dict(reward_t=floats(T), value_t=floats(T), next_value_t=floats(T),
             terminated_t=bools(T), done_t=bools(T), discount=0.9, trace=0.9),
        ['reward_t', 'value_t', 'next_value_t', 'terminated_t', 'done_t']),
    'learners.actor_critic.choose': Call(
        actor_critic.choose, dict(logits=floats(K, A), key=KEY),
        ['logits', 'key']),
    'learners.actor_critic.log_prob': Call(
        actor_critic.log_prob, dict(log_probs=floats(K, A), action=ints(K)),
        ['log_probs'], {'action': floats(K)}),
    'learners.actor_critic.surrogate': Call(
        actor_critic.surrogate,
        dict(logits=floats(B, A), action=ints(B), old_log_prob=floats(B),
             advantage=floats(B), clip_ratio=0.2),
        ['logits', 'old_log_prob', 'advantage'], {'action': floats(B)}),
    'learners.actor_critic.objective': Call(
        actor_critic.objective,
        dict(config=actor_critic.A2C, logits=floats(B, A), value=floats(B),
             step=actor_critic.Step(
                 transition(B), ints(B), ints(B), floats(B)),
             advantage=floats(B), target=floats(B)),
        ['logits', 'value', 'advantage', 'target', 'step.log_prob',
         'step.seen.action']),
    'learners.dqn.Network.__call__': Call(
        lambda obs, rewards: dqn.Network(dqn.DQN, ENV).init(
            KEY, obs, rewards),
        dict(obs=ints(K, 2), rewards=ints(K)), ['rewards'],
        {'obs': ints(K, 3)}),
    'learners.dqn.write': Call(
        dqn.write,
        dict(replay=floats(8, K), steps=floats(4, K), time=jnp.int32(0)),
        ['steps', 'time'], {'steps': floats(4, K - 1)}),
    'learners.dqn.sample': Call(
        dqn.sample,
        dict(key=KEY, replay=floats(8, K), time=jnp.int32(8), batch_size=B,
             length=4), ['key', 'time'], {'replay': floats(8)}),
    'learners.dqn.q_lambda': Call(
        dqn.q_lambda,
        dict(r_t=floats(T), discount_t=floats(T), trace_t=floats(T),
             q_t=floats(T, A)), ['r_t', 'discount_t', 'trace_t', 'q_t']),
    'learners.dqn.traces': Call(
        dqn.traces,
        dict(trace=0.5, cut=True, seen=transition(T), q_t=floats(T, A)),
        ['seen.done', 'q_t'],
        {'seen.action': floats(T)}),
    'learners.networks.Observe.__call__': Call(
        lambda obs: networks.Observe(ENV).init(KEY, obs),
        dict(obs=ints(B, L, 2)), [], {'obs': ints(B, L, 3)}),
    'learners.networks.with_rewards': Call(
        networks.with_rewards,
        dict(features=floats(K, A), rewards=ints(K), count=2), ['rewards'],
        {'features': ints(K, A)}),
    'learners.networks.Convolution.__call__': Call(
        lambda x: networks.Convolution(4).init(KEY, x),
        dict(x=floats(B, 8, 8, 3)), ['x']),
    'learners.thompson.posterior': Call(
        thompson.posterior,
        dict(config=thompson.Config(), pulls=floats(A), total=floats(A)),
        ['pulls', 'total']),
    'learners.thompson.beta': Call(
        thompson.beta, dict(key=KEY, a=floats(A), b=floats(A)),
        ['key', 'b'], {'a': ints(A)}),
    'learners.thompson.gamma': Call(
        thompson.gamma, dict(key=KEY, shape=floats(A)), ['key'],
        {'shape': ints(A)}),
    'learners.ucb.indices': Call(
        ucb.indices,
        dict(config=ucb.Config(), pulls=floats(A), total=floats(A)),
        ['pulls', 'total']),
    'types.num_tasks': Call(
        types.num_tasks, dict(tasks=TASKS.train), [],
        {'tasks.max_steps_in_episode': 20, 'tasks.goals': ints(3, 1, 2)}),
    'types.TaskDistribution.sample': Call(
        TASKS.sample, dict(key=KEY), ['key']),
    **{f'types.{function.__name__}': Call(
        function, dict(learner=LEARNER, task=TASK, key=KEY, num_steps=T),
        ['key', 'task.goals'])
       for function in (types.unroll, types.unroll_checked)},
    'histories.generate': Call(
        histories.generate,
        dict(learner=LEARNER, tasks=TASKS.train, key=KEY, num_histories=2,
             num_steps=T), ['key'], {'tasks.goals': ints(3, 1, 2)}),
    **{f'histories.{function.__name__}': Call(
        function,
        dict(learner=LEARNER, num_steps=T, **dict(zip(
            ('tasks', 'keys'), histories.repeat(TASKS.train, KEY, 2)))),
        ['keys'], {'tasks.goals': ints(11, 3, 1, 2)})
       for function in (histories.run, histories.run_checked)},
    'histories.repeat': Call(
        histories.repeat, dict(tasks=TASKS.train, key=KEY, repeats=2),
        ['key'], {'tasks.max_steps_in_episode': 20}),
    'histories.streams': Call(
        histories.streams, dict(history=history(N, K, T)),
        within('history', *STEPS), {'history.obs': ints(N, K, T - 1, 2)}),
    **{f'histories.{function.__name__}': Call(
        function, dict(history=history(N, T)._replace(done=~bools(N, T)),
                       **rest), within('history', *STEPS))
       for function, rest in (
           (histories.thin, dict(every=1)),
           (histories.tail, dict(num_episodes=1)),
           (histories.distilled, dict(every=1, num_episodes=0)),
           (histories.distilled_within,
            dict(every=2, num_episodes=1, bound=T)))},
    'histories.sound_only': Call(
        histories.sound_only, dict(history=history(N, T), sound=bools(N)),
        [*within('history', *STEPS), 'sound']),
    'histories.sample_subsequences': Call(
        histories.sample_subsequences,
        dict(key=KEY, sequences=floats(N, T), batch_size=B, length=L), ['key'],
        {'sequences': floats(N)}),
    'histories.sample_places': Call(
        histories.sample_places,
        dict(key=KEY, num=N, steps=jnp.int32(T), batch_size=B, length=L),
        ['key', 'steps']),
    'histories.cut': Call(
        histories.cut,
        dict(sequences=floats(N, T), streams=ints(B), starts=ints(B), length=L),
        ['streams', 'starts'], {'sequences': floats(N)}),
    'distill.init': Call(
        distill.init,
        dict(config=TRAINING, model=MODEL, history=history(N, T), key=KEY),
        [*within('history', *STEPS), 'key']),
    'distill.loss': Call(
        distill.loss,
        dict(params=PARAMS, model=MODEL, inputs=inputs(B, L),
             actions=ints(B, L), key=KEY),
        [*within('inputs', *STEPS), 'actions', 'key']),
    'distill.update': Call(
        distill.update,
        dict(config=TRAINING, model=MODEL, state=STATE,
             sequences=(inputs(N, T), ints(N, T))), ['state.key'],
        {'sequences': (inputs(N, T), ints(N))}),
    'distill.update_on': Call(
        distill.update_on,
        dict(config=TRAINING, model=MODEL, state=STATE,
             pieces=(inputs(B, L), ints(B, L))), ['state.key'],
        {'pieces': (inputs(B, L), ints(B))}),
    'distill.places': Call(
        distill.places,
        dict(config=TRAINING, key=KEY, num=N, steps=jnp.int32(T)),
        ['key', 'steps']),
    'distill.descend': Call(
        distill.descend,
        dict(with_optimizer=distill.optimizer(TRAINING), state=STATE,
             value=jnp.float32(0), gradient=STATE.params), ['value'],
        {'gradient': jnp.ones(3)}),
    'distill.evaluate': Call(
        distill.evaluate,
        dict(env=ENV, model=MODEL, params=PARAMS, tasks=TASKS.held_out,
             key=KEY, num_runs=2, num_steps=T), ['key'],
        {'tasks.goals': ints(3, 1, 2)}),
    'rl2.init': Call(
        rl2.init, dict(config=ONLINE, model=MODEL, tasks=TASKS, key=KEY),
        ['key']),
    'rl2.live': Call(
        rl2.live,
        dict(config=ONLINE, model=MODEL, params=PARAMS, tasks=TASKS, key=KEY),
        ['key']),
    'rl2.assess': Call(
        rl2.assess,
        dict(config=ONLINE, model=MODEL, params=PARAMS, history=history(N, T)),
        within('history', *STEPS)),
    'rl2.loss': Call(
        rl2.loss,
        dict(params=PARAMS, model=MODEL, config=ONLINE, entropy=0.1, key=KEY,
             batch=rl2.Batch(inputs(B, L), ints(B, L), floats(B, L),
                             floats(B, L), floats(B, L))),
        [*within('batch', 'action', 'log_prob', 'advantage', 'target'),
         *within('batch.inputs', *STEPS), 'entropy', 'key']),
    'rl2.update': Call(
        rl2.update,
        dict(config=ONLINE, model=MODEL, tasks=TASKS,
             state=rl2.init(ONLINE, MODEL, TASKS, KEY)),
        ['state.key']),
}

# By the beginning of their names.
EXEMPT = {
    'arrays.': 'these are the refusals',
    'config.': 'values of fields, not arrays; refused in test_config',
    'checkpoint.': 'any tree; compared with what is wanted as it is restored',
    'seal.': 'any tree; compared with what was sealed',
    'manifest.': 'JSON; refused in the words of the file',
    'shards.': 'what store made of a History',
    'store.': 'a folder; refused in the words of its manifest',
    'sharding.': 'any tree is laid out',
    'distill.together': 'its tasks are counted by types.num_tasks',
    'in_context.in_context': 'weights; flax refuses those of another model',
    'distill.make_': 'what is evaluated enters distill.evaluate',
    'rl2.make_': 'what is evaluated enters distill.evaluate',
    'distill.curves': 'weights; flax refuses those of another model',
    'model.SequenceModel.features': 'entered by the calls of SequenceModel',
    'model.SequenceModel.next_features': 'entered by SequenceModel.step',
    'transformer.Transformer.': 'entered by the calls of SequenceModel',
    'lstm.LSTM.': 'entered by the calls of SequenceModel',
    'envs.watermaze.optimal_return': 'reads nothing of its task',
    'envs.watermaze.Frames.view': 'hands back what it is given',
}
# gymnax calls these; what enters an environment is checked by learners.acting.
GYMNAX = ('action_space', 'observation_space', 'view_space', 'reset_env',
          'step_env', 'observe')
# These look at the values of their arrays, so that they take no tracers.
ON_HOST = ('metrics.iqm', 'metrics.bootstrap', 'histories.thin',
           'histories.tail', 'histories.distilled')


def spoil(given, path, change):
  """The same with change(array) at a path."""
  head, _, rest = path.partition('.')
  value = given[head] if isinstance(given, dict) else getattr(given, head)
  value = spoil(value, rest, change) if rest else change(value)
  if isinstance(given, dict):
    return given | {head: value}
  replace = given._replace if hasattr(given, '_replace') else given.replace
  return replace(**{head: value})


def deeper(x):
  return jnp.stack([x])


def another_kind(x):
  dtype = jnp.asarray(x).dtype
  if jnp.issubdtype(dtype, jax.dtypes.prng_key):
    return jnp.zeros(jnp.shape(x), jnp.uint32)
  is_float = jnp.issubdtype(dtype, jnp.floating)
  return jnp.zeros(jnp.shape(x), bool if is_float else jnp.float32)


CASES = [
    pytest.param(name, path, change, id=f'{name}-{path}-{label}')
    for name, call in CALLS.items()
    for path, change, label in [
        *((path, deeper, 'shape') for path in call.spoilt),
        *((path, another_kind, 'dtype') for path in call.spoilt),
        *((path, lambda _, bad=bad: bad, 'bad')
          for path, bad in call.bad.items())]]


@pytest.mark.parametrize('name, path, change', CASES)
def test_a_wrong_array_is_named(name, path, change):
  call = CALLS[name]
  with pytest.raises(ValueError) as error:
    call.function(**spoil(call.given, path, change))
  # In one line, which may end in the path of an array within a tree.
  name = re.escape(path)
  assert re.fullmatch(rf'(.*\.)?{name}[\[\].\w]*(=.*)?: must be .*',
                      str(error.value)), str(error.value)


@pytest.mark.parametrize('name', CALLS)
def test_right_arrays_are_not(name):
  call = CALLS[name]
  run = (lambda call: call()) if name in ON_HOST else jax.eval_shape
  run(lambda: (call.function(**call.given), None)[1])


def public_functions():
  """(name without adjax, function) of all of them, methods too."""
  for info in pkgutil.walk_packages(adjax.__path__, 'adjax.'):
    module = importlib.import_module(info.name)
    for name, value in vars(module).items():
      own = getattr(value, '__module__', None) == info.name
      if name.startswith('_') or not own or not callable(value):
        continue
      path = f'{info.name}.{name}'.removeprefix('adjax.')
      if not inspect.isclass(value):
        yield path, value
        continue
      for method, function in vars(value).items():
        if inspect.isfunction(function) and function.__module__ == info.name:
          yield f'{path}.{method}', function


def is_plain(kind):
  """Whether an annotation is of something that holds no arrays."""
  if typing.get_origin(kind) is collections.abc.Callable:
    return True
  if typing.get_args(kind):
    return all(map(is_plain, typing.get_args(kind)))
  return kind in (int, float, bool, str, type(None), types.Learner,
                  types.TaskDistribution, nn.Module, Mesh,
                  np.random.Generator) or (
      dataclasses.is_dataclass(kind) and kind.__name__ == 'Config')


def takes_arrays(function):
  return any(
      not is_plain(parameter.annotation)
      and parameter.name not in ('self', 'env', 'mesh', 'config')
      for parameter in inspect.signature(function).parameters.values())


def test_no_public_function_is_left_out():
  left = [
      name for name, function in public_functions()
      if takes_arrays(function) and name not in CALLS
      and not name.startswith(tuple(EXEMPT))
      and (name.endswith('.__call__') or not name.rpartition('.')[2].startswith(
          ('_', *GYMNAX)))]
  assert not left
