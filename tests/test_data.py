"""What runs are trained on: histories in memory, stored or regenerated."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

from adjax import config as config_lib
from adjax import types
from adjax.experiment import clock
from adjax.experiment import run as run_lib
from adjax.experiment import setup as setup_lib
from adjax.experiment import stored
from adjax.learners import posterior
from adjax.methods import training
from adjax.models import transformer
from tests import tiny


def run(workdir, *assignments, stop_after=None):
  """A tiny run of one seed: what it said."""
  return tiny.run(tiny.fast('seeds=1', 'method.epochs=2', *assignments),
                  workdir, stop_after)[0]


@pytest.fixture(scope='module')
def in_memory(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('in_memory')
  run(workdir)
  return tiny.timeless(workdir)


@pytest.fixture(scope='module')
def store_dir(tmp_path_factory, in_memory):
  """A store, made by a run that ended as the one in memory did."""
  folder = tmp_path_factory.mktemp('stored')
  said = run(folder / 'run', f'data.store={folder}/store')
  assert any('block 8 of 8' in text for text in said)
  assert tiny.timeless(folder / 'run') == in_memory
  return folder / 'store'


def test_a_store_that_is_there_is_read(tmp_path, in_memory, store_dir):
  before = {path: path.stat().st_mtime_ns for path in store_dir.rglob('*')}
  run(tmp_path, f'data.store={store_dir}', stop_after=1)
  said = run(tmp_path, f'data.store={store_dir}')
  assert not any('block' in text for text in said)
  assert tiny.timeless(tmp_path) == in_memory
  assert before == {
      path: path.stat().st_mtime_ns for path in store_dir.rglob('*')}


def test_histories_of_another_config_are_refused(tmp_path, store_dir):
  with pytest.raises(ValueError, match=r'data\.episodes: 4 -> 5'):
    run(tmp_path, f'data.store={store_dir}', 'data.episodes=5')


def test_interrupted_generation_goes_on(tmp_path, in_memory, monkeypatch):
  run_program, calls = clock.Clock.run, []

  def die(self, stage, *args):
    calls.append(stage)
    if stage == 'generate' and calls.count('generate') == 4:
      raise KeyboardInterrupt
    return run_program(self, stage, *args)

  monkeypatch.setattr(clock.Clock, 'run', die)
  run(tmp_path / 'run', f'data.store={tmp_path}/store', stop_after=9)
  assert calls.count('generate') == 4
  run(tmp_path / 'run', f'data.store={tmp_path}/store')
  assert calls.count('generate') == 4 + 5  # The fourth was not made at first.
  assert tiny.timeless(tmp_path / 'run') == in_memory


def test_a_chunk_is_as_long_as_its_rows_allow():
  for updates, most, chunks in (
      (10, 50, [10]), (100, 50, [50, 50]), (101, 50, [34, 34, 33]),
      (3, 1, [1, 1, 1])):
    assert stored._chunks(updates, most) == chunks


def test_regenerated_histories_follow_from_the_epoch_alone(
    tmp_path, in_memory):
  """Resumed in the middle of two epochs that share theirs."""
  run(tmp_path / 'whole', 'data.regenerate_every=2')
  run(tmp_path / 'cut', 'data.regenerate_every=2', stop_after=1)
  run(tmp_path / 'cut', 'data.regenerate_every=2')
  assert tiny.timeless(tmp_path / 'cut') == tiny.timeless(tmp_path / 'whole')
  once, anew = (lines[0]['loss'] for lines, _ in (
      in_memory, tiny.timeless(tmp_path / 'whole')))
  assert once != anew


@dataclasses.dataclass(frozen=True)
class Diverging(config_lib.Checked):
  """Posterior sampling whose values become NaN for such a share of its keys."""
  share: float = 0.1

  def make(self, tasks):
    inner = posterior.learner(posterior.Config(), tasks)

    def init(task, key):
      diverges = jax.random.uniform(
          jax.random.fold_in(key, 1)) < self.share
      return inner.init(task, key), jnp.float32(0), diverges

    def step(task, state, noise):
      state, value, diverges = state
      state, transition = inner.step(task, state, noise)
      return (state, jnp.where(diverges, jnp.nan, value), diverges), transition

    return types.Learner(init, step, inner.steps_per_call, inner.sample_noise)


def test_source_learners_that_diverge_are_left_out_and_named(tmp_path):
  experiment = dataclasses.replace(
      tiny.fast('seeds=1', 'method.epochs=1'), source=Diverging())
  said, _ = tiny.run(experiment, tmp_path / 'memory')
  left_out, = (text for text in said if 'left out' in text)
  number = int(left_out.split()[2])
  assert 3 < number < 40 and ': learner ' in left_out
  in_store = dataclasses.replace(experiment, data=dataclasses.replace(
      experiment.data, store=f'{tmp_path}/store'))
  said, _ = tiny.run(in_store, tmp_path / 'run')
  assert left_out in said
  assert tiny.timeless(tmp_path / 'run') == tiny.timeless(tmp_path / 'memory')


@pytest.mark.parametrize('regenerate_every', [
    0, pytest.param(1, marks=pytest.mark.long)])
def test_if_all_diverge_nothing_is_distilled(tmp_path, regenerate_every):
  experiment = dataclasses.replace(
      tiny.fast('seeds=1', f'data.regenerate_every={regenerate_every}'),
      source=Diverging(2.0))
  with pytest.raises(FloatingPointError, match='every learner diverged'):
    tiny.run(experiment, tmp_path / 'run')
  assert not list((tmp_path / 'run').glob('checkpoints/*'))


def test_a_store_is_not_regenerated():
  with pytest.raises(ValueError, match=r"^data\.regenerate_every=2: must be 0 "
                     "with store='x'"):
    tiny.fast('data.regenerate_every=2', 'data.store=x')


def test_numbers_are_scaled_by_what_histories_hold(store_dir):
  """Whatever they are kept in, and before the first update only."""
  kept = {}
  for name, more in (('memory', []), ('store', [f'data.store={store_dir}'])):
    experiment = tiny.fast('seeds=1', 'method.epochs=2', *more)
    with tiny.shared_programs(experiment):
      setup = setup_lib.make(experiment, 'data:1')
      compiled = clock.Clock(setup.mesh)
      data = run_lib.make_data(setup, compiled, tiny.Recorder())
      states = run_lib.init_states(setup, compiled)
      data.compile(states)
      data.begin()
    # The model here has no embedding; weights that have one stand in for its.
    model = transformer.Config(layers=1, width=16, window=8).make(
        setup.tasks.env)
    params = jax.tree.map(lambda x: x[None], model.init(
        jax.random.key(0), training.example_inputs(model, setup.tasks)))
    scaled = data.scale(states._replace(params=params))
    kept[name] = scaled.params['params']['embedding']['statistics']
    if name == 'memory':
      rewards = jax.device_get(
          data.selected.history.reward)[:, :int(data.selected.steps)]
      assert rewards.std() > 0.1
      assert abs(kept[name].mean[0, -1] - rewards.mean()) < 0.05
      assert abs(kept[name].deviation[0, -1] - rewards.std()) < 0.05
  chex.assert_trees_all_equal(kept['memory'], kept['store'])
