"""The page of a run: what it is given, what it holds, what it never holds."""

import base64
import copy
import getpass
import io
import json
import pathlib
import re
import shutil
import socket
import zlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from adjax import presets
from adjax import spaces
from adjax.cli import report
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.experiment import again
from adjax.experiment import report as report_lib
from adjax.experiment import rollouts as rollouts_lib
from adjax.experiment import specification
from adjax.models import in_context
from adjax.models import transformer
from adjax.page import data
from adjax.page import pack
from adjax.page import rollouts
from adjax.page import write
from adjax.storage import files
from adjax.storage import weights
from tests import tiny

PAGE = pathlib.Path(data.__file__).parent


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('runs') / 'mine'
  tiny.run(tiny.quick(), workdir)
  return workdir


def another(finished, tmp_path):
  """A folder of the same run, to be changed."""
  for name in ('config.json', 'metrics.jsonl', 'result.json', 'rollouts.npz',
               'weights.npz'):
    shutil.copy(finished / name, tmp_path)
  return tmp_path


def change(path, **fields):
  """Changes fields of a file of JSON, or those of the header of a .npz."""
  if path.suffix == '.npz':
    header, arrays = files.read_npz(str(path), 'it')
    rollouts_lib.save(str(path), arrays | {
        'header': np.array(json.dumps(header | fields))})
  else:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def halves(text):
  return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.float16)


def embedded(page):
  """The JSON of a page."""
  found = re.search(
      r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
  return json.loads(found[1])


def test_the_template_is_small_and_asks_for_nothing():
  page, model = ((PAGE / name).read_text() for name in (
      'page.html', 'model.js'))
  assert len((page + model).encode()) <= 40 * 1024
  assert "default-src 'none'; script-src 'unsafe-inline'" in page
  # The names of an SVG's elements are no address that is asked for.
  text = (page + model).replace('http://www.w3.org/2000/svg', '')
  assert not re.search(r'https?:|//[a-z]+\.|@import|innerHTML|eval\(', text)


def test_a_run_ends_with_its_page(finished):
  page = (finished / 'report.html').read_text()
  shown = embedded(page)
  result = json.loads((finished / 'result.json').read_text())
  run = shown['runs'][0]
  optimum = np.mean(result['held_out']['optimum'])
  assert shown['title'] == run['name'] == 'mine' and shown['share']
  for name, values in (('mean', result['held_out']['return_mean']),
                       ('low', result['held_out']['ci95'][0]),
                       ('high', result['held_out']['ci95'][1])):
    np.testing.assert_allclose(
        shown['series'][0][name], np.array(values) / optimum, atol=1e-4)
  shares = np.array(result['held_out']['per_task']) / np.array(
      result['held_out']['optimum'])[:, None]
  np.testing.assert_allclose(run['shares'], shares[run['order']], atol=1e-3)
  assert (np.diff(shares[run['order']].mean(1)) >= -1e-9).all()
  assert run['command'].startswith('adjax run --experiment=quick')
  assert run['facts']['configuration']['method']['batch_size'] == 4
  assert run['model']['window'] == 40 and run['scene']['kind'] == 'grid'
  assert run['names'] == ['left', 'right', 'up', 'down', 'stay']


def test_the_same_files_give_the_same_page(finished, tmp_path):
  config = json.loads((finished / 'config.json').read_text())['config']
  again_page = write.page([data.of_workdir(
      str(finished), again.command(config))])
  assert again_page == (finished / 'report.html').read_text()
  where = tmp_path / 'mine'
  where.mkdir()
  assert again_page == write.page([data.of_workdir(
      str(another(finished, where)), again.command(config))])


def test_rollouts_are_those_of_the_run_and_what_its_model_thought(finished):
  """Against the environment's own rules, and the model step by step."""
  header, kept = rollouts.read(str(finished / 'rollouts.npz'))
  assert kept['obs'].shape == (8, 100, 2) and kept['done'].sum() == 8 * 5
  result = json.loads((finished / 'result.json').read_text())
  late = np.array(result['held_out']['per_task']).mean(1) / np.array(
      result['held_out']['optimum'])
  assert (np.diff(late[header['tasks']]) >= -1e-9).all()
  assert header['shown'] == [0, 4, 7]
  held_out = tiny.quick().tasks.make().held_out
  for place, (task, scene) in enumerate(zip(
      header['tasks'], header['scenes'])):
    goal = np.asarray(held_out.goals[task, 0])
    assert scene['goals'] == [goal.tolist()]
    after = np.clip(kept['obs'][place] + dark_room.MOVES[
        kept['action'][place]], 0, 8)
    np.testing.assert_array_equal(
        kept['reward'][place], (after == goal).all(-1))
    inside = ~kept['done'][place][:-1]
    np.testing.assert_array_equal(
        kept['obs'][place][1:][inside], after[:-1][inside])
  # Step by step, with the weights that were saved.
  saved, nested = weights.load(str(finished / 'weights.npz'))
  model, params = weights.model(saved), weights.params(saved, nested)
  step = jax.jit(lambda *args: model.apply(params, *args, method='step'))
  inputs = in_context.inputs_of(type_of_history(kept, 7))
  cache = model.apply(params, method='empty_cache')
  for t in range(60):
    logits, cache = step(jax.tree.map(lambda x, t=t: x[t], inputs), cache)
    np.testing.assert_allclose(
        kept['probabilities'][7, t] / 255, jax.nn.softmax(logits), atol=0.004)


def type_of_history(kept, place):
  from adjax import types
  return types.History(*(kept[name][place] for name in types.History._fields))


def test_attention_is_the_softmax_that_numpy_computes():
  env = spaces.Described(
      dark_room.DarkRoom().observation_space(), 5)
  config = transformer.Config(
      layers=1, heads=2, width=8, window=4, feed_forward=8)
  model = config.make(env)
  rng = np.random.default_rng(0)
  length = 9
  inputs = in_context.inputs_of(type_of_history({
      'obs': rng.integers(0, 9, (1, length, 2)).astype(np.int8),
      'action': rng.integers(0, 5, (1, length)).astype(np.int8),
      'reward': rng.random((1, length)).astype(np.float32),
      'done': rng.random((1, length)) < 0.3}, 0))
  params = jax.jit(model.init)(jax.random.key(0), inputs)
  rows, x = map(np.asarray, jax.jit(lambda params: (
      model.apply(params, inputs, method='attention'),
      model.apply(params, inputs, method=lambda m, inputs: m.embedding(
          inputs, True))))(params))
  assert rows.shape == (1, length, 4)
  np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)

  own = params['params']
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(
      x.var(-1, keepdims=True) + 1e-6)
  x = x * own['blocks_0']['attention_norm']['scale']
  qkv = (x @ own['blocks_0']['qkv']['kernel']).reshape(length, 6, 4)
  turn = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(2) / 2)
  spin = np.exp(1j * turn)[:, None]
  q, k = ((part[..., :2] + 1j * part[..., 2:]) * spin
          for part in (qkv[:, :2], qkv[:, 2:4]))
  for t in range(length):
    seen = np.arange(max(0, t - 3), t + 1)
    scores = np.einsum('hd,khd->hk', q[t], k[seen].conj()).real / 2
    expected = np.exp(scores)
    expected = (expected / expected.sum(-1, keepdims=True)).mean(0)[::-1]
    np.testing.assert_allclose(rows[0, t, :len(seen)], expected, atol=1e-4)
    assert (rows[0, t, len(seen):] == 0).all()


def test_rollouts_are_packed_so_that_they_are_read_back(finished):
  header, kept = rollouts.read(str(finished / 'rollouts.npz'))
  late = dict.fromkeys(header['tasks'], '')
  packed = rollouts.packed(header, kept, late, 10**6)
  columns = halves(packed['lives'][3]['data']).reshape(-1, 100)
  np.testing.assert_array_equal(columns[:2], kept['obs'][3].T)
  np.testing.assert_array_equal(columns[2], kept['action'][3])
  np.testing.assert_array_equal(columns[3], kept['reward'][3])
  np.testing.assert_array_equal(columns[4], kept['done'][3])
  np.testing.assert_allclose(
      columns[5:], kept['probabilities'][3].T / 255, atol=5e-4)
  layers, width = packed['attention']
  attention = halves(packed['lives'][4]['attention']).reshape(
      layers, 100, width)
  assert (attention.max(-1) == 1).all() and not attention[:, 0, 1:].any()
  assert {i for i, life in enumerate(packed['lives'])
          if 'attention' in life} == {0, 4, 7} == set(header['shown'])


@pytest.mark.parametrize('runs, size, tasks, steps, entries, actions, layers', [
    (1, 'gpu', 32, 2000, 6, 8, 3),  # The water maze beside a large model.
    (8, 'cpu', 32, 1000, 2, 5, 4),  # dark_room_hard.
    (8, '', 2, 4000, 30, 64, 2)])
def test_the_largest_runs_fit(
    finished, tmp_path, runs, size, tasks, steps, entries, actions, layers):
  """Of what compresses worst: numbers drawn at random."""
  rng = np.random.default_rng(0)
  another(finished, tmp_path)
  if size:
    described = specification.describe(presets.get('dark_room', size))
    header, _ = weights.load(str(finished / 'weights.npz'))
    # Two layers compress as badly as all do, and are soon made.
    header |= {'seeds': 1, 'model': described['model'] | {'layers': 2}}
    weights.save(str(tmp_path / 'weights.npz'), header, jax.tree.map(
        lambda x: rng.standard_normal((1, *x.shape), np.float32).astype(
            np.float16), weights._structure(weights.model(header))))
  result = json.loads((finished / 'result.json').read_text())
  result['held_out'] |= {
      'per_task': rng.random((tasks, 100)).tolist(),
      'return_mean': rng.random(100).tolist(), 'optimum': [1.0] * tasks,
      'ci95': rng.random((2, 100)).tolist()}
  scene = rollouts.read(str(finished / 'rollouts.npz'))[0]['scenes'][0]
  header = {'format': 1, 'tasks': list(range(tasks)), 'shown': [0, tasks // 2],
            'scenes': [scene] * tasks, 'actions': actions, 'levels': 8,
            'window': 400, 'ages_per_column': 4, 'episode_length': 20,
            'frames': [[0, i] for i in range(60)]}
  rollouts_lib.save(str(tmp_path / 'rollouts.npz'), {
      'header': np.array(json.dumps(header)),
      'obs': rng.random((tasks, steps, entries), np.float32),
      'action': rng.integers(0, actions, (tasks, steps)).astype(np.int8),
      'reward': rng.random((tasks, steps), np.float32),
      'done': rng.random((tasks, steps)) < 0.05,
      'probabilities': rng.integers(
          0, 256, (tasks, steps, actions)).astype(np.uint8),
      'attention': rng.integers(
          0, 9, (2, layers, steps, 60)).astype(np.uint8),
      'frames': rng.integers(0, 256, (60, 72, 96, 3)).astype(np.uint8)})
  run = data.of_workdir(str(tmp_path), '', runs, result)
  page = write.page([dict(run) for _ in range(runs)])
  assert len(page.encode()) <= (1_500_000 if runs == 1 else 6_000_000)
  # A model that is too large for a page does not take a player's place.
  assert ('model' in run) == (size != 'gpu')
  assert (run['rollouts'] is None) == (actions == 64)
  # Of several, one is played with.
  assert [i for i, one in enumerate(embedded(page)['runs'])
          if 'model' in one] == [0] * ('model' in run)


def test_a_model_of_ones_own_has_its_report_and_is_not_imported(
    finished, tmp_path, monkeypatch):
  another(finished, tmp_path)
  (tmp_path / 'my_model.py').write_text('raise RuntimeError("imported")')
  monkeypatch.syspath_prepend(tmp_path)
  change(tmp_path / 'weights.npz', model={'kind': 'my_model:Config'})
  run = data.of_workdir(str(tmp_path), 'x')
  assert 'model' not in run and run['rollouts'] and run['series']


def test_text_of_a_run_ends_no_script_and_is_no_html(finished):
  run = data.of_workdir(str(finished), 'x')
  evil = '</script><b>&"\'<!--'
  run |= {'name': evil, 'command': evil, 'names': [evil] * 5}
  run['facts']['configuration'][evil] = evil
  page = write.page([run], evil)
  plain = write.page([data.of_workdir(str(finished), 'x')])
  assert page.count('<script') == plain.count('<script') == 3
  assert page.count('</script>') == 3 and '<b>' not in page
  shown = embedded(page)
  assert shown['title'] == shown['runs'][0]['name'] == evil
  assert shown['runs'][0]['facts']['configuration'][evil] == evil


@pytest.mark.parametrize('text, told', [
    ('/home/alice/secret/store', 'store'), ('/home/my name/x y/', 'x y'),
    ('~/x', 'x'), ('C:\\Users\\me\\y', 'y'), ('C:/Users/me/y', 'y'),
    ('--set=data.store=/home/alice/store', '--set=data.store=store'),
    ("'--set=data.store=/home/alice/store'", "'--set=data.store=store'"),
    ('from file:///home/alice/x on', 'from x on'), ('gs://bucket/x', 'x'),
    ('see ~/runs/x and D:\\a\\b', 'see x and b'),
    ('adjax.models.transformer:Config', 'adjax.models.transformer:Config'),
    ('1/2', '1/2'), ('runs/mine/x', 'runs/mine/x'), ('a / b', 'a / b'),
    ('~', '~'), ('', '')])
def test_paths_are_shortened_to_their_ends(text, told):
  assert data.without_paths({'a': [text, 1]}) == {'a': [told, 1]}


def test_nothing_private_is_in_a_page(
    finished, tmp_path, capsys, monkeypatch):
  """Neither where it was made, nor by whom, nor what a config says of that."""
  where = tmp_path / 'mine'
  where.mkdir()
  path = another(finished, where) / 'config.json'
  config = json.loads(path.read_text())['config']
  config['data'] |= {
      'store': '/home/alice/secret place/store',
      'other': ['~/x', 'C:\\Users\\me\\y', '--x=/home/alice/z']}
  change(path, config=config)
  monkeypatch.chdir(tmp_path)
  assert adjax_report(capsys, where)[0] == 0
  page = (where / 'report.html').read_text()
  words = re.sub(r'"[A-Za-z0-9+/=]{50,}"', '', page)  # Without packed arrays.
  for text in str(tmp_path), '/home', '/tmp', 'Users', '~/', 'alice', 'secret':
    assert text not in words, text
  for name in socket.gethostname(), getpass.getuser():
    assert not re.search(rf'\b{re.escape(name)}\b', words), name
  config = embedded(page)['runs'][0]['facts']['configuration']
  assert config['data']['store'] == 'store'
  assert config['data']['other'] == ['x', 'y', '--x=z']


def test_an_older_run_has_curves_alone(finished, tmp_path):
  for name in ('config.json', 'metrics.jsonl', 'result.json'):
    shutil.copy(finished / name, tmp_path)
  run = data.of_workdir(str(tmp_path), 'x')
  assert 'model' not in run and 'rollouts' not in run
  assert len(embedded(write.page([run]))['series'][0]['mean']) == 5


def test_several_runs_are_side_by_side(finished):
  one = data.of_workdir(str(finished), 'x', 2)
  other = copy.deepcopy(one) | {'name': 'other', 'optimum': None}
  shown = embedded(write.page([one, one | {'name': 'two'}]))
  assert shown['title'] == 'mine, two' and shown['share']
  assert [x['name'] for x in shown['series'] if x['on']] == [
      'mine: adjax, held-out tasks', 'two: adjax, held-out tasks']
  # Returns, where the optimum of one of them is not known; of the other, the
  # map of tasks is of shares all the same.
  shown = embedded(write.page([one, other]))
  assert not shown['share']
  assert shown['series'][0]['mean'] == one['series'][0]['mean']
  assert [run['optimum'] for run in shown['runs']] == [one['optimum'], None]


@pytest.mark.parametrize('optimum', [-10.0, 0.0, None])
def test_returns_are_no_shares_of_what_is_not_above_0(finished, optimum):
  """Rewards may be costs: the worst task is that of the lowest return."""
  result = json.loads((finished / 'result.json').read_text())
  returns = np.array(result['held_out']['per_task']) - 30
  for name in 'held_out', 'train':
    result[name] |= {'optimum': optimum if optimum is None else [
        optimum] * len(result[name]['optimum'])}
  result['held_out'] |= {'per_task': returns.tolist(),
                         'return_mean': returns.mean(0).tolist()}
  result['optimum_known'] = optimum is not None
  run = data.curves_of(result)
  late = returns.mean(1)
  assert run['optimum'] is None
  np.testing.assert_array_equal(run['order'], np.argsort(late, kind='stable'))
  np.testing.assert_allclose(run['shares'], returns[run['order']], atol=1e-3)
  assert run['tiles'][2][0] == f'{late.min():.4g}'
  assert [name for _, name in run['tiles'][:2]] == [
      'return, episode 1', 'return, last 5']
  assert not any('rescaled' in one['name'] for one in run['series'])
  said = report_lib.summary(result, '.')
  assert said.startswith('held-out return\n')
  assert f'worst task {late.min():.3f}' in said


def test_what_is_not_known_is_null(finished, tmp_path):
  path = another(finished, tmp_path) / 'metrics.jsonl'
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  lines[0]['loss'] = None
  lines[1]['validation']['return_mean'] = [None, 1, 2]
  lines[2]['validation']['return_mean'] = [None, None]
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  result = json.loads((tmp_path / 'result.json').read_text())
  result['held_out']['per_task'][3][1] = None
  result['held_out']['return_mean'][0] = None
  change(tmp_path / 'result.json', **result)
  shown = embedded(write.page([data.of_workdir(str(tmp_path), 'x')]))
  run = shown['runs'][0]
  training = run['facts']['training, epoch by epoch']
  assert training['loss'][0] is None and training['loss'][1] is not None
  assert training['validation return, last 10 episodes'][1:] == [1.5, None]
  assert shown['series'][0]['mean'][0] is None
  assert shown['series'][0]['mean'][1] is not None
  assert run['shares'][run['order'].index(3)][1] is None
  assert sum(x is None for row in run['shares'] for x in row) == 1
  assert shown['tiles'][0] == ['?', 'of the optimum, episode 1']
  assert 'nan' not in json.dumps(shown).lower()


@pytest.mark.parametrize('scene', [{}, {'kind': 'maze'}, {'kind': 'grid'}])
def test_a_scene_of_ones_own_may_be_any(finished, tmp_path, scene):
  another(finished, tmp_path)
  header, _ = rollouts.read(str(tmp_path / 'rollouts.npz'))
  change(tmp_path / 'rollouts.npz', scenes=[scene] * len(header['scenes']))
  run = data.of_workdir(str(tmp_path), 'x')
  assert run['names'] == [f'action {i}' for i in range(5)]
  assert run['scene'] == scene and run['rollouts']
  assert ('model' in run) == (scene == {'kind': 'grid'})


def test_the_demo_is_of_this_template():
  """And of the model in the box: `report --pretrained=dark_room` makes it."""
  made = write.page([report._pretrained('dark_room')], report.TITLE)
  demo = (PAGE.parents[1] / 'docs' / 'demo.html').read_text()
  shown, expected = embedded(demo), embedded(made)
  around = lambda page: re.sub(
      r'(<script type="application/json" id="data">).*?<', r'\1<', page)
  assert around(demo) == around(made)
  # Compressed by another library they may be other bytes.
  for page in shown, expected:
    model = page['runs'][0]['model']
    model['weights'] = halves(model['weights']).tolist()
  assert shown == expected


def adjax_report(capsys, *arguments):
  """The exit code of the command, and what it says."""
  report.flags.FLAGS.unparse_flags()
  report.flags.FLAGS['output'].value = None
  with pytest.raises(SystemExit) as ended:
    report.start(['adjax report', *map(str, arguments)])
  told = capsys.readouterr()
  return ended.value.code, told.out + told.err


def test_the_report_command_writes_and_refuses(
    finished, tmp_path, capsys, monkeypatch):
  page = finished / 'report.html'
  before = page.read_bytes()
  page.unlink()
  code, told = adjax_report(capsys, finished)
  assert code == 0 and str(page) in told and page.read_bytes() == before
  monkeypatch.chdir(tmp_path)
  code, told = adjax_report(capsys, finished, finished)
  assert code == 0 and (tmp_path / 'report.html').exists()
  code, told = adjax_report(capsys, finished, f'--output={tmp_path}/out.html')
  assert code == 0 and (tmp_path / 'out.html').read_bytes() == before
  code, told = adjax_report(capsys)
  assert code == 1 and told == (
      'error: adjax report: must be given folders of runs, or '
      '--pretrained=NAME\n')
  code, told = adjax_report(capsys, tmp_path / 'none')
  assert code == 1 and told == (
      f'error: workdir={tmp_path}/none: must be the folder of a run, with a '
      'config.json\n')
  shutil.copy(finished / 'config.json', tmp_path)
  code, told = adjax_report(capsys, tmp_path)
  assert code == 1 and told == (
      f'error: workdir={tmp_path}: must be of a finished run, with a '
      'result.json\n')
  another(finished, tmp_path)
  (tmp_path / 'rollouts.npz').write_bytes(b'no zip')
  code, told = adjax_report(capsys, tmp_path)
  assert code == 1 and told.startswith(f'error: {tmp_path}/rollouts.npz: must')
  assert told.count('\n') == 1
  (tmp_path / 'config.json').write_text('{"name": "of somebody"}')
  code, told = adjax_report(capsys, tmp_path)
  assert code == 1 and told == (
      f'error: {tmp_path}/config.json: was written by an older adjax; use that '
      'one, or choose another folder\n')


@pytest.mark.parametrize('name, assignments, command', [
    ('quick', [], 'adjax run --experiment=quick'),
    ('dark_room', ['seeds=2', 'method.batch_size=8'],
     'adjax run --experiment=dark_room --set=method.batch_size=8 --seeds=2'),
    ('dark_room', ['source=rmax', 'source.sweeps=3'],
     'adjax run --experiment=dark_room --set=source=rmax '
     '--set=source.sweeps=3'),
    ('quick', ['source=none', 'data=none', 'method=rl2'],
     'adjax run --experiment=quick --set=source=none --set=data=none '
     '--set=method=rl2'),
])
def test_the_command_makes_the_run_again(name, assignments, command):
  experiment = specification.override(presets.get(name), assignments)
  assert again.command(specification.describe(experiment)) == command


def test_commands_of_other_sizes_and_of_other_experiments():
  described = specification.describe(presets.get('quick', 'gpu'))
  assert again.command(described) == 'adjax run --experiment=quick --size=gpu'
  assert again.command(described | {'name': 'mine'}) == (
      'adjax run --experiment=FILE.py --workdir=runs/mine  # with the file '
      "that has the experiment 'mine'")


def test_the_command_leaves_out_what_is_somebodys_own(tmp_path, monkeypatch):
  """It is refused nowhere, and nothing of theirs is imported."""
  (tmp_path / 'my_env.py').write_text('raise RuntimeError("imported")')
  monkeypatch.syspath_prepend(tmp_path)
  described = specification.describe(specification.override(
      presets.get('quick'), ['method.batch_size=8']))
  described['tasks'] = {'kind': 'my_env:Tasks', 'cells': 3}
  line, _, comment = again.command(described).partition('  # ')
  assert line == 'adjax run --experiment=quick --set=method.batch_size=8'
  assert comment == 'and tasks=my_env:Tasks, tasks.cells=3'


def test_a_picture_is_read_back(tmp_path):
  image = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
  read = plt.imread(io.BytesIO(pack.png(image)))
  np.testing.assert_array_equal(np.round(read[..., :3] * 255), image)
  which, uri = pack.sprite(np.random.default_rng(0).integers(
      0, 256, (60, 72, 96, 3)).astype(np.uint8))
  assert len(uri) < 300_000 and len(which) < 60
  data_of = base64.b64decode(uri.partition(',')[2])
  assert plt.imread(io.BytesIO(data_of)).shape[0] == 72 * len(which)


def test_what_of_the_pool_and_of_other_observations_is_drawn():
  config = watermaze.Config(num_train=2, num_validation=1, num_held_out=1)
  tasks = config.make()
  task = jax.tree.map(lambda x: np.asarray(x[0]), tasks.held_out)
  scene = rollouts_lib.scene(config, tasks.env, task)
  assert scene['kind'] == 'pool' and len(scene['actions']) == 8
  np.testing.assert_allclose(scene['platform'], task.platform)
  json.loads(files.to_json(scene))

  from gymnax.environments import spaces as gymnax_spaces
  space = gymnax_spaces.Dict({
      'view': gymnax_spaces.Box(0, 1, (2,), jnp.float32),
      'pair': gymnax_spaces.Tuple((
          gymnax_spaces.Discrete(3), gymnax_spaces.Discrete(4)))})
  scene = rollouts_lib.scene(None, spaces.Described(space, 2), None)
  assert scene == {'kind': 'traces', 'names': [
      'pair.0', 'pair.1', 'view[0]', 'view[1]']}
  space = gymnax_spaces.Box(0, 1, (10, 10, 4), jnp.float32)
  scene = rollouts_lib.scene(None, spaces.Described(space, 2), None)
  assert scene['names'] == [  # Those that are drawn.
      f'observation[0, {i}, {j}]' for i in range(3) for j in range(4)]


def test_key_frames_are_of_the_first_and_the_last_episodes():
  class Env:
    default_params = None

    def view(self, obs):
      return obs

    def view_space(self, params):
      from gymnax.environments import spaces as gymnax_spaces
      return gymnax_spaces.Box(0, 255, (4, 4, 3), jnp.uint8)

  done = np.zeros((2, 12), bool)
  done[0, [2, 5, 9]] = True
  done[1, [11]] = True
  assert rollouts_lib._key_frames(Env(), done) == [
      *((0, t) for t in (0, 1, 2, 6, 7, 8, 9)), *((1, t) for t in range(12))]
  assert rollouts_lib._key_frames(object(), done) == []
