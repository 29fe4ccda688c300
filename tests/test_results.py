"""Published figures: what a row keeps, what is refused, what the tables say."""

import json
import re
import types
import warnings

import numpy as np
import pytest

from adjax import metrics
from adjax import presets
from adjax.experiment import keep
from adjax.experiment import specification
from adjax.experiment import versions
from experiments.results import __main__ as program
from experiments.results import documents
from experiments.results import figures
from experiments.results import pack
from experiments.results import row as row_lib
from experiments.results import tables

OPTIMUM = np.array([4.0, 8.0, 2.0])


def returns_of(episodes, seeds=2, seed=0):
  """Whole returns [seeds, N, R, E] that rise, of each task up to its own."""
  rng = np.random.default_rng(seed)
  share = np.linspace(.2, .98, episodes)
  return rng.binomial(
      OPTIMUM.astype(int)[:, None, None], share, (seeds, 3, 4, episodes))


def finished(workdir, name='quick', *assignments, sets=('held_out',)):
  """A workdir as a run of a preset with these assignments leaves it."""
  experiment = specification.override(presets.get(name), list(assignments))
  episodes, seeds = experiment.evaluate.episodes, experiment.seeds
  workdir.mkdir()
  curves, told = {}, {}
  for i, some in enumerate(sets):
    source = np.full((3, 4, episodes), 3.0)
    returns = returns_of(episodes, seeds, i)
    curves[some] = {'model': returns, 'source': source}
    told[some] = {
        'optimum': OPTIMUM.tolist(),
        'return_mean': returns.mean((0, 1, 2)).tolist(),
        'random': .5, 'oracle': 14 / 3,
        'source': {'return_mean': [3.0] * episodes, 'actors': 1},
        'random_walk_with_memory': {'return_mean': [2.0] * episodes}}
  keep.returns(str(workdir / 'returns.npz'), curves)
  curve = {'optimum': OPTIMUM.tolist(), 'return_mean': [1 / 3] * episodes}
  files = {
      'config.json': {'config': specification.describe(experiment),
                      'versions': {'jax': '0.10.2'}},
      'result.json': told['held_out'] | {
          'held_out': told['held_out'], 'seeds': seeds,
          'shifted': {some: told[some] for some in sets[1:]},
          'train': curve, 'validation': curve, 'device': '1 x TPU v9',
          'seconds': {'train': 60.0, 'total': 90.0}}}
  for name_of, value in files.items():
    (workdir / name_of).write_text(json.dumps({'format': 1} | value))
  return str(workdir)


def change(path, **values):
  """Changes the configuration in a workdir."""
  saved = json.loads(path.read_text())
  saved['config'] |= values
  path.write_text(json.dumps(saved))


def row_of(tmp_path, *args, **options):
  return row_lib.make(finished(tmp_path / 'run', *args, **options))


@pytest.mark.parametrize('x, dtype', [
    ([0, 1, 1, 0], '|i1'), ([-128, 127], '|i1'), ([0, 128], '<i2'),
    ([-1.0, 3e4], '<i2'), ([1e6, 2.0], '<i4'), ([2.5, -1.0], '<f4'),
    ([np.nan, 1.0], '<f4'), ([1e20, 1.0], '<f4')])
def test_packing_is_without_loss(x, dtype):
  x = np.array([[x, x]], np.float32)
  packed = pack.pack(x)
  assert packed['dtype'] == dtype and json.loads(json.dumps(packed)) == packed
  np.testing.assert_array_equal(pack.unpack(packed), x)


def test_of_a_block_the_mean_is_kept():
  x = returns_of(12)
  kept = pack.unpack(pack.pack(x, block=4))
  assert kept.shape == x.shape
  np.testing.assert_allclose(
      kept[..., ::4], np.stack([x[..., i:i + 4].mean(-1) for i in (0, 4, 8)],
                               -1))
  np.testing.assert_array_equal(kept[..., 0], kept[..., 3])


def test_of_a_block_nothing_shorter_is_told(tmp_path):
  row = row_lib.make(finished(tmp_path / 'run'), block=10)
  row['name'] = 'quick'
  cells = cells_of(tables.of('dark_room', {'quick': row}), 'quick')
  assert [cells[head] for head in ('episode 1', '5', '9–10')] == [''] * 3  # noqa: RUF001
  assert cells['late episodes (95 %)'].startswith('41–50: **')  # noqa: RUF001


def test_a_run_keeps_its_returns_under_their_sets(tmp_path):
  path = finished(tmp_path / 'run', 'bandit', sets=('held_out', 'even'))
  with np.load(f'{path}/returns.npz', allow_pickle=False) as found:
    assert set(found) == {'header', 'held_out/model', 'held_out/source',
                          'even/model', 'even/source'}
    assert json.loads(str(found['header'])) == {
        'format': 1, 'sets': ['held_out', 'even']}
    assert found['even/model'].dtype == np.int8
    np.testing.assert_array_equal(
        found['even/model'], returns_of(100, 1, seed=1))


def test_a_row_says_what_makes_it_again(tmp_path):
  row = row_of(tmp_path, 'dark_room_rmax', 'seeds=2', 'tasks.split_seed=11')
  assert row['command'] == ('adjax run --experiment=dark_room_rmax '
                            '--set=tasks.split_seed=11 --seeds=2 --workdir=DIR')
  assert row['set'] == {'tasks.split_seed': '11', 'seeds': '2'}
  assert row['name'] == 'dark_room_rmax_split_seed_11_seeds_2'
  assert row['machine'] == '1 x TPU v9' and row_lib.differences(row) == []
  assert tables.label(row) == (
      '`dark_room_rmax --set tasks.split_seed=11 --seeds=2`')
  assert tables.knows(row) == 'R-max: **nothing**; one episode in 2'
  path = row_lib.write(row, tmp_path)
  assert row_lib.everything(tmp_path) == {row['name']: row}
  with pytest.raises(ValueError, match=r"name='dark_.*unless with --replace"):
    row_lib.write(row, tmp_path)
  assert row_lib.write(row, tmp_path, replace=True) == path
  gpu = presets.get('quick', 'gpu')
  change(tmp_path / 'run' / 'config.json', **specification.describe(gpu))
  told = row_lib.make(str(tmp_path / 'run'), block=10)
  assert told['size'] == 'gpu' and told['name'] == 'quick_gpu'


def cells_of(text, experiment):
  """{head: text} of the row of an experiment in a table."""
  lines = [[cell.strip() for cell in line.strip('|').split('|')]
           for line in text.splitlines()]
  (found,) = [line for line in lines if line[0].startswith(f'`{experiment}')]
  return dict(zip(lines[0], found))


def short(x):
  return f'{x:.3f}'.removeprefix('0') if x < 1 else f'{x:.3f}'


def test_tables_say_what_the_returns_do(tmp_path):
  """By another way, with NumPy alone."""
  row = row_of(tmp_path, 'quick', 'seeds=2')
  cells = cells_of(tables.of('dark_room', {'quick': row}), 'quick')
  x, best = returns_of(50).astype(float), OPTIMUM.mean()
  curve = x.mean((0, 1, 2)) / best
  assert [cells[head] for head in ('episode 1', '5', '9–10')] == [  # noqa: RUF001
      short(curve[0]), short(curve[4]), short(curve[8:10].mean())]
  low, high = metrics.intervals(x[..., 40:].mean(-1), OPTIMUM)[0] / best
  assert cells['late episodes (95 %)'] == (
      f'41–50: **{short(curve[40:].mean())}** '  # noqa: RUF001
      f'({short(low)} to {short(high)})')
  assert cells['over'] == 'seeds and tasks' and cells['seeds'] == '2'
  assert cells['worst task'] == short(
      min((x[:, i, :, 40:] / OPTIMUM[i]).mean() for i in range(3)))
  assert cells['NAUC'] == short(curve.mean())
  reached = [i for i in range(1, 47) if all(
      curve[j - 1:j + 4].mean() >= .9 for j in range(i, 47))]
  assert cells['episodes to 90 %'] == str(reached[0])
  assert cells['the source itself then'] == ' / '.join([short(3 / best)] * 2)
  assert cells['random walk then'] == ' / '.join([short(2 / best)] * 2)
  assert cells['time'] == '1.5 min' and '1 x TPU v9' in cells['made']
  brief = cells_of(tables.of('readme', {'quick': row}), 'quick')
  for head in 'episode 1', 'worst task', 'time', 'late episodes (95 %)':
    assert brief[head] == cells[head]


def test_presets_with_fields_set_have_a_table_of_their_own(tmp_path):
  quick, small = (
      row_lib.make(finished(tmp_path / field, 'quick', 'seeds=2', field))
      for field in ('tasks.split_seed=3', 'model.width=32'))
  rows = {'quick': quick, 'small': small}
  main, other = tables.of('dark_room', rows), tables.of('variants', rows)
  assert 'model.width' not in main and 'split_seed' not in other
  cells = cells_of(other, 'quick --set model.width=32 --seeds=2')
  x = returns_of(50).astype(float).mean((0, 1, 2)) / OPTIMUM.mean()
  assert cells['early episodes'] == (
      f'1: {short(x[0])}; 5: {short(x[4])}; '
      f'9–10: {short(x[8:10].mean())}')  # noqa: RUF001
  of_main = cells_of(main, 'quick')
  for head in 'late episodes (95 %)', 'worst task', 'time', 'made':
    assert cells[head] == of_main[head]


def test_a_mean_of_what_is_known_is_numpys_without_its_warning():
  x = returns_of(12).astype(float)
  x[0, 0, :, 3] = np.nan
  np.testing.assert_array_equal(
      figures.mean_known(x, (0, 2)), np.nanmean(x, (0, 2)))
  x[:, 0, :, 5] = np.nan
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    found = figures.mean_known(x, (0, 2))
  assert np.isnan(found[0, 5]) and np.isfinite(np.delete(found, 5, -1)).all()


def test_where_one_knows_no_optimum_figures_are_returns(tmp_path):
  row = row_of(tmp_path, 'gymnax')
  row['sets']['held_out']['optimum'] = None
  del row['sets']['held_out']['random_walk_with_memory']
  cells = cells_of(tables.of('adapters', {'gymnax': row}), 'gymnax')
  late = returns_of(20, 1)[..., 15:].mean()
  assert cells['late episodes (95 %)'].startswith(
      f'16–20: **{late:.3f}**')  # noqa: RUF001
  assert cells['NAUC'] == cells['episodes to 90 %'] == ''
  assert cells['random walk then'] == 'random .500'
  assert cells['over'] == 'tasks'


def test_the_bandits_are_relative_to_random_and_source(tmp_path):
  row = row_of(tmp_path, 'bandit', sets=('held_out', 'even'))
  cells = cells_of(tables.of('bandit', {'bandit': row}), 'bandit')
  for i, head in enumerate(('held out', 'even')):
    share = (returns_of(100, 1, seed=i).mean() - .5) / (3 - .5)
    assert cells[head].startswith(f'**{short(share)}** (')
  low, high = re.findall(r'\((.*) to (.*)\)', cells['even'])[0]
  assert float(low) < share < float(high)


def test_a_worse_model_is_said_to_be_worse(tmp_path):
  row = row_of(tmp_path, 'quick', 'seeds=2')
  better = figures.of(row)
  worse = better._replace(returns=better.returns / 2)
  assert figures.nauc(worse) == pytest.approx(figures.nauc(better) / 2)
  assert figures.episodes_to_90(worse) is None
  assert figures.worst_task(worse, (41, 50)) < figures.worst_task(
      better, (41, 50))


@pytest.mark.parametrize('missing, message', [
    ('result.json', 'must be of a finished run, with a result.json'),
    ('config.json', 'must be of a run, with a config.json'),
    ('returns.npz', 'must be of a run that keeps its returns, with a returns')])
def test_a_run_that_lacks_something_is_refused(tmp_path, missing, message):
  workdir = finished(tmp_path / 'run')
  (tmp_path / 'run' / missing).unlink()
  with pytest.raises(ValueError, match=f'^workdir=[^\n]*{message}[^\n]*$'):
    row_lib.make(workdir)


def test_what_no_preset_makes_again_is_refused(tmp_path):
  workdir = finished(tmp_path / 'run')
  config = tmp_path / 'run' / 'config.json'
  refusal = lambda **options: pytest.raises(ValueError, match=options['match'])
  with refusal(match='^block=7: must be a divisor of the 50 episodes'):
    row_lib.make(workdir, block=7)
  with refusal(match="^name='a/b': must be 1 to 100 of"):
    row_lib.make(workdir, name='a/b')
  model = specification.describe(presets.get('quick'))['model']
  change(config, model=model | {'kind': 'own:Config'})
  with refusal(match=r'^workdir=.*: must be a run of a preset .*model\.kind'):
    row_lib.make(workdir)
  change(config, model=model, data=None, name='mine')
  with refusal(match="^experiment='mine': must be a preset$"):
    row_lib.make(workdir)


def test_returns_of_another_run_are_refused(tmp_path):
  workdir = finished(tmp_path / 'run', 'bandit', sets=('held_out', 'even'))
  row_lib.make(workdir, block=10)
  with np.load(f'{workdir}/returns.npz') as found:
    arrays = dict(found)
  arrays['even/model'] = 1 - arrays['even/model']
  np.savez(f'{workdir}/returns.npz', **arrays)
  for block in 1, 10:
    with pytest.raises(ValueError, match='with the returns that its result'):
      row_lib.make(workdir, block=block)


def test_a_row_that_is_too_large_is_refused(tmp_path, monkeypatch):
  row = row_of(tmp_path)
  monkeypatch.setattr(row_lib, 'MOST', 1000)
  with pytest.raises(ValueError, match=r'^name=.*at most 1000 bytes.*--block'):
    row_lib.write(row, tmp_path / 'rows')
  assert not (tmp_path / 'rows').exists()


def test_a_row_of_older_code_is_not_of_this_commit(tmp_path, monkeypatch):
  workdir = finished(tmp_path / 'run')
  monkeypatch.setattr(row_lib, 'commit_of', lambda: 'abc')
  written = []
  monkeypatch.setattr(
      row_lib, 'write', lambda row, replace: written.append(row))
  for name in '_NAME', '_NOTE', '_MACHINE', '_BLOCK', '_REPLACE', '_DIRTY':
    monkeypatch.setattr(program, name, types.SimpleNamespace(
        value=1 if name == '_BLOCK' else ''))
  path = tmp_path / 'run' / 'config.json'
  for code in versions.versions()['adjax'], 'older':
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {'versions': {'adjax': code}}))
    program.main(['add', workdir])
  assert [row['commit'] for row in written] == ['abc', 'before abc']


def test_a_row_is_of_a_commit_and_of_one_workdir(monkeypatch):
  monkeypatch.setattr(program, '_DIRTY', types.SimpleNamespace(value=False))
  monkeypatch.setattr(row_lib, 'commit_of', lambda: 'abc-dirty')
  with pytest.raises(ValueError, match="commit='abc-dirty': must be of a cl"):
    program.main(['add', 'runs/some'])
  for words in (['add'], ['add', 'a', 'b'], ['remove', 'a']):
    with pytest.raises(ValueError, match='must be `add WORKDIR`, or nothing'):
      program.main(words)


def test_a_row_that_is_no_longer_its_presets_is_found(tmp_path):
  row = row_of(tmp_path, 'quick', 'seeds=2')
  lines = lambda: [line for line in documents.wrong({'some': row})
                   if line.startswith('some: ')]
  assert lines() == []
  row['set']['data.starts'] = 'clipped'
  assert lines() == [
      'some: must have the configuration of its preset; run it again, or '
      "delete it: data.starts: 'uniform' -> 'clipped'"]
  del row['set']['data.starts']
  # Today's default is not what was there before there was such a field.
  del row['configuration']['data']['starts']
  (line,) = lines()
  assert line.endswith("delete it: data.starts: 'absent' -> 'uniform'")
  row['configuration']['data']['starts'] = 'uniform'
  assert lines() == []
  row['configuration']['method']['batch_size'] = 32
  (line,) = lines()
  assert line.endswith('delete it: method.batch_size: 32 -> 16')
  row['experiment'] = 'gone'
  (line,) = lines()
  assert 'experiment=gone: must be one of' in line


def test_each_preset_has_a_row_or_a_reason(tmp_path, monkeypatch):
  monkeypatch.setattr(tables, 'NOT_RUN', dict.fromkeys(presets.PRESETS, 'so'))
  monkeypatch.delitem(tables.NOT_RUN, 'dark_room')
  tables.NOT_RUN['gone'] = 'so'
  rows = {'quick': row_of(tmp_path)}
  found = documents.wrong(rows)
  assert [line for line in found if 'NOT_RUN' in line] == [
      'dark_room: must have a row, or a reason in NOT_RUN',
      'gone: must not be in NOT_RUN, as it is no preset']
  assert '`quick`' in tables.of('not_run', {})
  assert '`quick`' not in tables.of('not_run', rows)


def test_each_row_is_in_one_table():
  for name in presets.PRESETS:
    assert len([x for x in (*tables.TABLES, 'bandit') if name in (
        preset.name for preset in getattr(presets, x).PRESETS)]) == 1
  texts = ''.join((documents.ROOT / name).read_text()
                  for name in documents.DOCUMENTS)
  assert sorted(re.findall('<!-- results: (.*) -->', texts)) == sorted(
      tables.NAMES)


def test_text_by_hand_stays_and_tables_are_made_anew(tmp_path):
  rows = {'quick': row_of(tmp_path)}
  text = ('a\n<!-- results: readme -->\nold\n<!-- end -->\nb\n'
          '<!-- results: watermaze -->\nx\ny\n<!-- end -->\n')
  made = documents.remade(text, rows)
  assert made.startswith('a\n<!-- results: readme -->\n| experiment |')
  assert made.endswith('|\n<!-- end -->\nb\n<!-- results: watermaze -->\n'
                       'No row yet.\n<!-- end -->\n')
  assert documents.remade(made, rows) == made
  with pytest.raises(ValueError, match='results: other: must be one of dark'):
    documents.remade('<!-- results: other -->\n<!-- end -->', rows)
  (tmp_path / 'docs').mkdir()
  for name in documents.DOCUMENTS:
    (tmp_path / name).write_text(text)
  assert '-old' in documents.wrong(rows, tmp_path)
  documents.rewrite(rows, tmp_path)
  assert (tmp_path / 'README.md').read_text() == made
  assert not [line for line in documents.wrong(rows, tmp_path)
              if 'NOT_RUN' not in line]


def test_documents_say_what_the_rows_do():
  assert documents.wrong(row_lib.everything()) == [], (
      'make them anew: python -m experiments.results')
  sizes = [path.stat().st_size for path in row_lib.FOLDER.glob('*.json')]
  assert sum(sizes) <= 4_000_000
