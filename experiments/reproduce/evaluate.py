"""A figure's JSON: all that is drawn and said, of the rows at hand.

No times and no paths are in it: the same rows give the same bytes.
"""

import itertools
import math
from typing import Any

import numpy as np

from adjax import metrics
from adjax.storage import files
from experiments.reproduce import cells
from experiments.reproduce import figure as figure_lib
from experiments.reproduce import measure
from experiments.reproduce import paper
from experiments.results import figures

# A curve is drawn by so many means over ever more episodes, at most.
_POINTS = 60
_DIGITS = 4

JSON = dict[str, Any]


def evaluate(
    figure: figure_lib.Figure, results: cells.Results
) -> JSON:
  """What a figure shows, as JSON.

  Returns:
    `panels`, of curves or of points; `table`, what is drawn of ours, each with
    the paper's number and the command; `claims`, each with its `effect`,
    `interval` and whether it `holds`: None where the data cannot tell; and
    `missing`, names of the runs that there is no row of.
  """
  identity = lambda which: cells.identity(which, results.size)
  return {
      'format': files.FORMAT, 'name': figure.name, 'size': results.size,
      'title': figure.title, 'paper': figure.paper, 'caption': figure.caption,
      'unit': figure.unit, 'columns': figure.columns,
      'panels': [_panel(panel, results) for panel in figure.panels],
      'table': [line for panel in figure.panels
                for line in _table(panel, results)],
      'claims': [_claim(claim, results) for claim in figure.claims],
      'cells': {identity(which)['name']: {
          'command': cells.command(which, results.size)} | {
              key: results.rows[which][key]
              for key in ('seeds', 'splits', 'commit')
              if which in results.rows} for which in figure.cells},
      'missing': list(dict.fromkeys(
          identity(which)['name'] for which in figure.cells
          if which not in results.rows))}


def bins(episodes: int, edge: int = 0) -> np.ndarray:
  """Where spans of episodes begin, and the end: short ones first.

  Args:
    episodes: how many there are.
    edge: a span begins after so many, too.
  """
  edges = np.geomspace(1, episodes + 1, min(_POINTS, episodes) + 1)
  return np.union1d(np.round(edges).astype(int) - 1, min(edge, episodes))


def _panel(
    panel: figure_lib.Curves | figure_lib.Places, results: cells.Results
) -> JSON:
  if isinstance(panel, figure_lib.Curves):
    return {'title': panel.title, 'kind': 'curves', 'xlabel': panel.xlabel,
            'unit': panel.unit, 'edge': panel.edge, 'lines': [
                _known(curve) if isinstance(curve, figure_lib.Known) else
                _line(curve, results, panel.edge) for curve in panel.curves]}
  return {'title': panel.title, 'kind': 'points', 'places': list(panel.places),
          'xlabel': panel.xlabel, 'joined': panel.joined, 'lines': [{
              'label': points.label, 'style': points.style, 'values': [
                  _point(value, panel.when, results) for value in points.values
              ]} for points in panel.points]}


def _line(
    curve: figure_lib.Curve, results: cells.Results, edge: int = 0
) -> JSON:
  """A curve of ours; one that there is no row of has no `mean`."""
  told: JSON = {'label': curve.label, 'style': curve.style}
  try:
    found = measure.sample(results, curve.pick)
  except cells.UnknownError as error:
    return told | {'missing': str(error)}
  edges = bins(found.episodes, edge)
  means = np.stack([figures.mean_known(found.returns[..., a:b], -1)
                    for a, b in itertools.pairwise(edges)], -1)
  told |= {'x': _rounded((edges[:-1] + edges[1:] + 1) / 2),
           'mean': _rounded(found.told(figures.mean_known(means, (0, 1, 2))))}
  if curve.pick.kind != 'model':
    return told
  low, high = metrics.intervals(means, found.optimum)[0]
  return told | {'low': _rounded(found.told(low)),
                 'high': _rounded(found.told(high)),
                 'over': metrics.over(found.returns.shape)}


def _known(curve: figure_lib.Known) -> JSON:
  told = {'label': curve.label, 'style': curve.style}
  if curve.limit:
    y = paper.limit(curve.name, 100)
    return told | {'x': _rounded(np.arange(1, len(y) + 1)), 'mean': _rounded(y)}
  x, y = paper.curve(curve.name)
  return told | {'x': _rounded(x), 'mean': _rounded(y)}


def _point(
    value: measure.Pick | float | None, when: measure.Episodes,
    results: cells.Results,
) -> JSON | None:
  """A point: {mean, low, high, over}, {mean} of what is known, {missing}."""
  if not isinstance(value, measure.Pick):
    return None if value is None else {'mean': value}
  try:
    found = measure.level(results, value, when)
  except cells.UnknownError as error:
    return {'missing': str(error)}
  told = {'mean': _round(found.value)}
  return told if value.kind != 'model' else told | {
      'low': _round(found.low), 'high': _round(found.high), 'over': found.over}


def _table(
    panel: figure_lib.Curves | figure_lib.Places, results: cells.Results
) -> list[JSON]:
  """What a panel shows of ours in numbers: late, or as its points are."""
  picks: list[tuple[str, measure.Pick, float | None]] = []
  when: measure.Episodes = measure.late
  if isinstance(panel, figure_lib.Curves):
    picks = [(curve.label, curve.pick,
              paper.last(curve.paper) if curve.paper else None)
             for curve in panel.curves if isinstance(curve, figure_lib.Curve)]
  else:
    when, nothing = panel.when, [None] * len(panel.places)
    # The paper's points have the style of ours, but hollow.
    shown = {points.style: points.values for points in panel.points}
    picks = [(f'{points.label}, {place}', value, theirs)
             for points in panel.points for place, value, theirs in zip(
                 panel.places, points.values,
                 shown.get(f'their_{points.style}', nothing))
             if isinstance(value, measure.Pick)]
  return [{'panel': panel.title, 'label': label, 'paper': theirs,
           'command': cells.command(pick.cell, results.size)}
          | _ours(pick, when, results) for label, pick, theirs in picks]


def _ours(
    pick: measure.Pick, when: measure.Episodes, results: cells.Results
) -> JSON:
  try:
    found = measure.level(results, pick, when)
  except cells.UnknownError as error:
    return {'ours': None, 'missing': str(error)}
  return {'ours': _round(found.value), 'episodes': found.text} | (
      {'interval': [_round(found.low), _round(found.high)], 'over': found.over}
      if pick.kind == 'model' else {})


def _claim(claim: figure_lib.Claim, results: cells.Results) -> JSON:
  told = {'claim': claim.claim, 'paper': claim.paper,
          'measured': claim.measured, 'above': _bound(claim.above),
          'below': _bound(claim.below)}
  try:
    found = claim.measure(results)
  except cells.UnknownError as error:
    return told | {'effect': None, 'interval': None, 'holds': None,
                   'missing': str(error)}
  return told | {
      'measured': f'{claim.measured}; {found.text}',
      'effect': _round(found.value),
      'interval': [_round(found.low), _round(found.high)], 'over': found.over,
      'holds': verdict(found, claim.above, claim.below)}


def verdict(
    effect: measure.Effect, above: float, below: float
) -> bool | None:
  """Whether an effect is between two bounds; None where one cannot tell."""
  if above < effect.low and (effect.high < below or math.isinf(below)):
    return True
  if effect.high <= above or below <= effect.low:
    return False
  return None


def _bound(x: float) -> float | None:
  return x if math.isfinite(x) else None


def _round(x: float) -> float | None:
  # No minus before a zero.
  return round(float(x), _DIGITS) + 0.0 if math.isfinite(x) else None


def _rounded(x: Any) -> list[float | None]:
  return [_round(value) for value in np.asarray(x, float)]
