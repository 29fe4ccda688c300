"""One run: what it writes, how it is resumed, what it refuses."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import adjax
from adjax import devices
from adjax import presets
from adjax.envs import dark_room
from adjax.experiment import clock as clock_lib
from adjax.experiment import memory
from adjax.experiment import report
from adjax.experiment import rollouts
from adjax.experiment import run as run_lib
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.learners import references
from adjax.methods import distill
from adjax.methods import training
from adjax.models import sequence_model
from adjax.page import write as page
from adjax.storage import checkpoint
from tests import guard
from tests import tiny

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('finished')
  tiny.run(tiny.fast(), workdir)
  return workdir


@pytest.fixture
def stopped(tmp_path, finished):
  """A run stopped after two epochs of three."""
  assert tiny.run(tiny.fast(), tmp_path, stop_after=2)[1] is None
  return tmp_path


def weights(workdir):
  """The bytes of the newest checkpoint's arrays."""
  setup = setup_lib.make(tiny.fast(), 'data:1')
  like = run_lib.init_states(setup, clock_lib.Clock())
  step, state = checkpoint.Checkpoints(str(workdir / 'checkpoints')).restore(
      like, lambda text: None)
  state = state._replace(key=jax.random.key_data(state.key))
  return step, [np.asarray(x).tobytes() for x in jax.tree.leaves(state)]


def test_a_run_writes_what_it_promises(finished):
  lines, result = tiny.read(finished)
  assert [line['epoch'] for line in lines] == [1, 2, 3]
  assert set(result) >= {
      'experiment', 'seeds', 'parameters', 'updates', 'transitions_trained',
      'held_out', 'validation', 'train', 'source', 'oracle', 'random',
      'random_walk_with_memory', 'seconds', 'throughput', 'device', 'versions'}
  held_out = result['held_out']
  assert np.shape(held_out['optimum']) == (8,)
  assert np.shape(held_out['return_mean']) == np.shape(
      held_out['return_iqm']) == (5,)
  assert np.shape(held_out['ci95']) == (2, 5)
  assert np.shape(held_out['per_task']) == (8, 5)
  np.testing.assert_allclose(
      np.mean(held_out['per_task'], 0), held_out['return_mean'])
  low, high = held_out['ci95']
  assert (np.array(low) <= held_out['return_mean']).all()
  assert (np.array(high) >= held_out['return_mean']).all()
  assert min(result['throughput'].values()) > 0
  assert result['oracle'] == pytest.approx(np.mean(held_out['optimum']))
  assert result['random'] < 1 and result['updates'] == 12
  assert result['transitions_trained'] == 2 * 12 * 4 * 60
  assert set(result['seconds']) == {
      'compile', 'generate', 'train', 'evaluate', 'total'}
  for name in ('validation', 'train'):
    assert result[name]['return_mean'] == lines[-1][name]['return_mean']
  saved = json.loads((finished / 'config.json').read_text())
  assert saved['config']['method']['batch_size'] == 4
  assert saved['config']['method']['kind'] == 'adjax.methods.distill:Config'
  assert saved['versions']['jax'] == jax.__version__
  assert {x['format'] for x in (saved, result, *lines)} == {1}
  with np.load(finished / 'returns.npz', allow_pickle=False) as returns:
    assert returns['held_out/model'].shape == (2, 8, 2, 5)
    np.testing.assert_allclose(
        returns['held_out/model'].mean((0, 1, 2)), held_out['return_mean'])
    for name in ('source', 'random_walk_with_memory'):
      assert returns[f'held_out/{name}'].shape == (8, 3, 5)
      np.testing.assert_allclose(returns[f'held_out/{name}'].mean((0, 1)),
                                 result[name]['return_mean'], rtol=1e-6)
    for name in ('random', 'oracle'):
      assert returns[f'held_out/{name}'].mean() == pytest.approx(result[name])


def test_the_pictures_are_drawn(finished):
  for name in ('curve.png', 'visits.png'):
    picture = plt.imread(finished / name)
    assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05


def test_a_picture_that_cannot_be_drawn_costs_no_result(
    tmp_path, monkeypatch):
  """Nor do rollouts that memory is too small for, which are not begun."""
  def draw(*args):
    raise RuntimeError('of somebody')

  def check(needs, devices):
    asked.update(needs)
    return real({name: 10**18 if name == 'rollouts' else x
                 for name, x in needs.items()}, devices)

  asked, real = {}, memory.check
  monkeypatch.setattr(dark_room.Config, 'draw', draw)
  monkeypatch.setattr(memory, 'check', check)
  said, result = tiny.run(tiny.fast(), tmp_path)
  assert any('a picture was not drawn: Runtime' in text for text in said)
  assert any(re.match(r'rollouts were not kept: .* the most for rollouts; .*'
                      'lower evaluate.episodes', text) for text in said)
  assert asked['rollouts'] > 0
  assert (tmp_path / 'report.html').exists()
  assert not (tmp_path / 'rollouts.npz').exists()
  assert result == tiny.read(tmp_path)[1]


def test_a_page_that_cannot_be_drawn_costs_no_result(tmp_path, monkeypatch):
  def fail(*args, **kwargs):
    raise RuntimeError('of somebody')

  def make(*args):
    assert (tmp_path / 'weights.npz').exists()  # They are safe by then.
    return {'header': np.array('{}')}

  monkeypatch.setattr(rollouts, 'make', make)
  monkeypatch.setattr(rollouts, 'save', fail)
  monkeypatch.setattr(page, 'page', fail)
  said, result = tiny.run(tiny.fast(), tmp_path)
  assert said[-1].endswith(f'{tmp_path}/result.json')
  assert any('rollouts were not kept: Runtime' in text for text in said)
  assert any('report.html was not drawn: Runtime' in text for text in said)
  assert result == tiny.read(tmp_path)[1]
  assert (tmp_path / 'weights.npz').exists()


def test_a_finished_run_says_so_and_does_nothing(finished):
  before = {path: path.stat().st_mtime_ns for path in finished.rglob('*')}
  said, result = tiny.run(tiny.fast(), finished)
  assert 'nothing to do' in said[0]
  assert result == tiny.read(finished)[1]
  assert before == {
      path: path.stat().st_mtime_ns for path in finished.rglob('*')}


def test_a_stopped_run_ends_as_if_it_had_not_stopped(finished, stopped):
  assert not (stopped / 'result.json').exists()
  said, _ = tiny.run(tiny.fast(), stopped)
  assert any('after epoch 2 of 3' in text for text in said)
  assert tiny.timeless(stopped) == tiny.timeless(finished)
  assert weights(stopped) == weights(finished)


def test_a_damaged_checkpoint_costs_one_epoch(finished, stopped):
  newest = next(p for p in (stopped / 'checkpoints').iterdir()
                if p.name.endswith('2'))
  for path in newest.rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  said, _ = tiny.run(tiny.fast(), stopped)
  assert any('checkpoint 2 does not load' in text for text in said)
  assert any('after epoch 1 of 3' in text for text in said)
  assert tiny.timeless(stopped) == tiny.timeless(finished)


def test_another_config_is_refused_and_nothing_lost(finished):
  before = sorted(p.read_bytes() for p in finished.rglob('*') if p.is_file())
  with pytest.raises(
      ValueError, match=r'another config.*method\.batch_size: 4 -> 8; seed'):
    tiny.run(tiny.fast('method.batch_size=8', 'seed=1'), finished)
  assert before == sorted(
      p.read_bytes() for p in finished.rglob('*') if p.is_file())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  """With a warm-up whose first step is nothing, and so steep a second."""
  steep = tiny.fast('method.learning_rate=1e30', 'method.max_grad_norm=1e30',
                     'method.warmup=4', 'method.updates_per_epoch=6')
  with pytest.raises(FloatingPointError, match=r'10 updates .* by epoch 2'):
    tiny.run(steep, tmp_path)
  assert not (tmp_path / 'result.json').exists()
  path = tmp_path / 'metrics.jsonl'
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  assert [line['skipped'] for line in lines] == [[5, 5], [6, 6]]
  assert lines[1]['skipped_total'] == [11, 11]
  assert lines[1]['ended_early'] == [0, 1]
  assert checkpoint.Checkpoints(str(tmp_path / 'checkpoints')).steps == [1, 2]
  # Resumed it says the same, and does no more.
  with pytest.raises(FloatingPointError, match=r'10 updates .* by epoch 2'):
    tiny.run(steep, tmp_path)
  assert len(path.read_text().splitlines()) == 2


def test_a_run_stopped_inside_a_save_loses_nothing(
    tmp_path, finished, monkeypatch):
  """Stopped right after a checkpoint was written, before anything else."""
  save = checkpoint.Checkpoints.save
  def stop(self, step, state):
    save(self, step, state)
    if step == 3:
      raise KeyboardInterrupt
  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.Checkpoints, 'save', stop)
    tiny.run(tiny.fast(), tmp_path, stop_after=4)
  tiny.run(tiny.fast(), tmp_path)
  assert tiny.timeless(tmp_path) == tiny.timeless(finished)


def selected(experiment):
  """The histories that a run would distil."""
  setup = setup_lib.make(experiment, 'data:1')
  clock = clock_lib.Clock()
  data = run_lib.make_data(setup, clock, tiny.Recorder())
  data.compile(jax.eval_shape(
      jax.vmap(setup.trainer.init), jax.random.split(setup.keys.train, 2)))
  data.begin()
  return data.selected.history, int(data.selected.steps)


def test_histories_are_of_training_tasks_and_results_of_held_out_ones():
  """Seen from the cells where reward was paid, in what a run generates."""
  experiment = tiny.fast('data.histories=8')
  history, _ = selected(experiment)
  setup = setup_lib.make(experiment, 'data:1')
  # An oracle in place of the model: it goes where its task pays.
  setup = setup._replace(trainer=setup.trainer._replace(
      learner=lambda params, temperature: references.oracle(setup.tasks)))
  states = training.TrainState(np.zeros((2, 1)), (), 0, 0, 0)
  evaluated = run_lib.compile_held_out(
      setup, clock_lib.Clock(), states)(states.params)['held_out'][1]
  for found, expected in ((history, setup.tasks.train),
                          (evaluated, setup.tasks.held_out)):
    paid = np.asarray(found.reward)[..., :-1] > 0
    paid &= ~np.asarray(found.done)[..., :-1]
    cells = np.asarray(found.obs)[..., 1:, :][paid]
    goals = {tuple(g) for g in np.asarray(expected.goals)[:, 0]}
    paid_at = {tuple(c) for c in cells}
    assert paid_at <= goals and len(paid_at) > 0.8 * len(goals)


RL2 = ('tasks.size=5', 'model.layers=1', 'model.width=16', 'model.window=40',
       'method.epochs=2', 'method.updates_per_epoch=2', 'method.trials=4',
       'method.minibatches=2', 'method.episodes=2', 'evaluate.episodes=3')


def test_rl2_runs_and_is_resumed_like_distillation(tmp_path):
  experiment = tiny.preset('dark_room_rl2', 'source=none', *RL2)
  tiny.run(experiment, tmp_path / 'whole')
  tiny.run(experiment, tmp_path / 'cut', stop_after=1)
  said, _ = tiny.run(experiment, tmp_path / 'cut')
  assert any('after epoch 1 of 2' in text for text in said)
  whole, cut = (tiny.timeless(tmp_path / x) for x in ('whole', 'cut'))
  assert cut == whole
  lines, result = whole
  assert result['transitions_trained'] == 2 * 2 * 4 * 2 * 20
  assert 'source' not in result and 'trial_return' in lines[0]


@pytest.mark.long
def test_shifted_tasks_are_evaluated_and_normalised(tmp_path):
  experiment = dataclasses.replace(
      tiny.preset('bandit', 'data.histories=2', 'method.epochs=1',
                  'method.updates_per_epoch=2', 'method.batch_size=4',
                  'evaluate.episodes=30'),
      model=tiny.NullConfig())
  _, result = tiny.run(experiment, tmp_path)
  sets = {'odd': result['held_out'], **result['shifted']}
  assert set(sets) == {'odd', 'even', 'uniform'}
  tasks = experiment.tasks.make()
  for name, some in sets.items():
    means = (tasks.held_out if name == 'odd' else tasks.shifted[name]).means
    np.testing.assert_allclose(some['optimum'], np.max(means, 1), rtol=1e-6)
    others = result if name == 'odd' else some
    ours, source = (np.mean(x['return_mean']) for x in (some, others['source']))
    assert some['normalised'] == pytest.approx(
        (ours - others['random']) / (source - others['random']))
    assert 0.2 < others['random'] < 0.8 and source > others['random']
  assert 'random_walk_with_memory' not in result
  assert not (tmp_path / 'visits.png').exists()
  assert (tmp_path / 'curve.png').exists()


@pytest.mark.long
def test_experts_are_the_ends_of_the_same_histories():
  (whole, steps), (experts, last) = (
      selected(tiny.fast('data.episodes=6', f'data.last_episodes={last}'))
      for last in (0, 3))
  assert last == 60 == experts.done.shape[1] and steps == 120
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:, -60:]),
               experts, whole)


def test_a_source_of_many_actors_is_drawn_twice():
  per_actor = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
  np.testing.assert_array_equal(report.aggregate(per_actor, 1), per_actor)
  np.testing.assert_array_equal(
      report.aggregate(per_actor, 2), [1, 1, 2, 2, 3])


@pytest.mark.long
def test_an_environment_without_a_known_optimum_is_reported_as_it_is(tmp_path):
  """CartPole by adapter, its source a learner of many actors."""
  experiment = tiny.preset(
      'cartpole', 'data.episodes=4', 'data.episode_stride=1',
      'method.epochs=1', 'method.updates_per_epoch=2', 'method.batch_size=4',
      'method.length=40', 'model.layers=1', 'model.width=16',
      'model.window=20', 'evaluate.episodes=2')
  _, result = tiny.run(experiment, tmp_path)
  assert result['optimum_known'] is False and 'oracle' not in result
  assert result['source']['actors'] == experiment.source.actors
  assert len(result['source']['aggregate']) == 2
  assert 5 < result['held_out']['return_mean'][0] < 200


@pytest.mark.long
def test_the_water_maze_is_learned_from_frames_and_drawn(tmp_path):
  _, result = tiny.run(tiny.preset(
      'watermaze', 'data.histories=1', 'data.episodes=2', 'method.epochs=1',
      'method.updates_per_epoch=2', 'method.batch_size=2', 'method.length=60',
      'model.layers=1', 'model.width=16', 'model.window=40',
      'model.channels=4', 'evaluate.episodes=3'), tmp_path)
  assert result['held_out']['optimum'] == [1, 1, 1] and result['oracle'] == 1
  assert result['source']['return_mean'][-1] > result['random']
  picture = plt.imread(tmp_path / 'visits.png')
  assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05


@pytest.mark.parametrize('assignments', [
    (), ('data.store=STORE',),
    pytest.param(('data.regenerate_every=1',), marks=pytest.mark.long),
    pytest.param(('method=rl2',), marks=pytest.mark.long)],
    ids=['memory', 'store', 'regenerated', 'online'])
@pytest.mark.four_devices
def test_no_operation_outside_a_program_meets_several_devices(
    tmp_path, monkeypatch, assignments):
  """On two devices, begun and resumed, to the pictures; see guard."""
  fields = [text.replace('STORE', f'{tmp_path}/store') for text in assignments]
  experiment = tiny.fast()
  if 'method=rl2' in fields:
    fields = ['method=rl2', 'data=none', *RL2[5:9]]
  experiment = specification.override(experiment, fields)
  with guard.only_programs_of_the_clock(monkeypatch) as compiled:
    tiny.run(experiment, tmp_path / 'run', 1, 'data:2')
    _, result = tiny.run(experiment, tmp_path / 'run', mesh='data:2')
  assert result['updates'] and {1, 2} == set(compiled)


@pytest.mark.four_devices
def test_the_guard_sees_what_it_is_for(monkeypatch):
  mesh = devices.parse_mesh('data:2')
  with guard.only_programs_of_the_clock(monkeypatch):
    x = jax.device_put(np.arange(4), devices.replicated(mesh))
    with pytest.raises(AssertionError, match='over 2 devices is compiled'):
      x[:2].block_until_ready()


def test_training_seeds_differ_and_more_of_them_do_not_change_the_first():
  two, three = (
      run_lib.init_states(setup_lib.make(tiny.fast(f'seeds={seeds}'), 'data:1'),
                          clock_lib.Clock()) for seeds in (2, 3))
  keys = jax.random.key_data(three.key)
  assert len(np.unique(keys, axis=0)) == 3
  np.testing.assert_array_equal(jax.random.key_data(two.key), keys[:2])
  kernels = [x for x in jax.tree.leaves(three.params) if np.ptp(x) > 0]
  assert kernels and all((x[0] != x[1]).any() for x in kernels)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:2]),
               two.params, three.params)


def test_curves_are_of_all_validation_tasks_and_of_some_training_tasks():
  setup = setup_lib.make(tiny.fast(), 'data:1')
  found = setup.evaluation.tasks
  assert set(found) == {'validation', 'train'}
  np.testing.assert_array_equal(
      found['validation'].goals, setup.tasks.validation.goals)
  np.testing.assert_array_equal(
      found['train'].goals, setup.tasks.train.goals[:3])


def test_the_papers_presets_have_the_papers_values():
  """Laskin et al. (2022), the tables of appendix."""
  for name, masking, attention, smoothing in (
      ('paper', 0.3, 0.5, 0.0), ('paper_hard', 0.5, 0.0, 0.2),
      ('paper_key_to_door', 0.3, 0.5, 0.0),
      ('paper_watermaze', 0.3, 0.5, 0.0)):
    preset = presets.get(name)
    assert preset == presets.get(name, 'gpu')
    model, method = preset.model, preset.method
    assert (model.width, model.layers, model.heads, model.feed_forward) == (
        64, 4, 4, 2048)
    assert (model.dropout, model.attention_dropout, model.input_masking) == (
        0.1, attention, masking)
    assert (method.b1, method.b2, method.learning_rate, method.max_grad_norm,
            method.weight_decay) == (0.9, 0.99, 3e-4, 1.0, 0.0)
    assert method.label_smoothing == smoothing
    assert method.batch_size == (16 if name == 'paper_watermaze' else 128)
  a2c, q = actor_critic.A2C_PAPER, dqn.DQN_PAPER
  assert (a2c.actors, a2c.lambda_, a2c.discount, a2c.entropy, a2c.hidden) == (
      100, 0.95, 0.99, 0.01, (128, 128, 128))
  assert (q.actors, q.lambda_, q.discount, q.epsilon, q.length, q.batch_size,
          q.target_period) == (16, 0.75, 0.9, 0.01, 40, 8, 50)
  for paper in (a2c, q):
    assert (paper.learning_rate, paper.b1, paper.b2, paper.adam_epsilon) == (
        1e-4, 0.9, 0.999, 1e-6)


@pytest.mark.parametrize('name, text, message', [
    ('config.json', '', r'config\.json: must be a JSON object'),
    ('config.json', '[1]', r'config\.json: must be a JSON object'),
    ('config.json', '{}', r'config\.json: was written by an older adjax'),
    ('config.json', '{"format": 1}', r"config\.json: must have 'config'"),
    ('result.json', '{"format": 1}', r"result\.json: must have 'held_out'"),
])
def test_a_damaged_file_is_named(finished, tmp_path, name, text, message):
  shutil.copytree(finished, tmp_path / 'run')
  (tmp_path / 'run' / name).write_text(text)
  with pytest.raises(ValueError, match=message):
    tiny.run(tiny.fast(), tmp_path / 'run')


def test_lost_metrics_are_named(stopped):
  (stopped / 'metrics.jsonl').unlink()
  with pytest.raises(ValueError, match='a line for each of the 2 epochs'):
    tiny.run(tiny.fast(), stopped)


def test_a_folder_of_something_else_is_refused(finished, tmp_path):
  shutil.copytree(finished, tmp_path / 'run')
  (tmp_path / 'run' / 'config.json').unlink()
  with pytest.raises(ValueError, match=r'holds result\.json, .* no config'):
    tiny.run(tiny.fast('seed=1'), tmp_path / 'run')


@pytest.mark.parametrize('size', ['cpu', 'gpu'])
def test_every_preset_fits_together(size):
  for name in presets.PRESETS:
    preset = presets.get(name, size)
    assert preset.name == name and presets.describe(name)
    setup = setup_lib.make(preset, 'data:1')
    assert setup.source is None or setup.source.steps_per_call >= 1
    steps = preset.evaluate.episodes * setup.tasks.episode_length
    assert isinstance(setup.model, sequence_model.SequenceModel)
    if isinstance(preset.method, distill.Config):
      # Train and decode with the same mask, or all of a rollout in it.
      reach = preset.model.min_length
      assert preset.method.length >= min(1.5 * reach, steps)


def test_a_run_prints_nothing_and_sets_nothing(tmp_path, capfd, caplog):
  before = jax.config.values.copy()
  experiment = tiny.fast()
  with caplog.at_level('INFO', 'adjax'), tiny.shared_programs(experiment):
    result = adjax.run(experiment, tmp_path / 'run', mesh='data:1')
  assert result == tiny.read(tmp_path / 'run')[1]
  assert capfd.readouterr().out == ''
  assert any('epoch 1/3' in record.message for record in caplog.records)
  assert jax.config.values == before


@pytest.mark.long
@pytest.mark.parametrize('setting', [
    {'JAX_ENABLE_X64': '1'},
    {'JAX_NUMPY_DTYPE_PROMOTION': 'strict',
     'JAX_NUMPY_RANK_PROMOTION': 'raise'}], ids=['64 bits', 'strictly'])
def test_a_run_is_made_whatever_is_set_of_jax(setting, tmp_path):
  done = subprocess.run(
      [sys.executable, '-m', 'adjax.cli', 'run', f'--workdir={tmp_path}/run',
       '--mesh=data:1', *(f'--set={text}' for text in tiny.QUICK)],
      env=os.environ | setting | {'JAX_PLATFORMS': 'cpu'}, check=False,
      capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'run' / 'result.json').exists()
