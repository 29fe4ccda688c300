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
from adjax import histories
from adjax import metrics
from adjax import types
from adjax.envs import adapters
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.envs import watermaze_view
from adjax.learners import actor_critic
from adjax.learners import annealed_oracle
from adjax.learners import dqn
from adjax.learners import exploration
from adjax.learners import networks
from adjax.learners import policy_gradient
from adjax.learners import q_lambda
from adjax.learners import references
from adjax.learners import replay
from adjax.learners import stepping
from adjax.learners import thompson
from adjax.learners import ucb
from adjax.methods import distill
from adjax.methods import rl2
from adjax.methods import training
from adjax.models import in_context
from adjax.models import lstm
from adjax.models import sequence_model
from adjax.models import transformer

N, K, T, B, L, A = 2, 3, 8, 2, 6, 5
KEY = jax.random.key(0)
TASKS = dark_room.tasks(dark_room.Config(
    size=5, num_train=11, num_validation=7, num_held_out=7))
TASK = jax.tree.map(lambda x: x[0], TASKS.train)
ENV = TASKS.env
ACTOR = stepping.reset(ENV, TASK, KEY)
LEARNER = references.random(TASKS)
POOL = watermaze.tasks(watermaze.Config(height=4, width=4))
ADAPTER = adapters.Adapter(adapters.Config('Catch-bsuite', permute=True))
MODEL = transformer.Config(
    layers=1, width=8, heads=2, window=4, feed_forward=8).make(ENV)
OFFLINE = distill.Config(batch_size=B, length=L)
ONLINE = rl2.Config(trials=B, minibatches=1, episodes=1)


def take(tree, index):
  return jax.tree.map(lambda x: x[index], tree)


# NumPy's: jax would compile a program for each shape.
def floats(*shape):
  return np.ones(shape, np.float32)


def bools(*shape):
  return np.zeros(shape, bool)


def ints(*shape):
  return np.zeros(shape, np.int8)


def history(*shape):
  return types.History(ints(*shape, 2), ints(*shape), floats(*shape),
                       bools(*shape))


def inputs(*shape):
  return sequence_model.Inputs(*history(*shape))


def transition(*shape):
  return types.Transition(ints(*shape, 2), ints(*shape), floats(*shape),
                          bools(*shape), bools(*shape), ints(*shape, 2))


def zeros_like(function, *args):
  """What a function returns, with zeros in it, for it is not to be run."""
  return jax.tree.map(
      lambda x: KEY if jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
      else np.zeros(x.shape, x.dtype), jax.eval_shape(function, *args))


STATE = zeros_like(lambda key: distill.init(OFFLINE, MODEL, TASKS, key), KEY)
ONLINE_STATE = zeros_like(
    lambda key: rl2.init(ONLINE, MODEL, TASKS, key), KEY)
PARAMS = ONLINE_STATE.params
BATCH = histories.Batch(history(B, L + 1), bools(B))
STEPS = ('action', 'reward', 'done')


def within(name, *fields):
  return [f'{name}.{field}' for field in fields]


class Call(NamedTuple):
  """A call that is right.

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
    'metrics.intervals': Call(
        metrics.intervals, dict(returns=np.ones((2, N, K)), optimum=np.ones(N)),
        ['optimum'], {'returns': np.ones((2, N)), 'optimum': np.ones(N + 1)}),
    'metrics.bootstrap': Call(
        metrics.bootstrap, dict(x=np.ones((1, N, K)), resamples=2), [],
        {'x': np.ones((N, K))}),
    'models.sequence_model.Embedding.__call__': Call(
        lambda inputs: sequence_model.Embedding(MODEL.config, ENV).init(
            KEY, inputs, True), dict(inputs=inputs(L)),
        within('inputs', *STEPS), {'inputs.obs': ints(L - 1, 2)}),
    'models.sequence_model.SequenceModel.__call__': Call(
        lambda inputs: MODEL.apply(PARAMS, inputs), dict(inputs=inputs(L)),
        within('inputs', *STEPS)),
    'models.sequence_model.SequenceModel.logits_and_values': Call(
        lambda inputs: MODEL.apply(
            PARAMS, inputs, method='logits_and_values'),
        dict(inputs=inputs(L)), within('inputs', *STEPS)),
    'models.sequence_model.SequenceModel.step': Call(
        lambda inputs, cache: MODEL.apply(
            PARAMS, inputs, cache, method='step'),
        dict(inputs=inputs(), cache=MODEL.empty_cache()),
        [*within('inputs', *STEPS), *within('cache', 'time', 'rotary')]),
    'models.sequence_model.statistics': Call(
        sequence_model.statistics,
        dict(env=ENV, obs=ints(N, T, 2), reward=floats(N, T)), [],
        {'obs': ints(N, T, 3), 'reward': bools(N, T)}),
    'models.transformer.Block.heads': Call(
        lambda x, rotary: transformer.Block(MODEL.config).init(
            KEY, x, rotary, method='heads'),
        dict(x=floats(L, 8), rotary=floats(2, L, 2)), ['x', 'rotary']),
    'models.transformer.Block.mix': Call(
        lambda x, attended: transformer.Block(MODEL.config).init(
            KEY, x, attended, True, method='mix'),
        dict(x=floats(L, 8), attended=floats(2, L, 4)), ['x', 'attended']),
    'models.transformer.rotary_table': Call(
        transformer.rotary_table, dict(size=4, time=jnp.arange(L)), [],
        {'time': jnp.zeros((L, 1))}),
    'models.transformer.rotate': Call(
        transformer.rotate, dict(x=floats(2, L, 4), rotary=floats(2, L, 2)),
        ['x', 'rotary']),
    'models.transformer.attend': Call(
        transformer.attend,
        dict(q=floats(2, L, 4), k=floats(2, L, 4), v=floats(2, L, 4), window=3,
             dropout=0.5, key=KEY), ['q', 'k', 'v', 'key'], {'key': None}),
    'models.lstm.Layer.__call__': Call(
        lambda x, carry: lstm.Layer(8).init(KEY, x, (carry, carry)),
        dict(x=floats(L, 8), carry=floats(8)), ['x'], {'x': floats(L, 4)}),
    'models.sequence_model.first_inputs': Call(
        sequence_model.first_inputs, dict(env=ENV, obs=ints(2)), [],
        {'obs': ints(3)}),
    'models.in_context.inputs_of': Call(
        in_context.inputs_of, dict(history=history(N, T)),
        within('history', *STEPS[1:]), {'history.obs': ints(N, T - 1, 2)}),
    'models.in_context.inputs_and_actions': Call(
        in_context.inputs_and_actions,
        dict(batch=BATCH),
        [*within('batch.rows', *STEPS), 'batch.is_first']),
    'models.in_context.choose': Call(
        in_context.choose,
        dict(logits=floats(A), temperature=1.0, gumbel=floats(A)),
        ['logits', 'gumbel'], {'gumbel': floats(A - 1)}),
    'models.in_context.advance': Call(
        in_context.advance,
        dict(env=ENV, task=TASK, state=in_context.in_context(
            ENV, MODEL, PARAMS).init(TASK, KEY), action=jnp.int32(0), key=KEY),
        ['action', 'key']),
    'learners.annealed_oracle.noisy': Call(
        annealed_oracle.noisy,
        dict(tasks=TASKS, epsilon=0.5, task=TASK, env_state=ACTOR.env_state,
             key=KEY), ['epsilon', 'key']),
    'envs.bandit.optimal_return': Call(
        bandit.optimal_return, dict(task=bandit.EnvParams(floats(A))),
        ['task.means']),
    'envs.bandit.optimal_policy': Call(
        bandit.optimal_policy,
        dict(task=bandit.EnvParams(floats(A)), state=None, key=KEY),
        ['task.means', 'key']),
    'envs.dark_room.goal_policy': Call(
        dark_room.goal_policy, dict(obs=ints(2), goal=ints(2), key=KEY),
        ['obs', 'goal', 'key']),
    'envs.dark_room.optimal_policy': Call(
        dark_room.optimal_policy,
        dict(task=TASK, state=ACTOR.env_state, key=KEY),
        ['task.goals', 'state.position', 'state.found', 'key']),
    'envs.dark_room.optimal_return': Call(
        dark_room.optimal_return, dict(config=ENV.config, task=TASK),
        ['task.goals']),
    'envs.watermaze.move': Call(
        watermaze.move,
        dict(position=floats(2), heading=0.0, moved=floats(3)),
        ['position', 'heading', 'moved']),
    'envs.watermaze_view.render': Call(
        watermaze_view.render,
        dict(obs=floats(6), height=4, width=4, field_of_view=90.0,
             platform_radius=0.15), ['obs']),
    'envs.watermaze.Watermaze.view': Call(
        POOL.env.view, dict(obs=floats(6)), ['obs']),
    'envs.watermaze.goal_policy': Call(
        watermaze.goal_policy, dict(obs=floats(6), goal=floats(6), key=KEY),
        ['obs', 'goal', 'key']),
    'envs.watermaze.optimal_policy': Call(
        watermaze.optimal_policy,
        dict(task=take(POOL.train, 0), key=KEY,
             state=POOL.env.reset(KEY, take(POOL.train, 0))[1]),
        ['task.platform', 'state.position', 'state.heading', 'key']),
    'envs.adapters.Adapter.sample_task': Call(
        ADAPTER.sample_task, dict(key=KEY), ['key']),
    'envs.adapters.Adapter.inner_action': Call(
        ADAPTER.inner_action,
        dict(action=jnp.int8(0), params=ADAPTER.default_params),
        ['action', 'params.permutation']),
    'learners.stepping.reset': Call(
        stepping.reset, dict(env=ENV, task=TASK, key=KEY),
        ['task.goals', 'task.max_steps_in_episode', 'key']),
    'learners.stepping.step': Call(
        stepping.step,
        dict(env=ENV, task=TASK, actor=ACTOR, action=jnp.int8(0), key=KEY),
        ['task.goals', 'task.max_steps_in_episode', 'action', 'key'],
        {'actor.obs': ints(3)}),
    'learners.stepping.reset_all': Call(
        stepping.reset_all, dict(env=ENV, task=TASK, key=KEY, copies=K),
        ['task.goals', 'key']),
    'learners.stepping.step_all': Call(
        stepping.step_all,
        dict(env=ENV, task=TASK, action=ints(K), key=KEY,
             actors=stepping.reset_all(ENV, TASK, KEY, K)),
        ['task.goals', 'action', 'key'], {'actors.obs': ints(K - 1, 2)}),
    'learners.stepping.single': Call(
        stepping.single, dict(transition=transition()),
        within('transition', *STEPS)),
    'learners.exploration.anneal': Call(
        exploration.anneal,
        dict(start=1.0, end=0.0, steps=9, time=jnp.int32(1)), [],
        {'time': jnp.ones(3)}),
    'learners.exploration.uniform': Call(
        exploration.uniform, dict(key=KEY, calls=3), ['key']),
    'learners.exploration.epsilon_greedy': Call(
        exploration.epsilon_greedy,
        dict(values=floats(A), epsilon=0.1, u=jnp.float32(0.5)),
        ['values', 'epsilon', 'u']),
    'learners.exploration.reduce_values': Call(
        exploration.reduce_values,
        dict(function=jnp.maximum, values=floats(A)), ['values']),
    'learners.exploration.choose_allowed': Call(
        exploration.choose_allowed,
        dict(allowed=bools(A), share=jnp.float32(0.5)),
        ['allowed', 'share']),
    'learners.actor_critic.Network.__call__': Call(
        lambda obs, rewards: actor_critic.Network(
            actor_critic.Config(), ENV).init(KEY, obs, rewards),
        dict(obs=ints(K, 2), rewards=ints(K)), ['rewards'],
        {'obs': ints(K, 3)}),
    'learners.policy_gradient.gae': Call(
        policy_gradient.gae,
        dict(reward_t=floats(T), value_t=floats(T), next_value_t=floats(T),
             terminated_t=bools(T), done_t=bools(T), discount=0.9, lambda_=0.9),
        ['reward_t', 'value_t', 'next_value_t', 'terminated_t', 'done_t']),
    'learners.actor_critic.choose': Call(
        actor_critic.choose, dict(logits=floats(K, A), key=KEY),
        ['logits', 'key']),
    'learners.policy_gradient.log_prob': Call(
        policy_gradient.log_prob, dict(log_probs=floats(K, A), action=ints(K)),
        ['log_probs'], {'action': floats(K)}),
    'learners.policy_gradient.surrogate': Call(
        policy_gradient.surrogate,
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
         'step.transition.action']),
    'learners.dqn.Network.__call__': Call(
        lambda obs, rewards: dqn.Network(dqn.DQN, ENV).init(
            KEY, obs, rewards),
        dict(obs=ints(K, 2), rewards=ints(K)), ['rewards'],
        {'obs': ints(K, 3)}),
    'learners.replay.write': Call(
        replay.write,
        dict(ring=floats(8, K), steps=floats(4, K), time=jnp.int32(0)),
        ['steps', 'time'], {'steps': floats(4, K - 1)}),
    'learners.replay.sample': Call(
        replay.sample,
        dict(key=KEY, ring=floats(8, K), time=jnp.int32(8), batch_size=B,
             length=4), ['key', 'time'], {'ring': floats(8)}),
    'learners.q_lambda.targets': Call(
        q_lambda.targets,
        dict(r_t=floats(T), discount_t=floats(T), trace_t=floats(T),
             q_t=floats(T, A)), ['r_t', 'discount_t', 'trace_t', 'q_t']),
    'learners.q_lambda.traces': Call(
        q_lambda.traces,
        dict(lambda_=0.5, cut=True, transition=transition(T),
             q_t=floats(T, A)),
        ['transition.done', 'q_t'], {'transition.action': floats(T)}),
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
    'types.unroll': Call(
        types.unroll, dict(learner=LEARNER, task=TASK, key=KEY, num_steps=T),
        ['key', 'task.goals']),
    'histories.generate': Call(
        histories.generate,
        dict(learner=LEARNER, tasks=TASKS.train, key=KEY, num_histories=2,
             num_steps=T), ['key'], {'tasks.goals': ints(3, 1, 2)}),
    'histories.check_key': Call(
        histories.check_key, dict(name='key', key=KEY), [],
        {'key': np.zeros(2, np.uint32)}),
    'histories.run': Call(
        histories.run,
        dict(learner=LEARNER, num_steps=T, **dict(zip(
            ('tasks', 'keys'), histories.repeat(TASKS.train, KEY, 2)))),
        ['keys'], {'tasks.goals': ints(11, 3, 1, 2)}),
    'histories.repeat': Call(
        histories.repeat, dict(tasks=TASKS.train, key=KEY, repeats=2),
        ['key'], {'tasks.max_steps_in_episode': 20}),
    'histories.streams': Call(
        histories.streams, dict(history=history(N, K, T)),
        [], {'history.done': bools(N), 'history.action': ints(N, K + 1, T)}),
    **{f'histories.{function.__name__}': Call(
        function,
        dict(history=history(N, T), finite=~bools(N), stride=2, last=1,
             bound=T), [*within('history', *STEPS), 'finite'],
        {'finite': ~bools(N + 1)})
       for function in (histories.select_episodes, histories.select)},
    'histories.sample_subsequences': Call(
        histories.sample_subsequences,
        dict(key=KEY, num_streams=jnp.int32(N), steps=jnp.int32(T),
             batch_size=B, length=L), ['key', 'num_streams', 'steps']),
    'histories.gather': Call(
        histories.gather,
        dict(history=history(N, T), streams=ints(B), starts=ints(B), length=L),
        [*within('history', *STEPS), 'streams', 'starts'],
        {'starts': ints(B + 1)}),
    'methods.training.apply_gradient': Call(
        training.apply_gradient,
        dict(optimizer=distill.optimizer(OFFLINE), state=STATE,
             value=jnp.float32(0), gradient=STATE.params), ['value'],
        {'gradient': jnp.ones(3)}),
    'methods.distill.init': Call(
        distill.init,
        dict(config=OFFLINE, model=MODEL, tasks=TASKS, key=KEY), ['key']),
    'methods.distill.loss': Call(
        distill.loss,
        dict(params=PARAMS, model=MODEL, inputs=inputs(B, L),
             actions=ints(B, L), key=KEY),
        [*within('inputs', *STEPS), 'actions', 'key']),
    'methods.distill.subsequences': Call(
        distill.subsequences,
        dict(config=OFFLINE, key=KEY, num_streams=jnp.int32(N),
             steps=jnp.int32(T)), ['key', 'num_streams', 'steps']),
    'methods.distill.update': Call(
        distill.update,
        dict(config=OFFLINE, model=MODEL, state=STATE, batch=BATCH),
        ['state.key', *within('batch.rows', *STEPS), 'batch.is_first']),
    'methods.rl2.init': Call(
        rl2.init, dict(config=ONLINE, model=MODEL, tasks=TASKS, key=KEY),
        ['key']),
    'methods.rl2.collect_trials': Call(
        rl2.collect_trials,
        dict(config=ONLINE, model=MODEL, params=PARAMS, tasks=TASKS, key=KEY),
        ['key']),
    'methods.rl2.assess': Call(
        rl2.assess,
        dict(config=ONLINE, model=MODEL, params=PARAMS, history=history(N, T)),
        within('history', *STEPS)),
    'methods.rl2.loss': Call(
        rl2.loss,
        dict(params=PARAMS, model=MODEL, config=ONLINE, entropy=0.1, key=KEY,
             batch=rl2.Batch(inputs(B, L), ints(B, L), floats(B, L),
                             floats(B, L), floats(B, L))),
        [*within('batch', 'action', 'log_prob', 'advantage', 'target'),
         *within('batch.inputs', *STEPS), 'entropy', 'key']),
    'methods.rl2.update': Call(
        rl2.update,
        dict(config=ONLINE, model=MODEL, tasks=TASKS, state=ONLINE_STATE),
        ['state.key']),
}

# By the beginning of their names.
EXEMPT = {
    **dict.fromkeys(['arrays.', 'learners.stepping.check_returned'],
                    'these are the refusals'),
    'config.': 'values of fields, not arrays; refused in test_config',
    'devices.': 'any tree is laid out',
    **dict.fromkeys(
        [f'methods.training.{name}' for name in (
            'epoch', 'train', 'updates', 'all_subsequences', 'evaluate',
            'learning_curves')],
        'the states of a method enter its update, tasks histories.repeat, and '
        'what is trained on histories.gather'),
    'methods.training.merge_task_sets': 'counted by types.num_tasks',
    **dict.fromkeys(
        ['methods.training.scale', 'models.sequence_model.with_statistics'],
        'weights of a method\'s own init, and what statistics returned'),
    'models.in_context.in_context': 'weights; flax refuses another model\'s',
    'models.sequence_model.SequenceModel.features': 'entered by its calls',
    'models.sequence_model.SequenceModel.next_features': 'entered by its step',
    'models.transformer.Transformer.': 'entered by those of SequenceModel',
    'models.lstm.LSTM.': 'entered by those of SequenceModel',
    'learners.networks.soften': 'number by number, of any shape',
    'learners.networks.unbounded_entries': 'entered by its Observe and by '
                                           'models.sequence_model.statistics',
    'spaces.': 'what an environment shows; entered by learners.stepping and '
               'learners.networks',
    'types.cached': 'a function, and what that is given',
    'envs.watermaze.optimal_return': 'reads nothing of its task',
    **dict.fromkeys(
        ['envs.dark_room.Config.draw', 'envs.watermaze.Config.draw',
         *(f'envs.{name}.Config.scene'
           for name in ('dark_room', 'bandit', 'watermaze'))],
        'a picture, of what a run has written'),
    'models.transformer.weights_by_age': 'entered by Transformer.attention',
    'agent.Agent.': 'what comes from outside; refused in test_agent',
    'envs.watermaze.Frames.view': 'hands back what it is given',
}
# What stands above the library: values of fields, files and folders.
ABOVE = ('adjax.cli', 'adjax.experiment', 'adjax.page', 'adjax.presets',
         'adjax.storage')
# gymnax calls these; what enters an environment is checked by
# learners.stepping.
GYMNAX = ('action_space', 'observation_space', 'view_space', 'reset_env',
          'step_env', 'observe', 'is_truncated')
# These look at the values of their arrays, so that they take no tracers.
ON_HOST = ('metrics.iqm', 'metrics.intervals', 'metrics.bootstrap')


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
  return x[None] if hasattr(x, 'shape') else np.array([x])


def another_kind(x):
  dtype = jnp.asarray(x).dtype
  if jnp.issubdtype(dtype, jax.dtypes.prng_key):
    return np.zeros(jnp.shape(x), np.uint32)
  is_float = jnp.issubdtype(dtype, jnp.floating)
  return np.zeros(jnp.shape(x), bool if is_float else np.float32)


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
  to_jax = lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x
  run(lambda: (call.function(**jax.tree.map(to_jax, call.given)), None)[1])


def public_functions():
  """(name without adjax, function) of all of them, methods too."""
  for info in pkgutil.walk_packages(adjax.__path__, 'adjax.'):
    if info.name.startswith(ABOVE):
      continue
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
                  types.TaskDistribution, sequence_model.SequenceModel,
                  nn.Module, Mesh, np.random.Generator, training.Data) or (
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
