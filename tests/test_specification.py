"""Experiments as values: chosen, loaded, described, refused."""

import dataclasses
import json
import sys

from IPython.core import interactiveshell
import pytest

import adjax
from adjax import presets
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.experiment import setup as setup_lib
from adjax.experiment import specification
from adjax.learners import tabular_q
from adjax.methods import rl2
from adjax.models import lstm

QUICK = presets.get('quick')


def test_components_are_chosen_by_name_before_fields_are_set():
  found = specification.override(QUICK, [
      'source.epsilon=0.25', 'source=tabular_q', 'model=lstm',
      'tasks=adjax.envs.dark_room:KEY_TO_DOOR', 'method=rl2', 'data=none'])
  assert found == dataclasses.replace(
      QUICK, source=tabular_q.Config(epsilon=0.25), model=lstm.Config(),
      tasks=dark_room.KEY_TO_DOOR, method=rl2.Config(), data=None)


@pytest.mark.parametrize('assignment, message', [
    ('source=tabular', r'^source=tabular: must be one of actor_critic, .*ucb'),
    ('source=os:path', r'^source=.*: must be an instance of a frozen data'),
    ('tasks=nowhere:X', r'^tasks=nowhere:X: cannot be imported'),
    ('tasks=nowhere.py:X', r'^tasks=nowhere\.py:X: cannot be imported'),
    ('source=adjax.learners.ucb:X', r'^source=.*has no X; it has .*Config'),
    ('data=everything', r'^data=everything: must be none or default'),
    ('method=none', r'^method=none: must be one of distill, rl2'),
    ('distill.length=3', r'^distill\.length: is now method\.length'),
    ('rl2.trials=3', r'^rl2\.trials: is now method\.trials'),
    ('distill.clip=3', r'^distill\.clip: is now method\.max_grad_norm'),
    ('source=noise', r'^source=noise: is now source=annealed_oracle'),
    ('data.every=3', r'^data\.every: is now data\.episode_stride'),
    ('method.clip=3', r'^method\.clip: is now method\.max_grad_norm'),
    ('model.width=0', r'^model\.width=0: must be at least 1'),
    ('model.width=1.5', r'^model\.width=1\.5: must be an integer'),
    ('seed=-1', r'^seed=-1: must be from 0 to 2\*\*32 - 1'),
    ('seeds=0', r'^seeds=0: must be at least 1'),
])
def test_what_cannot_be_set_is_named(assignment, message):
  with pytest.raises(ValueError, match=message):
    specification.override(QUICK, [assignment])


@pytest.mark.parametrize('changes, message', [
    ({'method.length': 400}, r'^method\.length=400: must be at most 300, the'),
    ({'model.window': 301}, r'^method\.length=300: must be at least model'),
    ({'source': 'none'}, r'^source, data: must be there'),
    ({'method': 'rl2'}, r'^data: must be None for rl2'),
    ({'source': 'thompson'}, r"^source\.rewards='bernoulli'"),
])
def test_what_does_not_fit_together_is_refused_before_anything_is_written(
    changes, message, tmp_path):
  experiment = specification.override(
      QUICK, [f'{name}={value}' for name, value in changes.items()])
  with pytest.raises(ValueError, match=message):
    adjax.run(experiment, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


@dataclasses.dataclass(frozen=True)
class Ring:
  """Tasks of somebody else's, by way of ours."""
  size: int = 9
  shape: tuple[int, ...] = (1, 2)

  def make(self):
    return dark_room.tasks(dark_room.Config(size=self.size))


@dataclasses.dataclass
class Thawed:
  size: int = 9

  def make(self):
    return dark_room.tasks()


class NoDataclass:
  def make(self):
    return dark_room.tasks()


@dataclasses.dataclass(frozen=True)
class NoMake:
  size: int = 9


@pytest.mark.parametrize('tasks, message', [
    (NoDataclass(), r'^tasks=.*: must be an instance of a frozen dataclass'),
    (Thawed(), r'^tasks=.*: must be an instance of a frozen dataclass'),
    (NoMake(), r'^tasks=.*: must be a configuration with a method make\(\)'),
    (Ring(size=[1]), r'^tasks\.size=\[1\]: must be a JSON value'),
    (Ring(size=float('nan')), r'^tasks\.size=nan: must be a JSON value'),
    (Ring(shape=(1, print)), r'^tasks\.shape=.*: must be a JSON value'),
    (None, '^tasks=None: must be'),
])
def test_a_component_is_a_frozen_dataclass_of_json_values(tasks, message):
  with pytest.raises(ValueError, match=message):
    adjax.Experiment(tasks=tasks)


def test_a_component_of_ones_own_is_described_by_where_it_is():
  experiment = adjax.Experiment(tasks=Ring(), source=tabular_q.Config())
  found = specification.describe(experiment)
  assert found['tasks'] == {
      'size': 9, 'shape': [1, 2], 'kind': f'{__name__}:Ring'}
  assert found['source']['kind'] == 'adjax.learners.tabular_q:Config'
  assert json.loads(json.dumps(found)) == found
  assert list(specification.digests(experiment)) == ['tasks']
  assert not specification.digests(QUICK)
  assert setup_lib.make(experiment).tasks.episode_length == 20


FILE = '''
import dataclasses
import adjax
from adjax.envs import dark_room

@dataclasses.dataclass(frozen=True)
class Tasks:
  size: int = 9
  def make(self):
    return dark_room.tasks(dark_room.Config(size=self.size))

experiment = adjax.Experiment(tasks=Tasks(), name='mine')
other = adjax.Experiment(tasks=Tasks(11), name='other')
number = 3
'''


@pytest.fixture
def path(tmp_path):
  file = tmp_path / 'somebodys_file.py'
  file.write_text(FILE)
  return file


def test_an_experiment_of_a_file_is_loaded(path):
  for text, name, size in ((f'{path}', 'mine', 9),
                           (f'{path}:other', 'other', 11)):
    found = specification.load('experiment', text)
    assert (found.name, found.tasks.size) == (name, size)
  # One file is one module, so that its classes are themselves.
  tasks = specification.override(QUICK, [f'tasks={path}:Tasks']).tasks
  assert tasks == specification.load('experiment', str(path)).tasks
  assert specification.describe(found)['tasks']['kind'].endswith(':Tasks')


NEEDY = '''
import dataclasses
from adjax import config
from adjax.envs import dark_room

@dataclasses.dataclass(frozen=True)
class Tasks(config.Checked):
  size: int
  name: str
  shown: bool = False
  def check(self):
    config.check('size', self.size, self.shown, 'shown')
  def make(self):
    return dark_room.tasks(dark_room.Config(size=self.size))
'''


def test_a_class_is_given_the_fields_that_it_must_have(tmp_path, monkeypatch):
  """In whatever order; its own check sees all of them at once."""
  monkeypatch.setenv('HOME', str(tmp_path))
  (tmp_path / 'needy_tasks.py').write_text(NEEDY)
  chosen, *given = ['tasks=~/needy_tasks.py:Tasks', 'tasks.size=9',
                    'tasks.name=a', 'tasks.shown=true']
  for order in ([chosen, *given], [*given, chosen]):
    found = specification.override(QUICK, order).tasks
    assert (found.size, found.name, found.shown) == (9, 'a', True)
  for order, message in (
      ([chosen], 'tasks=.*: must be given with --set tasks.size=VALUE --set '
                 'tasks.name=NAME$'),
      ([chosen, *given[:2]], 'tasks.size=9: must be shown$'),
      ([chosen, *given, given[0]], 'tasks.size: given twice'),
      ([chosen, *given, 'tasks.other=1'], 'tasks.other: no such field'),
      ([chosen, 'tasks.size=x', *given[1:]], 'tasks.size=x: must be an int')):
    with pytest.raises(ValueError, match=f'^{message}'):
      specification.override(QUICK, order)


@dataclasses.dataclass(frozen=True)
class Part:
  size: int = 9


@dataclasses.dataclass(frozen=True)
class OtherPart:
  size: int = 9


@dataclasses.dataclass(frozen=True)
class OfParts:
  """Tasks that hold another dataclass."""
  part: Part | OtherPart = Part()

  def make(self):
    return dark_room.tasks(dark_room.Config(size=self.part.size))


@dataclasses.dataclass(frozen=True)
class Named:
  kind: str = 'mine'

  def make(self):
    return dark_room.tasks()


def test_components_of_other_classes_are_other_components():
  found = [specification.describe(adjax.Experiment(tasks=OfParts(part)))
           for part in (Part(), OtherPart())]
  assert found[0] != found[1]
  assert found[0]['tasks']['part']['kind'].endswith(':Part')
  with pytest.raises(ValueError, match=r"^tasks\.kind='mine': must be called"):
    adjax.Experiment(tasks=Named())


def test_a_field_of_ones_own_may_have_a_name_that_is_gone():
  @dataclasses.dataclass(frozen=True)
  class Source:
    trace: float = 0.5

    def make(self, tasks):
      raise NotImplementedError

  found = specification.override(
      dataclasses.replace(QUICK, source=Source()), ['source.trace=0.25'])
  assert found.source.trace == 0.25


def test_a_changed_file_is_another_version(path, tmp_path):
  found = []
  for folder, more in (('same', ''), ('again', ''), ('changed', '# one\n')):
    (tmp_path / folder).mkdir()
    copy = tmp_path / folder / 'file_of_tasks.py'
    copy.write_text(FILE + more)
    digest, = specification.digests(
        specification.load('experiment', str(copy))).values()
    found.append(digest)
  assert found[0] == found[1] != found[2]


def test_a_changed_cell_of_a_notebook_is_another_version():
  """Where a class has no file, its source is that in the cell."""
  shell = interactiveshell.InteractiveShell()
  found = []
  for number in (1, 1, 2):
    cell = FILE.replace('return dark_room', f'{number}; return dark_room')
    shell.run_cell(cell).raise_error()
    experiment = shell.user_ns['experiment']
    assert specification.describe(experiment)['tasks']['kind'] == (
        'notebook:Tasks')
    found.append(specification.digests(experiment)['tasks'])
  assert found[0] == found[1] != found[2]


def test_loading_a_workdir_imports_nothing_of_it(tmp_path, monkeypatch):
  """Of what config.json names, neither a module nor a file is looked at."""
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'evil.py').write_text('raise SystemExit("imported")')
  workdir = tmp_path / 'run'
  workdir.mkdir()
  (workdir / 'config.json').write_text(json.dumps({
      'format': 1, 'versions': {},
      'config': {'tasks': {'kind': 'evil:Tasks'}, 'name': 'evil.py'}}))
  (workdir / 'metrics.jsonl').write_text('{"format": 1}')
  with pytest.raises(ValueError, match='another config'):
    adjax.run(QUICK, workdir)
  assert 'evil' not in sys.modules


def test_thompson_sampling_is_for_the_rewards_of_its_tasks():
  preset = presets.get('bandit_thompson')
  bad = specification.override(preset, ['tasks.reward=gaussian'])
  with pytest.raises(ValueError, match=r"^source\.rewards='bernoulli'.*those"):
    setup_lib.make(bad)
  setup_lib.make(specification.override(
      preset, ['tasks.reward=gaussian', 'source.rewards=gaussian']))
  assert isinstance(preset.tasks, bandit.Config)
