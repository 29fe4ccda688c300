"""The agent in loops that know nothing of JAX, against the model it is of."""

import collections
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl import flags
from absl.testing import flagsaver
from gymnax.environments import spaces as gymnax_spaces
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import adjax
from adjax import spaces
from adjax import types
from adjax.cli import export
from adjax.cli import play
from adjax.cli import report
from adjax.envs import adapters
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.models import in_context
from adjax.models import lstm
from adjax.models import transformer
from adjax.storage import weights
from tests.test_toymeta import ACTIONS
from tests.test_toymeta import cell_of

ROOT = pathlib.Path(__file__).parents[1]
SIZE, LENGTH, GOAL, STEPS = 5, 7, (2, 1), 60
TRANSFORMER = transformer.Config(
    layers=2, width=16, heads=2, window=12, feed_forward=16, channels=(2,))
LSTM = lstm.Config(layers=2, width=16, channels=(2,))
SPACE = gymnax_spaces.Box(0, SIZE - 1, (2,), jnp.int8)


def header_of(config, space=SPACE, actions=5, seeds=1):
  kind = f'{type(config).__module__}:{type(config).__qualname__}'
  return {'experiment': 'test', 'seeds': seeds, 'actions': actions,
          'model': {**json.loads(json.dumps(vars(config))), 'kind': kind},
          'observation': spaces.to_data(space), 'held_out': {}}


def write(path, header):
  """A file of random weights; returns those of its first seed."""
  rng = np.random.default_rng(1)
  model = weights.model(header)
  # A fresh head is zero, which would hide everything.
  params = jax.tree.map(
      lambda x: rng.normal(scale=0.5, size=(header['seeds'], *x.shape)).astype(
          np.float32), weights._structure(model))
  params['params']['embedding']['statistics'].deviation[:] = 1.5
  weights.save(str(path), header, params)
  return jax.tree.map(lambda x: x[0], params)


@pytest.fixture(scope='module')
def room(tmp_path_factory):
  """A workdir as a run leaves it, as far as an agent needs it."""
  workdir = tmp_path_factory.mktemp('room')
  write(workdir / 'weights.npz', header_of(TRANSFORMER, seeds=2))
  return workdir


class Room:
  """Dark Room without JAX, as a Gymnasium environment is used."""
  MOVES = np.array([(-1, 0), (1, 0), (0, 1), (0, -1), (0, 0)])

  def reset(self):
    self.cell, self.time = np.array((SIZE // 2,) * 2), 0
    return self.cell

  def step(self, action):
    self.cell = np.clip(self.cell + self.MOVES[action], 0, SIZE - 1)
    self.time += 1
    return (self.cell, float((self.cell == GOAL).all()), False,
            self.time == LENGTH)


def drive(agent, steps=STEPS):
  """The history of a life in Room, and the agent's log-probabilities [T, A]."""
  env = Room()
  obs, rows, log_probs = env.reset(), [], []
  for _ in range(steps):
    action = agent.act(obs)
    assert type(action) is int
    seen, (obs, reward, terminated, truncated) = obs, env.step(action)
    agent.observe(reward, terminated or truncated)
    rows.append((seen, action, reward, terminated or truncated))
    log_probs.append(agent.log_probs)
    if truncated:
      obs = env.reset()
  obs, action, reward, done = map(np.array, zip(*rows))
  return types.History(obs.astype(np.int8), action.astype(np.int8),
                       reward.astype(np.float32), done), np.stack(log_probs)


def full_pass(path, history, seed=0):
  """What the model says of a whole history at once, logits [..., T, A]."""
  header, nested = weights.load(str(path))
  model = weights.model(header)
  params = weights.params(header, nested, seed)
  inputs = in_context.inputs_of(history)
  one = lambda inputs: model.apply(params, inputs)
  return jax.jit(one if history.done.ndim == 1 else jax.vmap(one))(inputs)


@pytest.mark.parametrize('config', [TRANSFORMER, LSTM], ids=['rings', 'lstm'])
def test_it_acts_as_the_model_sees_its_whole_life(tmp_path, config):
  """Over the ends of episodes, and of its window; with the temperature."""
  path = tmp_path / 'weights.npz'
  write(path, header_of(config))
  agent = adjax.Agent.load(path, temperature=0.7)
  history, log_probs = drive(agent)
  assert history.done.sum() == STEPS // LENGTH and history.reward.any()
  assert len(set(history.action.tolist())) == 5
  logits = full_pass(path, history)
  np.testing.assert_allclose(
      log_probs, jax.nn.log_softmax(logits / 0.7), atol=2e-5)
  assert np.abs(np.diff(log_probs, axis=0)).max() > 0.1  # It is no constant.


def test_it_acts_as_in_context_does(room):
  """Step by step, the very same numbers, given what that one was told."""
  header, nested = weights.load(str(room / 'weights.npz'))
  model, params = weights.model(header), weights.params(header, nested, 1)
  config = dark_room.Config(size=SIZE, episode_length=LENGTH, num_train=11,
                            num_validation=7, num_held_out=7)
  env = dark_room.DarkRoom(config)
  learner = in_context.in_context(env, model, params)
  task = dark_room.EnvParams(goals=jnp.array([GOAL], jnp.int8),
                             max_steps_in_episode=jnp.int32(LENGTH))

  @jax.jit
  def run(key):
    def step(state, noise):
      logits, _ = model.apply(params, state.inputs, state.cache, method='step')
      state, transition = learner.step(task, state, noise)
      return state, (logits, transition)
    keys = jax.random.split(key)
    return jax.lax.scan(step, learner.init(task, keys[0]),
                        learner.sample_noise(keys[1], STEPS))[1]

  logits, transitions = jax.tree.map(np.asarray, run(jax.random.key(3)))
  agent = adjax.Agent.load(room, seed=1)
  for t in range(STEPS):
    at = jax.tree.map(lambda x, t=t: x[t, 0, 0], transitions)
    agent.act(at.obs)
    np.testing.assert_allclose(
        agent.log_probs, jax.nn.log_softmax(logits[t]), atol=5e-6)
    agent._acted = at.action  # As if that had been drawn.
    agent.observe(at.reward, at.done)


def test_each_of_a_batch_has_a_life_of_its_own(room):
  rng = np.random.default_rng(0)
  agent = adjax.Agent.load(room, batch=3)
  rows, log_probs = [], []
  for _ in range(20):
    obs = rng.integers(0, SIZE, (3, 2))
    action = agent.act(obs)
    assert action.shape == (3,) and action.dtype.kind == 'i'
    reward, done = rng.normal(size=3), rng.random(3) < 0.3
    agent.observe(reward, done)
    rows.append((obs, action, reward, done))
    log_probs.append(agent.log_probs)
  obs, action, reward, done = (np.stack(x, 1) for x in zip(*rows))
  history = types.History(obs.astype(np.int8), action.astype(np.int8),
                          reward.astype(np.float32), done)
  np.testing.assert_allclose(
      np.stack(log_probs, 1), jax.nn.log_softmax(
          full_pass(room / 'weights.npz', history)), atol=2e-5)


def test_actions_are_drawn_as_it_says(room):
  number = 4000
  agent = adjax.Agent.load(room, batch=number)
  action = agent.act(np.tile((1, 3), (number, 1)))
  p = np.exp(agent.log_probs)
  np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
  share = np.bincount(action, minlength=5) / number
  assert (np.abs(share - p[0]) < 4 * np.sqrt(p[0] * (1 - p[0]) / number)).all()
  cold = adjax.Agent.load(room, batch=number, temperature=0)
  assert (cold.act(np.tile((1, 3), (number, 1))) == p[0].argmax()).all()
  np.testing.assert_array_equal(
      cold.log_probs[0], np.where(np.arange(5) == p[0].argmax(), 0, -np.inf))


def test_numbers_of_numpy_are_numbers_and_64_bits_change_nothing(room):
  agent = adjax.Agent.load(room, seed=1, rng=3, temperature=0.5)
  history, said = drive(agent, 10)
  given = [np.int8(1), None, np.int64(3), np.float32(0.5)]
  with adapters.enable_x64(True):
    again, said_again = drive(adjax.Agent.load(room, *given), 10)
  assert said.dtype == said_again.dtype == np.float32
  np.testing.assert_array_equal(history.action, again.action)
  np.testing.assert_allclose(said, said_again, atol=2e-5)


def test_a_copy_goes_on_by_itself_and_a_reset_forgets(room):
  agent, control = (adjax.Agent.load(room, rng=5) for _ in range(2))
  fresh = drive(adjax.Agent.load(room, rng=5), 5)[1]
  for one in agent, control:
    drive(one, 20)
  same, other = agent.copy(), agent.copy(rng=6)
  history, said = drive(agent, 20)
  for one in same, control:  # Its random numbers are copied, too.
    again, said_again = drive(one, 20)
    np.testing.assert_array_equal(said, said_again)
    np.testing.assert_array_equal(history.action, again.action)
  different, said_differently = drive(other, 20)
  np.testing.assert_array_equal(said[0], said_differently[0])
  assert (history.action != different.action).any()
  # In the middle of a step, too.
  agent.act([2, 2])
  branch = agent.copy()
  branch.observe(1.0, False)
  agent.observe(0.0, False)
  assert np.abs(np.subtract(*(
      [one.act([2, 2]), one.log_probs][1] for one in (agent, branch)
  ))).max() > 1e-3
  agent.reset()
  assert agent.log_probs is None
  np.testing.assert_array_equal(drive(agent, 5)[1][0], fresh[0])
  restarted = adjax.Agent.load(room, rng=5)
  np.testing.assert_array_equal(drive(restarted, 5)[1], fresh)


def test_of_an_environment_with_a_view_it_is_given_frames(tmp_path):
  env = watermaze.Watermaze(watermaze.Config(
      height=8, width=8, num_train=2, num_validation=1, num_held_out=1))
  params = write(tmp_path / 'weights.npz', header_of(
      TRANSFORMER, env.view_space(), env.action_space().n))
  agent = adjax.Agent.load(tmp_path)
  rng = np.random.default_rng(0)
  poses = rng.uniform(-0.5, 0.5, (9, 6)).astype(np.float32)
  frames = np.asarray(jax.jit(jax.vmap(env.view))(poses))
  assert frames.dtype == np.uint8 and frames.std() > 10
  said, actions = [], []
  for frame in frames:
    actions.append(agent.act(frame))
    agent.observe(0.0, False)
    said.append(agent.log_probs)
  # The model as it was trained, which is given poses and sees frames.
  history = types.History(
      poses, np.array(actions, np.int8), np.zeros(9, np.float32),
      np.zeros(9, bool))
  logits = jax.jit(TRANSFORMER.make(env).apply)(
      params, in_context.inputs_of(history))
  np.testing.assert_allclose(said, jax.nn.log_softmax(logits), atol=2e-5)


NESTED = gymnax_spaces.Dict({
    'b': gymnax_spaces.Discrete(3),
    'a': gymnax_spaces.Tuple((gymnax_spaces.Box(-3, 9, (2,), jnp.int8),
                              gymnax_spaces.Box(0, 1, (), jnp.float32)))})


def test_observations_are_read_as_they_are_packed():
  env = spaces.Described(NESTED, 2)
  whole = spaces.observation(env)
  some = [collections.OrderedDict(b=b, a=((-b, 7), b / 4)) for b in range(3)]
  packed = np.stack([spaces.pack(env, obs) for obs in some])
  for obs, row in zip(some, packed):
    np.testing.assert_array_equal(
        spaces.read(NESTED, whole, obs), row, strict=True)
  batch = {'b': np.arange(3), 'a': (
      np.array([[-b, 7] for b in range(3)]), np.arange(3) / 4)}
  np.testing.assert_array_equal(
      spaces.read(NESTED, whole, batch, (3,)), packed, strict=True)


@pytest.mark.parametrize('obs, message', [
    ({'b': 1}, "obs=dict: must have the parts ['a'][0], ['a'][1], ['b']"),
    (7, "obs=int: must have the parts ['a'][0], ['a'][1], ['b']"),
    ({'b': 3, 'a': ((0, 0), 0)}, "obs['b']=3: must be an integer from 0 to 2"),
    ({'b': 1.5, 'a': ((0, 0), 0)}, "obs['b']=1.5: must be an integer from 0"),
    ({'b': 1, 'a': ((0, 10), 0)},
     "obs['a'][0][1]=10: must be an integer from -3 to 9"),
    ({'b': 1, 'a': ((0, 0), np.nan)},
     "obs['a'][1]=nan: must be a number from 0 to 1"),
    ({'b': 1, 'a': ((0, 0), 1.2)},
     "obs['a'][1]=1.2: must be a number from 0 to 1"),
    ({'b': 1, 'a': ((0, 0, 0), 0)},
     "obs['a'][0]=int64[3]: must be numbers of shape [2]"),
    ({'b': 'one', 'a': ((0, 0), 0)}, "obs['b']=str: must be numbers of sh"),
    ({'b': 1, 'a': ((0, [0]), 0)}, "obs['a'][0]=tuple: must be numbers of sh"),
])
def test_what_is_no_observation_is_refused_by_its_part(obs, message):
  with pytest.raises(ValueError) as error:
    spaces.read(NESTED, spaces.observation(spaces.Described(NESTED, 2)), obs)
  assert message in str(error.value)


def test_rounding_is_forgiven():
  box = gymnax_spaces.Box(-1, 1, (2,), jnp.float32)
  whole = spaces.observation(spaces.Described(box, 2))
  assert spaces.read(box, whole, [1.001, -1]).dtype == np.float32
  free = gymnax_spaces.Box(-jnp.inf, jnp.inf, (2,), jnp.float32)
  whole = spaces.observation(spaces.Described(free, 2))
  assert spaces.read(free, whole, [1e30, -1]).dtype == np.float32
  with pytest.raises(ValueError, match=r'obs\[0\]=inf: must be a number from'):
    spaces.read(free, whole, [np.inf, -1])


def test_wrong_use_is_one_line(room):
  agent = adjax.Agent.load(room)
  with pytest.raises(ValueError, match=r'^observe: must come after act'):
    agent.observe(0.0, False)
  for wrong in [5, 0], [0.5, 0], [0], [[0, 0]], 'left', None:
    with pytest.raises(ValueError, match=r'^obs'):
      agent.act(wrong)
  agent.act([0, 0])
  with pytest.raises(ValueError, match=r'^act: must come after observe'):
    agent.act([0, 0])
  for reward, done, message in [
      (np.nan, False, 'reward=nan: must be finite'),
      ([0.0], False, r'reward=\[0.0\]: must be finite'),
      ('much', False, "reward='much': must be finite"),
      (0.0, None, 'done=None: must be True or False'),
      (0.0, 2, 'done=2: must be True or False'),
      (0.0, [True], r'done=\[True\]: must be True or False')]:
    with pytest.raises(ValueError, match=message):
      agent.observe(reward, done)
  agent.observe(1, np.int64(0))  # What it was refused has changed nothing.
  agent.act([0, 0])
  two = adjax.Agent.load(room, batch=2)
  for wrong in [0, 0], [[0, 0]] * 3:
    with pytest.raises(ValueError, match=r'must be numbers of shape \[2, 2\]'):
      two.act(wrong)
  two.act([[0, 0]] * 2)
  with pytest.raises(ValueError, match=r'reward=.*finite, of shape \[2\]'):
    two.observe(0.0, [False, True])


@pytest.mark.parametrize('options, message', [
    ({'seed': 2}, 'seed=2: must be an integer from 0 to 1'),
    ({'batch': 0}, 'batch=0: must be None, or how many'),
    ({'batch': 1.0}, 'batch=1.0: must be None, or how many'),
    ({'rng': -1}, 'rng=-1: must be an integer from 0'),
    ({'temperature': -0.5}, 'temperature=-0.5: must be at least 0'),
    ({'temperature': float('nan')}, 'temperature=nan: must be at least 0'),
    ({'temperature': '1'}, "temperature='1': must be at least 0"),
])
def test_arguments_are_refused_by_name(room, options, message):
  with pytest.raises(ValueError) as error:
    adjax.Agent.load(room, **options)
  assert message in str(error.value)


def test_a_workdir_without_weights_says_why(tmp_path):
  def refusal():
    with pytest.raises(ValueError) as error:
      adjax.Agent.load(tmp_path)
    return str(error.value)
  assert refusal() == (f'workdir={tmp_path}: must have a weights.npz, and there'
                       ' is no run')
  (tmp_path / 'config.json').write_text('{}')
  assert 'not finished; the same command or call resumes it' in refusal()
  (tmp_path / 'result.json').write_text('{}')
  assert 'it was finished by an adjax that kept none' in refusal()
  with pytest.raises(ValueError, match="workdir='gs://bucket': must be a f"):
    adjax.Agent.load('gs://bucket')


def test_the_pretrained_earns_elsewhere_what_it_says():
  """Driven by hand through another project's Dark Room (as test_toymeta)."""
  from toymeta import dark_room as theirs
  runs = 4
  batch = runs * 8
  agent = adjax.Agent.pretrained('dark_room', batch=batch)
  stated = agent.header['held_out']
  tasks = dict(agent.header['tasks'])
  del tasks['kind']
  config = dark_room.Config(**tasks)
  goals = np.asarray(dark_room.tasks(config).held_out.goals)[:, 0]
  assert len(goals) == 8
  envs = [theirs.DarkRoom(
      config.size, np.array((config.size - 1 - y, x)), False, False)
          for x, y in goals for _ in range(runs)]
  returns = np.zeros((25, batch))  # Two and a half windows.
  for episode in returns:
    states = [env.reset(seed=0)[0] for env in envs]
    for t in range(config.episode_length):
      action = agent.act([cell_of(state, config.size) for state in states])
      steps = [env.step(ACTIONS[a]) for env, a in zip(envs, action)]
      states, rewards = [s[0] for s in steps], np.array([s[1] for s in steps])
      agent.observe(rewards, np.full(batch, t == config.episode_length - 1))
      episode += rewards
  # When it is learning, and when it has learnt.
  for few in slice(0, 5), slice(15, 25):
    by_run = returns[few].mean(0).reshape(8, runs)
    error = np.sqrt((by_run.var(1, ddof=1) / runs).mean() / 8)
    low, high = np.mean(np.array(stated['ci95'])[:, few], 1)
    slack = 2 * error + 0.05  # Where all are optimal no run errs.
    assert low - slack < by_run.mean() < high + slack, few
  assert returns[-10:].mean() > 0.9 * stated['optimum']
  assert returns[0].mean() < 0.5 * stated['optimum']


def test_played_without_a_terminal_it_rises():
  screen = io.StringIO()
  screen.isatty = lambda: False
  agent = adjax.Agent.pretrained('dark_room')
  returns = play.play(agent, ['7,6'], 25, play.Screen(screen))
  first, *lines = screen.getvalue().splitlines()
  assert 'goal at 7,6' in first and 'is 16' in first
  assert len(lines) == len(returns) == 25
  assert lines[-1].startswith(f'episode 25  return {returns[-1]:g}')
  assert np.mean(returns[:2]) < 0.5 * 16 and np.mean(returns[-5:]) > 0.85 * 16
  for goals, message in [
      (['9,0'], '--goal=9,0: must be a cell x,y with both from 0 to 8'),
      (['a,0'], '--goal=a,0: must be a cell'),
      (['1'], '--goal=1: must be a cell'),
      (['1,1', '2,2'], '--goal: must be given 1 times here, not 2')]:
    with pytest.raises(ValueError, match=message):
      play.play(agent, goals, 1, play.Screen(screen))
  del agent.header['tasks']
  with pytest.raises(ValueError, match='WORKDIR: must be a run on a grid'):
    play.play(agent, [], 1, play.Screen(screen))


def test_on_a_terminal_the_grid_is_drawn_in_place():
  class Terminal(io.StringIO):
    encoding = 'ascii'
    isatty = lambda self: True
  screen = play.Screen(file := Terminal())
  screen.begin({'experiment': 'x'}, 3, [[2, 0]], 4.0)
  for visited in [(1, 1), (1, 2)], [(1, 1), (1, 2), (0, 2)]:
    screen.step(visited, np.full(5, 0.2), [4.0, 1.0])
  drawn = [text.split('\n') for text in file.getvalue().split('\033[5A')]
  plain = [[line.replace('\033[2K', '') for line in lines] for lines in drawn]
  assert plain[1][:3] == [' \033[1;36m@\033[0m o .', ' . o .',
                          ' . . \033[33mX\033[0m']
  assert plain[1][3] == (
      'left 0.20  right 0.20  up 0.20  down 0.20  stay 0.20')
  assert plain[1][4] == 'step 2    episode 2   return 1    @-'


@pytest.mark.parametrize('batch', [None, 2])
def test_what_is_exported_says_what_the_agent_says(room, tmp_path, batch):
  """Read back by the example, which knows no adjax."""
  header, nested = weights.load(str(room / 'weights.npz'))
  for name, data in export.export(
      header, weights.params(header, nested), batch).items():
    (tmp_path / f'{name}.stablehlo').write_bytes(data)
  path = ROOT / 'examples' / 'read_export.py'
  assert 'adjax' not in path.read_text().split('"""')[2]
  spec = importlib.util.spec_from_file_location('read_export', path)
  example = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(example)
  reset, step = (exported.call for exported in example.load(tmp_path))
  agent = adjax.Agent.load(room, batch=batch)
  shape = () if batch is None else (batch,)
  rng = np.random.default_rng(0)
  cache = reset()
  action, reward, done = np.full(shape, -1), np.zeros(shape), np.zeros(shape)
  for _ in range(20):  # Past the window.
    obs = rng.integers(0, SIZE, (*shape, 2), np.int8)
    logits, cache = step(
        cache, obs, np.asarray(action, np.int8),
        np.asarray(reward, np.float32), np.asarray(done, bool))
    action = agent.act(obs)
    np.testing.assert_allclose(
        agent.log_probs, jax.nn.log_softmax(logits), atol=1e-5)
    reward, done = rng.normal(size=shape), rng.random(shape) < 0.3
    agent.observe(reward, done)


def command(module, *arguments):
  """The exit code of a command, which runs in this process."""
  with (mock.patch.object(sys, 'argv', []), flagsaver.flagsaver(),
        pytest.raises(SystemExit) as left):
    for flag in flags.FLAGS._flags().values():
      flag.unparse()
    module.start(['adjax', *map(str, arguments)])
  flags.FLAGS.unparse_flags()
  return left.value.code


def test_the_programs_are_written_beside_the_weights(room, capsys):
  assert command(export, room, '--seed=1') == 0
  assert (room / 'step.stablehlo').stat().st_size > 1000
  assert 'step.stablehlo' in capsys.readouterr().out
  for arguments, message in [
      ([], 'error: WORKDIR: must be given, as in adjax export runs/quick\n'),
      ([room / 'none'], f'error: workdir={room}/none: must have a weights.npz, '
       'and there is no run\n'),
      ([room, '--seed=2'], 'error: seed=2: must be an integer from 0 to 1, one '
       'of the training seeds\n'),
      ([room, room], f"error: unexpected argument '{room}'\n")]:
    assert command(export, *arguments) == 1
    assert capsys.readouterr().err == message


@pytest.mark.parametrize('module, arguments, message', [
    (export, ['FOLDER', '--pretrained=dark_room'],
     '--pretrained: is no flag of adjax export'),
    (report, ['FOLDER', '--seed=1'], '--seed: is no flag of adjax report'),
    (play, ['FOLDER', '--pretrained=dark_room'],
     'adjax play: must be given a WORKDIR or --pretrained=NAME, not both'),
    (play, ['--seed=1'], 'seed=1: must be an integer from 0 to 0, one of the '
     'training seeds'),
])
def test_no_flag_is_left_unread(room, capsys, module, arguments, message):
  assert command(module, *(
      room if word == 'FOLDER' else word for word in arguments)) == 1
  assert capsys.readouterr().err == f'error: {message}\n'


def test_play_is_a_command(capsys):
  assert command(play, '--goal=4,5', '--episodes=2', '--seed=0') == 0
  assert len(capsys.readouterr().out.splitlines()) == 3
  assert command(play, '--pretrained=maze') == 1
  assert capsys.readouterr().err.startswith(
      "error: pretrained='maze': must be one of dark_room")


@pytest.mark.long
@pytest.mark.on_cpu
def test_a_step_takes_less_than_a_millisecond(tmp_path):
  write(tmp_path / 'weights.npz', header_of(
      transformer.Config(), gymnax_spaces.Box(0, 8, (2,), jnp.int8)))
  code = '\n'.join([
      'import sys, time, adjax, numpy',
      'agent, times = adjax.Agent.load(sys.argv[1]), []',
      'for _ in range(1000):',
      '  start = time.perf_counter()',
      '  agent.act((4, 4)); agent.observe(0.0, False)',
      '  times.append(time.perf_counter() - start)',
      'print(numpy.median(times))'])
  found = subprocess.run(
      [sys.executable, '-c', code, str(tmp_path)], check=True, text=True,
      capture_output=True, env=os.environ | {'XLA_FLAGS': ''})
  assert float(found.stdout) < 1e-3
