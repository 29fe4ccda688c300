"""The main job: what it writes, how it is taken up again, what it refuses."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from adjax import checkpoint
from adjax import config as config_lib
from adjax import lstm
from adjax import model as model_lib
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.learners import references
from experiments import configs
from experiments import pipeline
from experiments import presets
from experiments import progress
from experiments import report
from experiments import run as run_lib
from experiments import training as training_lib

ROOT = pathlib.Path(__file__).parents[1]
TINY = [
    'data.histories=2', 'data.episodes=4', 'model.layers=1', 'model.width=16',
    'model.window=40', 'model.feed_forward=32', 'distill.epochs=3',
    'distill.updates_per_epoch=4', 'distill.batch_size=4', 'distill.length=60',
    'evaluate.episodes=5', 'evaluate.runs=1', 'evaluate.train_tasks=3',
    'evaluate.held_out_runs=2', 'evaluate.reference_runs=3', 'seeds=2',
    'tasks.num_validation=7',
]


def tiny(*more):
  """The quick preset made tiny; more assignments come in place of these."""
  merged = dict(text.split('=') for text in [*TINY, *more])
  return config_lib.override(
      presets.get('quick'), [f'{name}={text}' for name, text in merged.items()])


class Quiet(progress.Progress):
  """Keeps what it is told, and stops the run after an epoch if asked to."""

  def __init__(self, stop_after=None):
    super().__init__(3)
    self.said, self._stop_after = [], stop_after

  def say(self, text):
    self.said.append(text)

  def epoch(self, line, seconds_left):
    if line['epoch'] == self._stop_after:
      raise KeyboardInterrupt


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('finished')
  pipeline.run(tiny(), str(workdir), Quiet())
  return workdir


@pytest.fixture
def stopped(tmp_path, finished):
  """A run stopped after two epochs of three."""
  with pytest.raises(KeyboardInterrupt):
    pipeline.run(tiny(), str(tmp_path), Quiet(stop_after=2))
  return tmp_path


def read(workdir):
  lines = [json.loads(line) for line in
           (workdir / 'metrics.jsonl').read_text().splitlines()]
  return lines, json.loads((workdir / 'result.json').read_text())


def timeless(workdir):
  """All that a run has written but for its clocks."""
  lines, result = read(workdir)
  for line in lines:
    del line['seconds'], line['transitions_per_s']
  del result['seconds'], result['throughput']
  return lines, result


def weights(workdir):
  """The bytes of the newest checkpoint's arrays."""
  experiment = tiny()
  tasks = configs.make_tasks(experiment.tasks)
  source = configs.make_source(experiment.source, tasks)
  model = configs.make_model(experiment.model, tasks)
  training = training_lib.make(
      experiment, tasks, source, model, jax.random.key(0))
  like = pipeline.init_states(experiment, training, jax.random.key(0))
  step, state = checkpoint.Checkpoints(str(workdir / 'checkpoints')).restore(
      like, lambda text: None)
  state = state._replace(key=jax.random.key_data(state.key))
  return step, [np.asarray(x).tobytes() for x in jax.tree.leaves(state)]


def test_a_run_writes_what_it_promises(finished):
  lines, result = read(finished)
  assert [line['epoch'] for line in lines] == [1, 2, 3]
  assert set(result) >= {
      'experiment', 'seeds', 'parameters', 'updates', 'transitions_trained',
      'heldout', 'validation', 'train', 'source', 'oracle', 'random',
      'seconds', 'throughput', 'device', 'versions'}
  heldout = result['heldout']
  assert np.shape(heldout['optimum']) == (8,)
  assert np.shape(heldout['return_mean']) == np.shape(
      heldout['return_iqm']) == (5,)
  assert np.shape(heldout['ci95']) == (2, 5)
  assert np.shape(heldout['per_task']) == (8, 5)
  np.testing.assert_allclose(
      np.mean(heldout['per_task'], 0), heldout['return_mean'])
  low, high = heldout['ci95']
  assert (np.array(low) <= heldout['return_mean']).all()
  assert (np.array(high) >= heldout['return_mean']).all()
  assert min(result['throughput'].values()) > 0
  assert result['oracle'] == pytest.approx(np.mean(heldout['optimum']))
  assert result['random'] < 1 and result['updates'] == 12
  assert result['transitions_trained'] == 2 * 12 * 4 * 60
  assert set(result['seconds']) == {
      'compile', 'generate', 'train', 'evaluate', 'total'}
  for name in ('validation', 'train'):
    assert result[name]['return_mean'] == lines[-1][name]['return_mean']
  saved = json.loads((finished / 'config.json').read_text())
  assert saved['config']['distill']['batch_size'] == 4
  assert saved['versions']['jax'] == jax.__version__


def test_the_pictures_are_drawn(finished):
  for name in ('curve.png', 'visits.png'):
    picture = plt.imread(finished / name)
    assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05


def test_a_finished_run_says_so_and_does_nothing(finished):
  before = {path: path.stat().st_mtime_ns for path in finished.rglob('*')}
  quiet = Quiet()
  result = pipeline.run(tiny(), str(finished), quiet)
  assert 'nothing to do' in quiet.said[0]
  assert result == read(finished)[1]
  assert before == {
      path: path.stat().st_mtime_ns for path in finished.rglob('*')}


def test_a_stopped_run_ends_as_if_it_had_not_stopped(finished, stopped):
  assert not (stopped / 'result.json').exists()
  quiet = Quiet()
  pipeline.run(tiny(), str(stopped), quiet)
  assert any('after epoch 2 of 3' in text for text in quiet.said)
  assert timeless(stopped) == timeless(finished)
  assert weights(stopped) == weights(finished)


def test_a_damaged_checkpoint_costs_one_epoch(finished, stopped):
  newest = next(p for p in (stopped / 'checkpoints').iterdir()
                if p.name.endswith('2'))
  for path in newest.rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  quiet = Quiet()
  pipeline.run(tiny(), str(stopped), quiet)
  assert any('checkpoint 2 does not load' in text for text in quiet.said)
  assert any('after epoch 1 of 3' in text for text in quiet.said)
  assert timeless(stopped) == timeless(finished)


def test_another_config_is_refused_and_nothing_lost(finished):
  before = sorted(p.read_bytes() for p in finished.rglob('*') if p.is_file())
  with pytest.raises(
      ValueError, match=r'another config.*distill\.batch_size: 4 -> 8; seed'):
    pipeline.run(tiny('distill.batch_size=8', 'seed=1'), str(finished), Quiet())
  assert before == sorted(
      p.read_bytes() for p in finished.rglob('*') if p.is_file())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  """With a warm-up whose first step is nothing, and so steep a second."""
  steep = tiny('distill.learning_rate=1e30', 'distill.clip=1e30',
               'distill.warmup=4', 'distill.updates_per_epoch=6')
  with pytest.raises(FloatingPointError, match=r'10 updates .* by epoch 2'):
    pipeline.run(steep, str(tmp_path), Quiet())
  assert not (tmp_path / 'result.json').exists()
  path = tmp_path / 'metrics.jsonl'
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  assert [line['skipped'] for line in lines] == [[5, 5], [6, 6]]
  assert lines[1]['skipped_in_all'] == [11, 11]
  assert lines[1]['ended_early'] == [0, 1]
  assert checkpoint.Checkpoints(str(tmp_path / 'checkpoints')).steps == [1, 2]
  # Taken up again it says the same, and does no more.
  with pytest.raises(FloatingPointError, match=r'10 updates .* by epoch 2'):
    pipeline.run(steep, str(tmp_path), Quiet())
  assert len(path.read_text().splitlines()) == 2


def test_a_run_stopped_inside_a_save_loses_nothing(
    tmp_path, finished, monkeypatch):
  """Stopped right after a checkpoint was written, before anything else."""
  save = checkpoint.Checkpoints.save
  def stop(self, step, state):
    save(self, step, state)
    if step == 3:
      raise KeyboardInterrupt
  monkeypatch.setattr(checkpoint.Checkpoints, 'save', stop)
  with pytest.raises(KeyboardInterrupt):
    pipeline.run(tiny(), str(tmp_path), Quiet())
  monkeypatch.undo()
  pipeline.run(tiny(), str(tmp_path), Quiet())
  assert timeless(tmp_path) == timeless(finished)


def made(experiment):
  """The histories that a run would distil."""
  tasks = configs.make_tasks(experiment.tasks)
  source = configs.make_source(experiment.source, tasks)
  model = configs.make_model(experiment.model, tasks)
  training = training_lib.make(
      experiment, tasks, source, model, jax.random.key(0))
  training.compile(
      pipeline.make_evaluation(experiment, tasks, jax.random.key(1)),
      pipeline.init_states(experiment, training, jax.random.key(2)),
      pipeline.Clock())
  training.begin(pipeline.Clock(), Quiet())
  return training.history


def test_histories_are_of_training_tasks_and_results_of_held_out_ones(
    monkeypatch):
  """Seen from the cells where reward was paid, in what the pipeline makes."""
  experiment = tiny('data.histories=8')
  tasks = configs.make_tasks(experiment.tasks)
  history = made(experiment)
  # An oracle in place of the model: it goes where its task pays.
  monkeypatch.setattr(
      pipeline.distill.in_context_lib, 'in_context',
      lambda env, model, params, temperature: references.oracle(tasks))
  states = pipeline.distill.TrainState(np.zeros((2, 1)), (), 0, 0, 0)
  live = pipeline.held_out(
      experiment, tasks, None, states, jax.random.key(0), pipeline.Clock())
  _, lives = live(states.params)['held_out']
  for found, expected in ((history, tasks.train), (lives, tasks.held_out)):
    paid = np.asarray(found.reward)[..., :-1] > 0
    paid &= ~np.asarray(found.done)[..., :-1]
    cells = np.asarray(found.obs)[..., 1:, :][paid]
    goals = {tuple(g) for g in np.asarray(expected.goals)[:, 0]}
    paid_at = {tuple(c) for c in cells}
    assert paid_at <= goals and len(paid_at) > 0.8 * len(goals)


def small(name, *assignments):
  """A preset made tiny: a minute of nobody's time."""
  return config_lib.override(presets.get(name), [
      'tasks.num_train=6', 'tasks.num_validation=3', 'tasks.num_held_out=3',
      'evaluate.runs=1', 'evaluate.train_tasks=2', 'evaluate.held_out_runs=2',
      'evaluate.reference_runs=4', *assignments])


def test_rl2_runs_and_is_taken_up_like_distillation(tmp_path):
  experiment = small(
      'dark_room_rl2', 'tasks.size=5', 'model.layers=1', 'model.width=16',
      'model.window=40', 'rl2.epochs=2', 'rl2.updates_per_epoch=2',
      'rl2.trials=4', 'rl2.minibatches=2', 'rl2.episodes=2',
      'evaluate.episodes=3')
  experiment = dataclasses.replace(experiment, source=None)
  pipeline.run(experiment, str(tmp_path / 'whole'), Quiet())
  with pytest.raises(KeyboardInterrupt):
    pipeline.run(experiment, str(tmp_path / 'cut'), Quiet(stop_after=1))
  pipeline.run(experiment, str(tmp_path / 'cut'), Quiet())
  assert timeless(tmp_path / 'cut') == timeless(tmp_path / 'whole')
  lines, result = read(tmp_path / 'whole')
  assert lines[-1]['trial_return'] >= 0
  assert result['updates'] == 4 and 'source' not in result
  assert result['transitions_trained'] == 4 * 4 * 2 * 20


def test_shifted_tasks_are_reported_beside_the_held_out_ones(tmp_path):
  """And an LSTM stands where a transformer stood."""
  experiment = dataclasses.replace(
      small('bandit', 'data.histories=2', 'distill.epochs=1',
            'distill.updates_per_epoch=2', 'distill.batch_size=4',
            'evaluate.episodes=30'),
      model=lstm.Config(width=16))
  result = pipeline.run(experiment, str(tmp_path), Quiet())
  sets = {'odd': result['heldout'], **result['shifted']}
  assert set(sets) == {'odd', 'even', 'uniform'}
  tasks = configs.make_tasks(experiment.tasks)
  for name, some in sets.items():
    means = (tasks.held_out if name == 'odd' else tasks.shifted[name]).means
    np.testing.assert_allclose(some['optimum'], np.max(means, 1), rtol=1e-6)
    others = result if name == 'odd' else some
    ours, source = (np.mean(x['return_mean']) for x in (some, others['source']))
    assert some['normalised'] == pytest.approx(
        (ours - others['random']) / (source - others['random']))
    assert 0.2 < others['random'] < 0.8 and source > others['random']
  assert 'remember' not in result and not (tmp_path / 'visits.png').exists()
  assert (tmp_path / 'curve.png').exists()


def test_experts_are_the_ends_of_the_same_histories():
  whole, experts = (made(tiny('data.episodes=6', f'data.tail={tail}'))
                    for tail in (0, 3))
  assert experts.done.shape[1] == 60 < whole.done.shape[1]
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:, -60:]),
               experts, whole)


def test_a_source_of_many_actors_is_drawn_twice():
  per_actor = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
  np.testing.assert_array_equal(report.aggregate(per_actor, 1), per_actor)
  np.testing.assert_array_equal(
      report.aggregate(per_actor, 2), [1, 1, 2, 2, 3])


def test_an_environment_without_a_known_optimum_is_reported_as_it_is(tmp_path):
  """CartPole by adapter, its source a learner of many actors."""
  experiment = dataclasses.replace(
      small('cartpole', 'data.episodes=4', 'data.every=1',
            'distill.epochs=1', 'distill.updates_per_epoch=2',
            'distill.batch_size=4', 'distill.length=40', 'model.layers=1',
            'model.width=16', 'model.window=20', 'evaluate.episodes=2'))
  result = pipeline.run(experiment, str(tmp_path), Quiet())
  assert result['optimum_known'] is False and 'oracle' not in result
  assert result['source']['actors'] == experiment.source.actors
  assert len(result['source']['aggregate']) == 2
  assert 5 < result['heldout']['return_mean'][0] < 200


def test_the_water_maze_is_learned_from_frames_and_drawn(tmp_path):
  result = pipeline.run(small(
      'watermaze', 'data.histories=1', 'data.episodes=2', 'distill.epochs=1',
      'distill.updates_per_epoch=2', 'distill.batch_size=2',
      'distill.length=60', 'model.layers=1', 'model.width=16',
      'model.window=40', 'model.channels=4', 'evaluate.episodes=3'),
      str(tmp_path), Quiet())
  assert result['heldout']['optimum'] == [1, 1, 1] and result['oracle'] == 1
  assert result['source']['return_mean'][-1] > result['random']
  picture = plt.imread(tmp_path / 'visits.png')
  assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05


def test_the_papers_presets_have_the_papers_values():
  """Laskin et al. (2022), the tables of appendix."""
  for name, masking, attention, smoothing in (
      ('paper', 0.3, 0.5, 0.0), ('paper_hard', 0.5, 0.0, 0.2),
      ('paper_key_to_door', 0.3, 0.5, 0.0),
      ('paper_watermaze', 0.3, 0.5, 0.0)):
    preset = presets.get(name)
    assert preset == presets.get(name, 'gpu')
    model, distill = preset.model, preset.distill
    assert (model.width, model.layers, model.heads, model.feed_forward) == (
        64, 4, 4, 2048)
    assert (model.dropout, model.attention_dropout, model.input_masking) == (
        0.1, attention, masking)
    assert (distill.b1, distill.b2, distill.learning_rate, distill.clip,
            distill.weight_decay) == (0.9, 0.99, 3e-4, 1.0, 0.0)
    assert distill.label_smoothing == smoothing
    assert distill.batch_size == (16 if name == 'paper_watermaze' else 128)
  a2c, q = actor_critic.A2C_PAPER, dqn.DQN_PAPER
  assert (a2c.actors, a2c.trace, a2c.discount, a2c.entropy, a2c.hidden) == (
      100, 0.95, 0.99, 0.01, (128, 128, 128))
  assert (q.actors, q.trace, q.discount, q.epsilon, q.length, q.batch_size,
          q.target_period, q.clip_norm) == (16, 0.75, 0.9, 0.01, 40, 8, 50, 10)
  for paper in (a2c, q):
    assert (paper.learning_rate, paper.b1, paper.b2, paper.adam_epsilon) == (
        1e-4, 0.9, 0.999, 1e-6)


def test_rewards_that_thompson_sampling_is_not_for_are_refused():
  with pytest.raises(ValueError, match=r"source\.rewards='bernoulli'.*those"):
    config_lib.override(
        presets.get('bandit_thompson'), ['tasks.reward=gaussian'])
  config_lib.override(presets.get('bandit_thompson'), [
      'tasks.reward=gaussian', 'source.rewards=gaussian'])


@pytest.mark.parametrize('name, text, message', [
    ('config.json', '', r"config\.json: must be JSON with 'config'"),
    ('config.json', '[1]', r"config\.json: must be JSON with 'config'"),
    ('result.json', '{}', r"result\.json: must be JSON with 'heldout'"),
])
def test_a_damaged_file_is_named(finished, tmp_path, name, text, message):
  shutil.copytree(finished, tmp_path / 'run')
  (tmp_path / 'run' / name).write_text(text)
  with pytest.raises(ValueError, match=message):
    pipeline.run(tiny(), str(tmp_path / 'run'), Quiet())


def test_lost_metrics_are_named(stopped):
  (stopped / 'metrics.jsonl').unlink()
  with pytest.raises(ValueError, match='a line for each of the 2 epochs'):
    pipeline.run(tiny(), str(stopped), Quiet())


def test_a_folder_of_something_else_is_refused(finished, tmp_path):
  shutil.copytree(finished, tmp_path / 'run')
  (tmp_path / 'run' / 'config.json').unlink()
  with pytest.raises(ValueError, match=r'holds result\.json, .* no config'):
    pipeline.run(tiny('seed=1'), str(tmp_path / 'run'), Quiet())


@pytest.mark.parametrize('arguments, message', [
    (['--experiment=dark'], '--experiment=dark: must be one of quick, dark_ro'),
    (['--set=model.widht=3'], 'model.widht: no such field; allowed here: mode'),
    (['--set=model.width=wide'], 'model.width=wide: must be an integer'),
    (['--set=model.width=30', '--set=model.heads=4'],
     'model.width=30: must be a multiple of twice model.heads=4'),
    (['--set=data.episodes=2'],
     'distill.length=300: must be at most 40, the steps of a history as it is'),
    (['--set=rl2.trials=5'], 'rl2.trials: there is no rl2 in this preset'),
    (['--set=model.channels=0'],
     'model.channels=(0,): must be a tuple of widths of at least 1'),
    (['--seeds=0'], 'seeds=0: must be at least 1'),
    (['--workdir=/proc/nowhere'],
     '--workdir=/proc/nowhere: must be a folder that can be written'),
    (['--set=model.window=301'],
     'distill.length=300: must be at least model.window=301'),
    (['--set=seed=-1'], 'seed=-1: must be from 0 to'),
    (['quick'], "unexpected argument 'quick'"),
])
def test_bad_input_is_one_clear_line(arguments, message, tmp_path):
  found = subprocess.run(
      [sys.executable, '-m', 'experiments.run',
       f'--workdir={tmp_path}/run', *arguments], cwd=ROOT, capture_output=True,
      text=True, env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  assert found.returncode != 0
  assert message in found.stderr and found.stderr.startswith('error: ')
  assert len(found.stderr.strip().splitlines()) == 1
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('size', ['cpu', 'gpu'])
def test_every_preset_fits_together_and_help_names_it(size):
  assert tuple(presets.PRESETS) == run_lib.NAMES
  for name in presets.PRESETS:
    preset = presets.get(name, size)
    assert preset.name == name
    tasks = configs.make_tasks(preset.tasks)
    assert configs.make_source(preset.source, tasks).stride >= 1
    model = configs.make_model(preset.model, tasks)
    steps = preset.evaluate.episodes * tasks.episode_length
    assert isinstance(model, model_lib.SequenceModel)
    if preset.distill is not None:
      # Train and decode with the same mask, or all of a life in it.
      reach = preset.model.least_length
      assert preset.distill.length >= min(1.5 * reach, steps)
