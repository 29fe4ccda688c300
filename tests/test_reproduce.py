"""The paper's figures of planted rows: what is drawn, said and refused."""

import itertools
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from adjax import config
from adjax import types
from adjax.envs import dark_room
from adjax.experiment import specification
from adjax.models import in_context
from adjax.models import transformer
from experiments.reproduce import attention
from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import documents
from experiments.reproduce import draw
from experiments.reproduce import evaluate
from experiments.reproduce import figure as figure_lib
from experiments.reproduce import figures
from experiments.reproduce import measure
from experiments.reproduce import page
from experiments.reproduce import paper
from experiments.reproduce import plan
from experiments.reproduce import program
from experiments.reproduce import prompt
from experiments.reproduce import sets as sets_lib
from experiments.reproduce import train
from experiments.reproduce.figures import context
from experiments.reproduce.figures import extrapolation
from experiments.reproduce.figures import rooms
from experiments.reproduce.figures import varied
from experiments.results import pack
from experiments.results import row as row_lib

OPTIMUM = np.array([4.0, 8.0, 2.0, 6.0, 4.0, 8.0])
CELL, OTHER = cells.cell('quick', 'seeds=3'), cells.cell('quick')
EPISODES = 50


def rising(start, end, episodes=EPISODES):
  """Shares [E] that rise to half of what they rise by in eight episodes."""
  e = np.arange(episodes)
  return start + (end - start) * e / (e + 8)


def planted(which, share, seeds=1, source=0.5, actors=1, walk=0.4, sets=(
    'held_out',), optimum=OPTIMUM, seed=0):
  """A row of a cell with these shares [E], some tasks a bit harder."""
  share = np.asarray(share, float)
  rng = np.random.default_rng(seed)
  described = specification.describe(which.experiment('cpu'))
  identity = cells.identity(which, 'cpu')
  episodes = len(share)
  of_task = rng.normal(0, .02, (len(optimum), 1, 1))
  of_seed = rng.normal(0, .01, (seeds, 1, 1, 1))
  chance = np.clip(share + of_task + of_seed, 0, 1) * np.ones((1, 1, 4, 1))
  returns = rng.binomial(optimum.astype(int)[:, None, None], chance)

  def reference(level):
    by_task = optimum[:, None] * np.broadcast_to(level, episodes)
    return {'return_mean': by_task.mean(0).tolist(), 'actors': actors,
            'per_task': pack.pack(by_task),
            'paid_per_task': pack.pack(by_task / optimum[:, None])}

  told = {'optimum': optimum.tolist(), 'returns': pack.pack(returns),
          'source': reference(source), 'random': .1 * optimum.mean(),
          'random_walk_with_memory': reference(walk)}
  return {'format': 1, **identity, 'commit': 'abc', 'seeds': seeds,
          'machine': '2 x cpu, a processor', 'seconds': {'total': 120.0},
          'configuration': described,
          'sets': dict.fromkeys(sets, told), 'train': {
              'optimum': optimum.tolist(),
              'return_mean': [.9 * optimum.mean()] * episodes}}


def results_of(**rows):
  """Results of planted rows of CELL and OTHER."""
  named = {'cell': CELL, 'other': OTHER}
  return cells.Results('cpu', {named[name]: row for name, row in rows.items()})


def everything():
  """A planted row of each cell of each figure."""
  rows = {}
  for figure in figures.FIGURES.values():
    for i, which in enumerate(figure.cells):
      experiment = which.experiment('cpu')
      sets = {'held_out', *sets_lib.wanted(cells.identity(which, 'cpu'))}
      # A row of bandits always has it.
      sets |= {'even'} if which.preset.startswith('bandit') else set()
      episodes = 1000 if 'long' in sets else experiment.evaluate.episodes
      share = (rising(.3, .33, episodes) if which.preset.endswith('_ed') else
               rising(.1, .97 - .04 * i, episodes))
      actors = getattr(experiment.source, 'actors', 1)
      row = planted(which, share, experiment.seeds, rising(
          .1, .9, len(share)), actors, .8 * share + .1, sets, seed=i)
      rows[row['name']] = row
  return rows


FULL = everything()


def evaluated(name, without=()):
  """A figure of planted rows, but for some."""
  figure = figures.FIGURES[name]
  rows = {key: row for key, row in FULL.items() if key not in without}
  return evaluate.evaluate(figure, cells.find(figure.cells, 'cpu', rows))


@pytest.mark.parametrize('name', figures.FIGURES)
def test_a_figure_is_whole_and_the_same_twice(name):
  told = evaluated(name)
  assert told['missing'] == [] and told['claims'] and told['table']
  text = pack.text(told)
  assert text == pack.text(evaluated(name)) and json.loads(text) == told
  assert 'missing' not in text.replace('"missing": []', '')
  for line in (line for panel in told['panels'] for line in panel['lines']):
    assert line['style'] in draw.STYLES
    assert len(line['label']) <= 18, 'more than there is room for'
    if 'low' in line:
      low, mean, high = (np.array(line[x]) for x in ('low', 'mean', 'high'))
      assert (low <= mean).all() and (mean <= high).all()
  for claim in told['claims']:
    assert claim['holds'] in (True, False, None) and claim['paper']
    assert claim['interval'][0] <= claim['effect'] <= claim['interval'][1]
    bounds = [x for x in (claim['above'], claim['below']) if x is not None]
    crossed = any(claim['interval'][0] < x < claim['interval'][1]
                  for x in bounds)
    assert crossed == (claim['holds'] is None)


def test_a_picture_is_the_same_twice():
  told = evaluated('lstm')
  picture = draw.draw(told)
  assert picture == draw.draw(told) and picture[:4] == b'\x89PNG'
  assert len(picture) < 200_000


@pytest.mark.parametrize('size', ['cpu', 'gpu'])
def test_cells_are_runs_with_names_of_their_own(size):
  needed = plan.runs(figures.FIGURES, size)
  names = [cells.identity(which, size)['name'] for which in needed]
  assert len(set(names)) == len(names)
  for name in names:
    config.check_name('name', name)
  assert not [which for which in needed
              if row_lib.identity(specification.describe(which.experiment(
                  size)))['size'] != size]


def test_runs_are_as_captions_say():
  for which in figures.FIGURES['context'].cells:
    assert which.experiment('cpu').model.layers == context._LAYERS
  for moved in extrapolation._MOVED.values():
    experiment = moved.cell.experiment('cpu')
    assert experiment.model.window == (
        moved.window * experiment.tasks.episode_length)
  assert [room.theirs.experiment('cpu').source.actors
          for room in rooms.ROOMS] == [8, 32, 32, 4]
  updates = lambda x: x.method.epochs * x.method.updates_per_epoch
  for name in 'masking', 'smoothing', 'size':
    assert varied.HALF in figures.FIGURES[name].caption
    for which in figures.FIGURES[name].cells:
      assert 2 * updates(which.experiment('cpu')) == updates(
          cells.cell(which.preset).experiment('cpu'))


def test_the_paper_itself_is_as_flat_as_is_asked():
  for room in rooms.ROOMS:
    theirs = paper.curve(f'{room.name}/ED')[1]
    assert theirs[-1] - theirs[0] < room.flat


def test_a_run_is_shared_by_figures():
  """Where something is set that the preset has anyway, too."""
  same = cells.cell('quick', 'seeds=1', 'seed=0')
  figure = figures.FIGURES['lstm']
  also = figure._replace(panels=(figure_lib.Curves('', tuple(
      figure_lib.Curve('', 'ad', measure.Pick(which))
      for which in (OTHER, same, CELL))),))
  (one, three) = plan.runs({'some': also}, 'cpu')
  assert (one, three) == (same, CELL)
  shown = sum(len(x.cells) for x in figures.FIGURES.values())
  assert len(plan.runs(figures.FIGURES, 'cpu')) < shown


def test_what_is_missing_is_drawn_and_named(monkeypatch):
  told = evaluated('lstm', ['key_to_door_lstm'])
  assert told['missing'] == ['key_to_door_lstm']
  (line,) = [line for line in told['panels'][0]['lines']
             if line['label'] == 'LSTM']
  assert 'mean' not in line and line['missing'] == 'not run: key_to_door_lstm'
  unknown = [claim for claim in told['claims'] if 'missing' in claim]
  assert len(unknown) == 2 and not [x for x in unknown
                                    if x['holds'] is not None]
  shown = []
  monkeypatch.setattr(draw, '_name_missing',
                      lambda axes, names: shown.extend(names))
  draw.draw(told)
  assert shown == ['LSTM']
  assert 'Not run: key_to_door_lstm.' in draw.caption(told)
  for text in page.table(told), page.verdicts(told), page.page([(told, b'')]):
    assert 'not run: key_to_door_lstm' in text


def test_captions_say_whose_goals_are_held_out():
  runs = {'a': {'splits': [0]}, 'b': {'splits': [11, 12]}, 'c': {'splits': [0]},
          'bandit': {'splits': [None]}, 'not_run': {}}
  assert draw._splits(runs) == (
      ' Held-out tasks are of split 0, of split 11 and 12 with b.')
  del runs['b']
  assert draw._splits(runs) == ''


@pytest.mark.parametrize('trained, holds', [(.6, True), (.4, None)])
def test_nothing_is_near_what_has_not_learnt(trained, holds):
  rows = [planted(which, np.full(30, share))
          for which, share in ((CELL, .5), (OTHER, .55))]
  rows[1]['train'] = {'optimum': [2.0, 4.0],
                      'return_mean': [0.0, 3 * trained]}
  claim = claims.near('near', '', measure.Pick(CELL), measure.Pick(OTHER), .15)
  told = evaluate._claim(claim, results_of(cell=rows[0], other=rows[1]))
  assert told['holds'] is holds
  assert holds or told['missing'].endswith(
      'earns 0.40 of the tasks it was trained on')


def test_of_no_run_at_all_there_is_a_picture():
  told = evaluated('tasks', FULL)
  assert draw.draw(told)[:4] == b'\x89PNG'
  assert {claim['holds'] for claim in told['claims']} == {None}


def improves(above=0.0):
  pick = measure.Pick(CELL)
  return figure_lib.Claim(
      'it learns', 'yes', 'late minus first', lambda results:
      measure.difference(results, pick, pick, measure.late, measure.first),
      above)


def holds(claim, **rows):
  results = results_of(**rows)
  figure = figure_lib.Figure('some', 'Some', '', '', (), 1, (claim,))
  return evaluate.evaluate(figure, results)['claims'][0]['holds']


def test_a_claim_holds_does_not_or_cannot_be_told():
  learns, not_ = rising(.1, .9), np.full(EPISODES, .5)
  assert holds(improves(), cell=planted(CELL, learns, 3)) is True
  assert holds(improves(.8), cell=planted(CELL, learns, 3)) is False
  assert holds(improves(), cell=planted(CELL, not_, 3)) is None
  assert holds(improves(.2), cell=planted(CELL, not_, 3)) is False
  assert holds(improves()) is None
  # The same effect is told where it varies little alone.
  effect = lambda low, high: measure.Effect(.2, low, high, 'tasks')
  for low, high, below, verdict in (
      (.1, .3, 1, True), (-.1, .5, 1, None), (.1, .3, .25, None),
      (.1, .3, .1, False), (-.3, -.1, 1, False), (np.nan, np.nan, 1, None)):
    assert evaluate.verdict(effect(low, high), 0, below) is verdict


def test_what_was_never_learnt_is_not_kept():
  figure = figures.FIGURES['long']
  kept = figure.claims[len(figure.cells)]
  assert 'keeps' in kept.claim
  row = lambda end: planted(figure.cells[0], rising(.1, end, 1000),
                            sets=('held_out', 'long'))
  verdict = lambda end: evaluate._claim(kept, cells.Results(
      'cpu', {figure.cells[0]: row(end)}))
  assert verdict(.9)['holds'] is True
  nothing = verdict(.1)
  assert nothing['holds'] is None and 'too little' in nothing['missing']


def test_levels_are_those_of_the_tables_of_results():
  row = planted(CELL, rising(.1, .9), 3)
  results = results_of(cell=row)
  found = measure.level(results, measure.Pick(CELL))
  late = pack.unpack(row['sets']['held_out']['returns'])[..., 40:]
  assert found.value == pytest.approx(late.mean() / OPTIMUM.mean())
  assert found.over == 'seeds and tasks' and '41' in found.text
  assert found.low < found.value < found.high
  random = measure.level(results, measure.Pick(CELL, relative=True))
  assert random.value == pytest.approx((found.value - .1) / (.5 - .1))


def test_of_a_source_by_task_or_of_its_mean_alone():
  row = planted(CELL, rising(.1, .9), source=rising(.1, .5))
  picks = measure.Pick(CELL), measure.Pick(CELL, 'source')
  known = measure.difference(results_of(cell=row), *picks)
  del row['sets']['held_out']['source']['per_task']
  without = measure.difference(results_of(cell=row), *picks)
  assert without[:3] == pytest.approx(known[:3])
  del row['sets']['held_out']['source']['paid_per_task']
  with pytest.raises(cells.UnknownError, match='quick_seeds_3: not when its'):
    measure.sample(results_of(cell=row), measure.Pick(
        CELL, 'source', paid=True))
  with pytest.raises(cells.UnknownError, match='quick_seeds_3: no tasks odd'):
    measure.sample(results_of(cell=row), measure.Pick(CELL, tasks='odd'))


def test_of_a_row_of_blocks_nothing_shorter_is_told():
  row = planted(CELL, rising(.1, .9))
  told, pick = row['sets']['held_out'], measure.Pick(CELL)
  late = measure.level(results_of(cell=row), pick)
  told['returns'] = pack.pack(pack.unpack(told['returns']), block=10)
  assert measure.level(
      results_of(cell=row), pick)[:2] == pytest.approx(late[:2])
  with pytest.raises(cells.UnknownError, match='only sums over 10 episodes'):
    measure.level(results_of(cell=row), pick, measure.first)


def test_a_row_has_what_its_source_did_by_task():
  returns = np.random.default_rng(0).binomial(2, .2, (3, 4, 20)).astype(float)
  returns[0, 0, -1] = np.nan
  told = row_lib._reference({'return_mean': [1.0]}, returns, 1)
  np.testing.assert_allclose(
      pack.unpack(told['per_task']), np.nanmean(returns, 1), rtol=1e-6)
  paid = pack.unpack(told['paid_per_task'])
  assert paid.shape == (3, 20) and (np.diff(paid) >= 0).all()
  np.testing.assert_allclose(paid[:, 0], (returns[..., 0] > 0).mean(1))
  np.testing.assert_allclose(paid[:, -1], (returns > 0).any(-1).mean(1))
  assert row_lib._reference(.12345678, None, 1) == .123457


def test_differences_are_paired_by_task():
  """Of what shares tasks, by hand; and wider where it does not."""
  a, b = planted(CELL, rising(.1, .9), 3), planted(OTHER, rising(.1, .6))
  picks = measure.Pick(CELL), measure.Pick(OTHER)
  paired = measure.difference(results_of(cell=a, other=b), *picks)
  late = [pack.unpack(row['sets']['held_out']['returns'])[..., 40:].mean((2, 3))
          / OPTIMUM.mean() for row in (a, b)]
  ratio = OPTIMUM / OPTIMUM.mean()
  rest = [x - x.mean() * ratio for x in late]
  half = lambda x, t: t * x.std(ddof=1) / np.sqrt(len(x))
  squares = (half(rest[0].mean(0) - rest[1].mean(0), 2.5706)**2  # 5 degrees,
             + half(rest[0].mean(1), 4.3027)**2)  # and 2.
  assert paired.value == pytest.approx(late[0].mean() - late[1].mean())
  assert paired.high - paired.value == pytest.approx(squares**.5, rel=1e-3)
  # Of the same weights, what seeds have in common is no part of it.
  a['sets']['other'] = b['sets']['held_out'] | {
      'returns': pack.pack(pack.unpack(a['sets']['held_out']['returns']) / 2)}
  same = measure.difference(results_of(cell=a), measure.Pick(
      CELL, tasks='other'), picks[0])
  squares = (half(rest[0].mean(0) / 2, 2.5706)**2
             + half(rest[0].mean(1) / 2, 4.3027)**2)
  assert same.high - same.value == pytest.approx(squares**.5, rel=1e-3)
  assert (same.over, paired.over) == ('seeds and tasks', 'tasks')
  b['configuration']['tasks']['split_seed'] = 1
  squares = (half(rest[0].mean(0), 2.5706)**2 + half(rest[1].mean(0), 2.5706)**2
             + half(rest[0].mean(1), 4.3027)**2)
  apart = measure.difference(results_of(cell=a, other=b), *picks)
  assert apart.high - apart.value == pytest.approx(squares**.5, rel=1e-3)


def test_of_two_references_there_are_no_seeds():
  found = measure.difference(
      results_of(cell=planted(CELL, rising(.1, .9), 3)),
      measure.Pick(CELL, 'source'), measure.Pick(
          CELL, 'random_walk_with_memory'))
  assert found.over == 'tasks'


def test_intervals_of_differences_cover(monkeypatch):
  """Of 3 seeds and 8 tasks, some of them harder for both."""
  rng = np.random.default_rng(0)
  results = results_of(cell=planted(CELL, rising(.1, .9)),
                       other=planted(OTHER, rising(.1, .9)))
  covered = []
  for _ in range(300):
    hard, optimum = rng.normal(0, .1, 8), rng.uniform(2, 8, 8)

    def returns(mean, hard=hard, optimum=optimum):
      share = (mean + hard + rng.normal(0, .04, 8)
               + rng.normal(0, .02, (3, 1)))[..., None, None]
      noise = rng.normal(0, .1, (3, 8, 4, EPISODES))
      return measure.Sample((share + noise) * optimum[:, None, None], optimum,
                            1.0, 0.0)

    drawn = {CELL: returns(.8), OTHER: returns(.6)}
    monkeypatch.setattr(measure, 'sample',
                        lambda results, pick, drawn=drawn: drawn[pick.cell])
    found = measure.difference(results, measure.Pick(CELL), measure.Pick(OTHER))
    covered.append(found.low <= .2 <= found.high)
  assert np.mean(covered) >= .93


def test_episodes_to_where_another_ends_are_counted():
  """A source that needs four times as many: without noise, exactly."""
  steps = lambda at: np.where(np.arange(EPISODES) < at, 0.0, 1.0)
  row = planted(CELL, steps(10), 2, source=steps(40), actors=3)
  returns = OPTIMUM[:, None, None] * np.tile(steps(10), (2, 6, 4, 1))
  row['sets']['held_out']['returns'] = pack.pack(returns)
  picks = measure.Pick(CELL), measure.Pick(CELL, 'source')
  found = measure.speed_up(results_of(cell=row), *picks)
  # Means of five are 1 from the first episode with a 1 on.
  assert found[:3] == pytest.approx((41 / 11,) * 3)
  assert measure.speed_up(
      results_of(cell=row), *picks, counted=True).value == pytest.approx(
          3 * 41 / 11)
  # Of what is never there one knows that it needs more, and no more than that.
  row['sets']['held_out']['returns'] = pack.pack(0 * returns)
  never = measure.speed_up(results_of(cell=row), *picks)
  assert never[:3] == pytest.approx((41 / 47, 0, 41 / 47))
  summed = measure.speed_up(results_of(cell=row), *picks, counted=True)
  assert summed[:3] == pytest.approx((3 * 41 / 47, 0, 3 * 41 / 47))
  assert evaluate.verdict(never, 1, np.inf) is False
  assert evaluate.verdict(summed, 1, np.inf) is None


def test_episodes_to_a_share_may_be_known_from_below_alone():
  steps = lambda at: np.where(np.arange(EPISODES) < at, 0.0, 1.0)
  row = planted(CELL, steps(10), 2, source=.3 * steps(30))
  row['sets']['held_out']['returns'] = pack.pack(
      OPTIMUM[:, None, None] * np.tile(steps(10), (2, 6, 4, 1)))
  picks = measure.Pick(CELL), measure.Pick(CELL, 'source')
  near = measure.speed_up(results_of(cell=row), *picks, share=.15)
  # Means of five: .2 with one of these paid, and .18 with three.
  assert near[:3] == pytest.approx((29 / 7,) * 3)
  far = measure.speed_up(results_of(cell=row), *picks, share=.6)
  assert far[:3] == pytest.approx((47 / 9, 47 / 9, np.inf))
  assert evaluate.verdict(far, 1, np.inf) is True
  assert page.with_interval(5.2, [5.2, None]) == '5.200 (5.200 or more)'


def test_how_many_have_been_paid_only_rises():
  row = planted(CELL, np.where(np.arange(EPISODES) % 5 == 3, .9, 0.0))
  found = measure.sample(results_of(cell=row), measure.Pick(CELL, paid=True))
  curve = found.returns.mean((0, 1, 2))
  paid = pack.unpack(row['sets']['held_out']['returns']) > 0
  assert (np.diff(curve) >= 0).all() and curve[0] < .3
  assert curve[3] == pytest.approx(paid[..., :4].any(-1).mean())


def test_a_curve_is_of_means_over_ever_more_episodes():
  for episodes in 1, 2, 10, 50, 100, 1000:
    edges = evaluate.bins(episodes)
    assert edges[0] == 0 and edges[-1] == episodes and len(edges) <= 61
    assert (np.diff(edges) >= 1).all()
  row = planted(CELL, rising(.1, .9, 100))
  curve = figure_lib.Curve('AD', 'ad', measure.Pick(CELL))
  line = evaluate._line(curve, results_of(cell=row))
  edges = evaluate.bins(100)
  x = pack.unpack(row['sets']['held_out']['returns']).mean((0, 1, 2))
  assert line['mean'] == pytest.approx([
      x[a:b].mean() / OPTIMUM.mean() for a, b in (
          itertools.pairwise(edges))], abs=1e-4)
  assert line['x'][0] == 1 and line['over'] == 'tasks'


def test_no_mean_is_over_what_is_before_and_after():
  """Where tasks become others: nothing before, all after."""
  share = np.where(np.arange(60) < 20, 0.0, 1.0)
  row = planted(CELL, share)
  row['sets']['held_out']['returns'] = pack.pack(
      OPTIMUM[:, None, None] * np.tile(share, (1, 6, 4, 1)))
  curve = figure_lib.Curve('AD', 'ad', measure.Pick(CELL))
  means = {}
  for edge in 0, 20:
    panel = evaluate._panel(figure_lib.Curves('', (curve,), edge=edge),
                            results_of(cell=row))
    assert panel['edge'] == edge
    means[edge] = set(panel['lines'][0]['mean'])
  assert means[20] == {0, 1} < means[0]
  assert evaluate.bins(10, 20)[-1] == 10


def test_the_table_says_what_the_returns_do():
  """By another way, with NumPy alone."""
  told = evaluated('lstm')
  table = page.table(told)
  for name, theirs in ('key_to_door', .947), ('key_to_door_lstm', .839):
    x = pack.unpack(FULL[name]['sets']['held_out']['returns'])
    ours = x[..., -7:].mean() / OPTIMUM.mean()
    (line,) = [line for line in table.splitlines() if line.endswith(
        f'`adjax run --experiment={name}` |') and 'source' not in line
               and 'walk' not in line]
    cell = [text.strip() for text in line.split('|')]
    assert cell[3] == f'{theirs:.3f}' and cell[4].startswith(f'{ours:.3f} (')
    assert cell[5] == '24–30'  # noqa: RUF001


def test_the_table_has_the_papers_points_beside_ours():
  for name, panel, theirs in (
      ('bandit', 'All pulls together', [.99, .83, .87, .48, -.48, .01]),
      ('size', 'Heads', [.85, .925, .955, .96])):
    told = evaluated(name)
    found = [line['paper'] for line in told['table'] if line['panel'] == panel]
    assert found[:len(theirs)] == pytest.approx(theirs)


def test_the_paper_is_as_its_facts_have_it():
  """Beside numbers that the paper states or that were read elsewhere."""
  for name, last in (('dark_room/AD', 14.12 / 16.54), (
      'dark_room_hard/AD', .679), ('key_to_door/AD', 1.813 / 2),
                     ('watermaze/AD', .84), ('key_to_door/source', .993)):
    assert paper.last(name) == pytest.approx(last, abs=.005)
  # 1e5 steps of 100 actors, of 20 steps an episode, are 50 episodes of each.
  episodes, shares = paper.curve('dark_room/source')
  assert np.interp(52, episodes, shares) == pytest.approx(10 / 16.54, abs=.03)
  assert paper.limit('dark_room', 7) == pytest.approx(
      [2.5926 / 16.543, 7.2222 / 16.543, 11.4074 / 16.543, 15.2593 / 16.543,
       1, 1, 1], abs=1e-3)
  assert paper.limit('key_to_door', 1)[0] == pytest.approx(.402, abs=1e-3)
  assert paper.bandit_mean('random') == pytest.approx(.55, abs=1e-3)


def test_a_row_of_another_configuration_is_no_row():
  row = planted(OTHER, rising(.1, .9))
  assert cells.find([OTHER], 'cpu', {'some': row}).rows == {
      OTHER: row | {'splits': [0]}}
  assert cells.find([CELL], 'cpu', {'some': row}).rows == {}
  assert cells.find([OTHER], 'gpu', {'some': row}).rows == {}
  row['configuration']['method']['batch_size'] = 7
  assert cells.find([OTHER], 'cpu', {'some': row}).rows == {}


def test_rows_of_several_splits_are_one_of_more_tasks():
  split = cells.cell('quick', 'tasks.split_seed=7')
  one = planted(OTHER, rising(.1, .9), actors=5)
  other = planted(split, rising(.1, .7), source=.3, actors=5, seed=1)
  rows = {row['name']: row for row in (other, one)}
  found = cells.find([OTHER], 'cpu', rows)
  assert found.rows[OTHER]['splits'] == [0, 7]
  alone = cells.find([OTHER], 'cpu', {'one': one})
  level = lambda x, kind='model': measure.level(x, measure.Pick(OTHER, kind))
  late = [pack.unpack(row['sets']['held_out']['returns'])[..., 40:]
          for row in (one, other)]
  share = np.concatenate(late, 1).mean() / OPTIMUM.mean()
  assert level(found).value == pytest.approx(share)
  assert level(found, 'source').value == pytest.approx(.4)
  assert level(found, 'summed').value == pytest.approx(.4)
  assert found.rows[OTHER]['commit'] == 'abc'
  assert found.curves(OTHER).returns.shape[1] == 2 * len(OPTIMUM)
  # What was run on other splits shares no tasks with it.
  assert measure.sample(found, measure.Pick(OTHER, 'source')).returns.shape == (
      1, 2 * len(OPTIMUM), 1, EPISODES)
  assert found.rows[OTHER]['configuration']['tasks'] != (
      alone.rows[OTHER]['configuration']['tasks'])


def test_attention_is_a_multiple_of_uniform_attention():
  steps, window, length = 40, 12, 10
  rng = np.random.default_rng(0)
  reward = rng.random(steps) < .3
  done = np.arange(1, steps + 1) % length == 0
  at = np.arange(steps)[:, None] - np.arange(window)
  uniform = (at >= 0) / (at >= 0).sum(1, keepdims=True)
  kinds = attention.kinds(reward.astype(float), done)
  assert set(kinds) == set(attention.KINDS)
  for kind in kinds.values():
    found = attention.multiple(uniform, kind, done)
    assert found.shape == (4,)
    np.testing.assert_allclose(found[1:], 1)
  # Of the first episode none is before, and it begins with no restart.
  first = {name: attention.multiple(uniform, kind, done)[0]
           for name, kind in kinds.items()}
  assert np.isnan([first['attention_before'], first['attention_restart']]).all()
  # All to the step before: in the second episode one of ten is of the first.
  last = np.zeros((steps, window))
  last[:, 1] = 1
  found = attention.multiple(last, kinds['attention_before'], done)
  by_hand = sum((min(window, length + i + 1) - i - 1) / min(
      window, length + i + 1) for i in range(length))
  assert found[1] == pytest.approx(1 / by_hand)


@pytest.mark.long
def test_a_policy_acts_first_and_the_model_sees_it():
  """Of an optimal one all is known; then a model that repeats what it saw."""
  tasks = dark_room.Config(
      size=3, episode_length=5, num_train=4, num_validation=1,
      num_held_out=4).make()
  model = transformer.Config(layers=1, width=8, window=5).make(tasks.env)
  first = jax.vmap(lambda task: types.unroll(prompt.prompted(
      tasks, model, params, 1.0, 0.0, 10), task, jax.random.key(0), 20)[0])
  key = jax.random.key(1)
  state = in_context.in_context(tasks.env, model, None).init(
      jax.tree.map(lambda x: x[0], tasks.held_out), key)
  params = model.init(key, state.inputs, state.cache, method='step')
  history = jax.jit(first)(tasks.held_out)
  returns = history.reward.reshape(4, 4, 5).sum(-1)
  best = jax.vmap(tasks.optimal_return)(tasks.held_out)
  np.testing.assert_array_equal(returns[:, :2], np.stack([best] * 2, 1))
  assert returns[:, 2:].mean() < best.mean()


@pytest.mark.long
def test_noise_is_what_leaves_so_much_of_the_optimum():
  tasks = dark_room.Config().make()
  noise = prompt.noises(tasks, jax.random.key(0))
  assert noise == sorted(noise, reverse=True) and 0 < noise[-1] < noise[0] < 1


@pytest.fixture
def clone(tmp_path, monkeypatch):
  """The folders of a clone, with the rows of a figure, and some of another."""
  for owner, name, place in (
      (row_lib, 'FOLDER', 'rows'), (documents, 'FOLDER', 'figures'),
      (documents, 'DOCUMENT', 'reproduce.md')):
    monkeypatch.setattr(owner, name, tmp_path / place)
  for name in 'key_to_door', 'key_to_door_lstm', 'bandit':
    row_lib.write(FULL[name], tmp_path / 'rows')
  documents.DOCUMENT.write_text(
      'a\n<!-- reproduce -->\nold\n<!-- end -->\nb\n')
  return tmp_path


def run(**values):
  """The program with these flags; returns its exit code."""
  return program.main(program.Asked(**values))


def test_the_program_draws_and_commits_what_is_there(clone, capsys):
  workdir = str(clone / 'work')
  assert run(figure='lstm', workdir=workdir) == 0
  said = capsys.readouterr().out
  assert 'holds: AD with an LSTM learns' in said and 'missing' not in said
  html = (clone / 'work' / 'index.html').read_text()
  assert html.count('<img') == 1 and 'script' not in html
  assert not re.findall('(?:src|href)="(?!data:|#)', html)
  assert not documents.FOLDER.exists()
  files = ('figure.json', 'figure.png', 'table.md')
  written = {name: (clone / 'work/lstm' / name).read_bytes() for name in files}
  assert run(figure='lstm', workdir=workdir, commit=True) == 0
  for name in files:
    assert (clone / 'work/lstm' / name).read_bytes() == written[name]
  assert (documents.FOLDER / 'lstm.json').read_bytes() == written[files[0]]
  assert (documents.FOLDER / 'lstm.png').read_bytes() == written[files[1]]
  text = documents.DOCUMENT.read_text()
  assert text.startswith('a\n<!-- reproduce -->\n| figure |')
  assert '| [lstm](#lstm): A transformer' in text and text.endswith('-->\nb\n')
  assert run(check=True) == 0


def test_a_figure_of_no_run_is_not_committed(clone):
  assert run(figure='context', workdir=str(clone / 'work'), train=False,
             commit=True) == 0
  assert [path.stem for path in documents.FOLDER.glob('*')] == []
  assert 'No figure yet.' in documents.DOCUMENT.read_text()


def test_a_figure_that_tells_nothing_any_more_is_removed(clone):
  commit = lambda: run(figure='lstm', workdir=str(clone / 'work'), train=False,
                       commit=True)
  assert commit() == 0 and len(list(documents.FOLDER.glob('lstm.*'))) == 2
  for path in row_lib.FOLDER.glob('key_to_door*'):
    path.unlink()
  assert run(check=True) == 1
  assert commit() == 0 and not list(documents.FOLDER.glob('*'))
  assert 'No figure yet.' in documents.DOCUMENT.read_text()
  assert run(check=True) == 0


def test_what_the_rows_no_longer_say_is_found(clone, capsys):
  run(figure='lstm', workdir=str(clone / 'work'), commit=True)
  row = planted(cells.cell('key_to_door'), rising(.1, .5, 30), seed=1)
  row_lib.write(row, row_lib.FOLDER, replace=True)
  capsys.readouterr()
  assert run(check=True) == 1
  assert 'lstm: must be drawn anew' in capsys.readouterr().out
  (documents.FOLDER / 'lstm.png').unlink()
  documents.DOCUMENT.write_text('a\n<!-- reproduce -->\n<!-- end -->\n')
  assert run(check=True) == 1
  said = capsys.readouterr().out
  assert 'must have a picture beside it' in said and '+| figure |' in said


def test_what_is_missing_is_told_with_how_long_it_takes(clone, capsys):
  del clone
  assert run(figure='bandit', list=True) == 0
  assert capsys.readouterr().out.splitlines()[1:] == [
      '  bandit: there', '  bandit_ed: missing, time unknown',
      '  bandit_rl2: missing, time unknown',
      '3 runs, 2 of them missing, unknown for 2']
  assert run(figure='tasks', dry_run=True) == 0
  said = capsys.readouterr().out
  assert said.splitlines()[1] == (
      '  key_to_door_num_train_1_histories_2048: missing, about 2 minutes')
  assert said.endswith(
      '5 runs, 4 of them missing: about 8 minutes for 4 of these\n')
  # What an accelerator took says nothing of a CPU.
  for path in row_lib.FOLDER.glob('*.json'):
    path.write_text(path.read_text().replace(' cpu, ', ' TPU v4, '))
  assert run(figure='tasks', dry_run=True) == 0
  assert capsys.readouterr().out.endswith('5 runs, 4 of them missing, unknown '
                                          'for 4\n')


def test_what_is_missing_is_run_and_what_fails_stops_no_other(
    clone, monkeypatch, capsys):
  began = []

  def fake(experiment, folder, progress, stop):
    del progress, stop
    began.append(folder)
    os.makedirs(folder)
    if experiment.name == 'bandit_ed':
      raise ValueError('data=1: must be 2')

  monkeypatch.setattr(train.run, 'run', fake)
  monkeypatch.setattr(
      train.sets, 'more', lambda folder, config: {})
  monkeypatch.setattr(
      train.row_lib, 'make', lambda folder, block, commit: FULL[
          folder.rpartition('/')[2]] | {'commit': commit})
  workdir = clone / 'work'
  with pytest.raises(RuntimeError, match='^1 of 2 runs failed: bandit_ed: '
                     r'data=1: must be 2$'):
    run(figure='bandit', workdir=str(workdir))
  assert began == [str(workdir / 'cells' / name)
                   for name in ('bandit_ed', 'bandit_rl2')]
  assert [path.stem for path in (workdir / 'rows').glob('*')] == ['bandit_rl2']
  assert 'missing: bandit_ed\n' in capsys.readouterr().out
  assert plan.missing({'bandit': figures.FIGURES['bandit']}, 'cpu',
                      cells.everything(str(workdir))) == [
                          cells.cell('bandit_ed')]


@pytest.mark.parametrize('values, message', [
    ({'figure': 'some', 'workdir': 'x'}, "--figure='some': must be all, or one "
     'of main, bandit'),
    ({}, '--workdir=None: must be a folder'),
    ({'workdir': __file__}, f'--workdir={__file__!r}: must be a folder that')])
def test_what_is_not_understood_is_refused(values, message):
  with pytest.raises(ValueError, match=f'^{re.escape(message)}'):
    run(**values)


@pytest.mark.long
def test_flags_are_told_to_the_program():
  """Of a process of its own: other programs have flags of these names."""
  done = subprocess.run(
      [sys.executable, '-m', 'experiments.reproduce', '--figure=lstm',
       '--dry_run', '--budget=gpu'], text=True, capture_output=True,
      cwd=documents.ROOT, check=True)
  assert done.stdout.startswith('lstm: ') and 'lstm_gpu: ' in done.stdout


def test_rows_of_a_changed_clone_are_refused(clone, monkeypatch):
  monkeypatch.setattr(row_lib, 'commit_of', lambda: 'abc-dirty')
  with pytest.raises(ValueError, match=r'^commit=.abc-dirty.: must be of'):
    run(figure='bandit', workdir=str(clone / 'work'), commit=True)


def test_what_is_committed_is_what_the_rows_say():
  assert documents.wrong(cells.everything(None)) == [], (
      'draw them anew: python -m experiments.reproduce --notrain --commit')
  sizes = [path.stat().st_size for folder in ('figures', 'rows')
           for path in (documents.FOLDER.parent / folder).glob('*')]
  assert sum(sizes) <= 4_000_000
