"""The ways to train: in memory, from a store, endlessly; sick learners."""

import jax
import jax.numpy as jnp
import pytest

from adjax import types
from experiments import configs
from experiments import pipeline
from experiments import stored
from tests import test_run


def run(workdir, *assignments, stop_after=None):
  """A tiny run: what it said."""
  quiet = test_run.Quiet(stop_after)
  pipeline.run(test_run.tiny('seeds=1', *assignments), str(workdir), quiet)
  return quiet.said


def stopped(workdir, *assignments, stop_after):
  with pytest.raises(KeyboardInterrupt):
    run(workdir, *assignments, stop_after=stop_after)


def figures(workdir):
  """All lines and the result, but for clocks and where histories were."""
  return test_run.timeless(workdir)


@pytest.fixture(scope='module', autouse=True)
def compiled_fast():
  """Half the time of compiling, which is nearly all that is done here."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.fixture(scope='module')
def in_memory(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('in_memory')
  run(workdir)
  return figures(workdir)


@pytest.fixture(scope='module')
def store_dir(tmp_path_factory, in_memory):
  """A store, made by a run that ended as the one in memory did."""
  folder = tmp_path_factory.mktemp('stored')
  said = run(folder / 'run', f'data.store={folder}/store')
  assert any('block 8 of 8' in text for text in said)
  assert figures(folder / 'run') == in_memory
  return folder / 'store'


def test_a_store_that_is_there_is_read(tmp_path, in_memory, store_dir):
  before = {path: path.stat().st_mtime_ns for path in store_dir.rglob('*')}
  stopped(tmp_path, f'data.store={store_dir}', stop_after=1)
  said = run(tmp_path, f'data.store={store_dir}')
  assert not any('block' in text for text in said)
  assert figures(tmp_path) == in_memory
  assert before == {
      path: path.stat().st_mtime_ns for path in store_dir.rglob('*')}


def test_histories_of_another_config_are_refused(tmp_path, store_dir):
  with pytest.raises(ValueError, match=r'data\.episodes: 4 -> 5'):
    run(tmp_path, f'data.store={store_dir}', 'data.episodes=5')


def test_interrupted_generation_goes_on(tmp_path, in_memory, monkeypatch):
  generate, calls = pipeline.Clock.run, []

  def die(self, stage, *args):
    calls.append(stage)
    if calls == ['generate'] * 4:
      raise KeyboardInterrupt
    return generate(self, stage, *args)

  monkeypatch.setattr(pipeline.Clock, 'run', die)
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path / 'run', f'data.store={tmp_path}/store')
  run(tmp_path / 'run', f'data.store={tmp_path}/store')
  assert calls.count('generate') == 4 + 5  # The fourth was not made at first.
  assert figures(tmp_path / 'run') == in_memory


def test_a_chunk_is_as_long_as_its_rows_allow():
  for updates, most, chunks in (
      (10, 50, [10]), (100, 50, [50, 50]), (101, 50, [34, 34, 33]),
      (3, 1, [1, 1, 1])):
    assert stored._chunks(updates, most) == chunks


def test_endless_histories_follow_from_the_epoch_alone(tmp_path, in_memory):
  """Taken up in the middle of two epochs that share theirs."""
  run(tmp_path / 'whole', 'data.refresh=2')
  stopped(tmp_path / 'cut', 'data.refresh=2', stop_after=1)
  run(tmp_path / 'cut', 'data.refresh=2')
  assert figures(tmp_path / 'cut') == figures(tmp_path / 'whole')
  once, anew = (lines[0]['loss'] for lines, _ in (
      in_memory, figures(tmp_path / 'whole')))
  assert once != anew


def sicken(monkeypatch, share):
  """A source whose values become NaN for such a share of its keys."""
  make = configs.make_source

  def make_sick(config, tasks):
    well = make(config, tasks)

    def init(task, key):
      sick = jax.random.uniform(jax.random.fold_in(key, 1)) < share
      return well.init(task, key), jnp.float32(0), sick

    def step(task, state, chance):
      inner, value, sick = state
      inner, transition = well.step(task, inner, chance)
      return (inner, jnp.where(sick, jnp.nan, value), sick), transition

    return types.Learner(init, step, well.stride, well.draw)

  monkeypatch.setattr(configs, 'make_source', make_sick)


def test_source_learners_that_fall_ill_are_dropped_and_named(
    tmp_path, monkeypatch):
  sicken(monkeypatch, 0.1)
  said = run(tmp_path / 'memory')
  dropped, = (text for text in said if 'dropped' in text)
  number = int(dropped.split()[1])
  assert 3 < number < 40 and ': learner ' in dropped
  said = run(tmp_path / 'run', f'data.store={tmp_path}/store')
  assert dropped in said
  assert figures(tmp_path / 'run') == figures(tmp_path / 'memory')


def test_if_all_fall_ill_nothing_is_distilled(tmp_path, monkeypatch):
  sicken(monkeypatch, 2.0)
  with pytest.raises(FloatingPointError, match='every learner fell ill'):
    run(tmp_path / 'run')
  assert not (tmp_path / 'run' / 'checkpoints').exists()


def test_a_store_is_not_made_anew():
  with pytest.raises(ValueError, match=r"data\.refresh=2: must be 0 with data\."
                     "store='x'"):
    test_run.tiny('data.refresh=2', 'data.store=x')


def test_seeds_and_a_mesh_must_divide():
  assert jax.device_count() == 1
  with pytest.raises(ValueError, match=r'--mesh=data:2: .* at most 1 devices'):
    pipeline.make_mesh(test_run.tiny(), 'data:2')
  assert pipeline.make_mesh(test_run.tiny(), 'data:1') is None
