"""The picture of a figure, drawn of its JSON alone: one style for all."""

import io
import textwrap
from typing import Any
from typing import NamedTuple

from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
from matplotlib import ticker
import numpy as np
from PIL import Image

JSON = dict[str, Any]


class Style(NamedTuple):
  """How a method is drawn, the same everywhere.

  Of colours by Okabe and Ito, which survive colour-blindness; and no two
  methods of one colour have one dash, for print.
  """
  colour: str
  dash: Any = '-'
  width: float = 1.8
  marker: str = 'o'
  hollow: bool = False


_BLUE, _SKY, _ORANGE, _GREEN = '#0072B2', '#56B4E9', '#E69F00', '#009E73'
_RED, _PURPLE, _DARK = '#D55E00', '#CC79A7', '#333333'
_DOTS = (0, (1, 1.4))
STYLES = {
    'ad': Style(_BLUE, width=2.6), 'ad_paper': Style(_SKY, (0, (6, 1.5)), 2.6),
    'ed': Style(_RED, marker='s'), 'rl2': Style(_PURPLE, marker='D'),
    'lstm': Style(_PURPLE, (0, (6, 1.5)), marker='D'),
    'source': Style(_ORANGE, marker='^'),
    'summed': Style(_ORANGE, (0, (4, 2)), 1.4),
    'walk': Style(_GREEN, (0, (5, 1.5, 1, 1.5)), 1.4, 'v'),
    'limit': Style(_DARK, (0, (2, 2)), 1.2, '_'),
    'random': Style('#888888', '-', 1.0, '_'),
    # The paper's: the method's colour, dotted and hollow.
    'their_ad': Style(_BLUE, _DOTS, 2.4, hollow=True),
    'their_ed': Style(_RED, _DOTS, 2.0, 's', True),
    'their_rl2': Style(_PURPLE, _DOTS, 2.0, 'D', True),
    'their_lstm': Style(_PURPLE, _DOTS, 2.0, 'D', True),
    'their_source': Style(_ORANGE, _DOTS, 2.0, '^', True),
    'their_summed': Style(_ORANGE, (0, (1, 3)), 2.0, '^', True),
} | {f'{whose}{i}': Style(colour, dash, 2.0)
     # From little to much: viridis, darker at its end.
     for whose, dash in (('step', '-'), ('their_step', _DOTS))
     for i, colour in enumerate((
         '#440154', '#414487', '#2a788e', '#22a884', '#6cc04a', '#d0b800'))}
_SIZE = 10.5  # Of text; half as large it can still be read.
# Inches: of a panel with what is beside and below it, and these.
_PANEL, _BESIDE, _BETWEEN = (5.6, 3.5), 2.25, 1.0


def draw(told: JSON) -> bytes:
  """The picture of what evaluate.evaluate tells, as PNG."""
  columns = told['columns']
  rows = -(-len(told['panels']) // columns)
  foot = textwrap.fill(caption(told), int(_PANEL[0] * columns * 14.5))
  below = 0.45 + 0.19 * foot.count('\n')
  width, height = _PANEL[0] * columns, _PANEL[1] * rows + 0.5 + below
  figure = figure_lib.Figure(figsize=(width, height))
  panels = figure.subplots(rows, columns, squeeze=False)
  for axes, panel in zip(panels.flat, told['panels']):
    axes.tick_params(labelsize=_SIZE - 1)
    (_curves if panel['kind'] == 'curves' else _points)(axes, panel)
    axes.set_title(panel['title'], fontsize=_SIZE + 1, loc='left')
    axes.set_ylabel(panel.get('unit') or told['unit'], fontsize=_SIZE)
    axes.spines[['top', 'right']].set_visible(False)
    # Not in steps of a quarter, whose labels are wider than their margin.
    axes.yaxis.set_major_locator(
        ticker.MaxNLocator('auto', steps=[1, 2, 5, 10]))
    axes.grid(axis='y', color='0.92', lw=0.8)
    axes.set_axisbelow(True)
  for axes in panels.flat[len(told['panels']):]:
    axes.set_visible(False)
  figure.suptitle(told['title'], x=0.012, y=1 - 0.1 / height, ha='left',
                  va='top', fontsize=_SIZE + 3, fontweight='bold')
  figure.text(0.012, 0.08 / height, foot, fontsize=_SIZE - 1.5, color='0.3',
              va='bottom')
  figure.subplots_adjust(
      left=0.68 / width, right=1 - 1.55 / width, top=1 - 0.82 / height,
      bottom=(below + 0.55) / height, wspace=_BESIDE / (_PANEL[0] - _BESIDE),
      hspace=_BETWEEN / (_PANEL[1] - _BETWEEN))
  drawn, small = io.BytesIO(), io.BytesIO()
  figure.savefig(drawn, dpi=100, format='png')
  # A third of the bytes; and no metadata, which would name a version.
  Image.open(drawn).convert('RGB').quantize(
      256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
  ).save(small, format='png', optimize=True)
  return small.getvalue()


def caption(told: JSON) -> str:
  """How the picture is to be read: its own words, and what its bands are."""
  lines = [line for panel in told['panels'] for line in panel['lines']]
  points = [x for line in lines for x in line.get('values', ()) if x]
  over = sorted({x['over'] for x in [*lines, *points] if 'over' in x})
  what = ('Bands and bars' if points and any('x' in line for line in lines)
          else 'Bars' if points else 'Bands')
  bands = f' {what}: 95 % intervals over {_over(over)}.' if over else ''
  missing = (f' Not run: {", ".join(told["missing"])}.' if told['missing']
             else '')
  return told['caption'] + _splits(told['cells']) + bands + missing


def _splits(runs: JSON) -> str:
  """Of which splits the held-out tasks are, where runs differ in that."""
  names: dict[str, list[str]] = {}
  for name, run in runs.items():
    if run.get('splits', [None]) != [None]:
      names.setdefault(' and '.join(map(str, run['splits'])), []).append(name)
  if len(names) < 2:
    return ''
  *few, (most, _) = sorted(names.items(), key=lambda item: len(item[1]))
  return f' Held-out tasks are of split {most}, ' + ', '.join(
      f'of split {split} with {" and ".join(which)}' for split, which in few
      ) + '.'


def _over(kinds: list[str]) -> str:
  """What intervals of several kinds are over."""
  if kinds == ['seeds and tasks', 'tasks']:
    return 'tasks, and over training seeds where there are several'
  return ' or '.join(kinds)


def _curves(axes: axes_lib.Axes, panel: JSON) -> None:
  """Curves by episode, each named where it ends."""
  drawn = [line for line in panel['lines'] if 'x' in line]
  numbers = lambda line, name: np.array(line[name], float)
  # Many lie over one another.
  alpha = 0.16 if sum('low' in line for line in drawn) < 4 else 0.12
  for line in drawn:
    style = STYLES[line['style']]
    x = numbers(line, 'x')
    if 'low' in line:
      axes.fill_between(x, numbers(line, 'low'), numbers(line, 'high'), lw=0,
                        color=style.colour, alpha=alpha)
    axes.plot(x, numbers(line, 'mean'), color=style.colour, ls=style.dash,
              lw=style.width, marker=style.marker if len(x) < 4 else '', ms=4)
  if panel.get('edge'):
    axes.axvline(panel['edge'] + 0.5, color='0.6', lw=0.8, zorder=0)
  most = max([line['x'][-1] for line in drawn], default=10)
  least, highest = _range([x for line in drawn for x in line['mean']])
  axes.set(xscale='log', xlim=(1, max(most, 2)), ylim=(least, highest))
  axes.set_xlabel(f'{panel["xlabel"]} (log)', fontsize=_SIZE)
  axes.xaxis.set_major_locator(ticker.FixedLocator(
      [x for x in (1, 3, 10, 30, 100, 300, 1000, 3000)
       if x <= most]))
  axes.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
  axes.xaxis.set_minor_locator(ticker.NullLocator())
  _label(axes, [(line['label'], STYLES[line['style']].colour, line['x'][-1],
                 _last(line['mean'])) for line in drawn])
  _name_missing(axes, [line['label'] for line in panel['lines']
                       if 'x' not in line])


def _points(axes: axes_lib.Axes, panel: JSON) -> None:
  """Points beside one another, with their intervals."""
  lines, places = panel['lines'], panel['places']
  beside = max((sum(line['values'][j] is not None for line in lines)
                for j in range(len(places))), default=1)
  shift = 0.0 if panel['joined'] or beside < 2 else 0.62 / len(lines)
  ends, missing = [], []
  for i, line in enumerate(lines):
    style = STYLES[line['style']]
    known = [(j + shift * (i - (len(lines) - 1) / 2), value)
             for j, value in enumerate(line['values'])
             if value and value.get('mean') is not None]
    missing += [f'{line["label"]}, {place}'
                for place, value in zip(places, line['values'])
                if value and 'missing' in value]
    if not known:
      continue
    x, mean = (np.array(z) for z in zip(*((x, v['mean']) for x, v in known)))
    error = np.abs([[v['mean'] - v.get('low', v['mean']),
                     v.get('high', v['mean']) - v['mean']]
                    for _, v in known]).T
    axes.errorbar(
        x, mean, error, color=style.colour, marker=style.marker, ms=8,
        mfc='white' if style.hollow else style.colour, mew=1.6, lw=style.width,
        ls=style.dash if panel['joined'] else 'none', elinewidth=1.8, capsize=3)
    ends.append((line['label'], style.colour, x[-1], float(mean[-1])))
  values = [v[key] for line in lines for v in line['values'] if v
            for key in ('mean', 'low', 'high') if v.get(key) is not None]
  axes.set(xlim=(-0.5, len(places) - 0.5), ylim=_range(values))
  axes.set_xticks(range(len(places)), places)
  axes.tick_params('x', labelsize=_SIZE - (1 if len(places) < 6 else 2))
  axes.set_xlabel(panel['xlabel'], fontsize=_SIZE)
  axes.axhline(0, color='0.7', lw=0.8, zorder=0)
  _label(axes, ends)
  _name_missing(axes, missing, below=True)


def _range(values: list[float | None]) -> tuple[float, float]:
  """Of shares: from 0 to 1 at least, and all that is drawn."""
  known = [x for x in values if x is not None]
  least = min([0.0, *known])
  return least - (0.06 if least < -0.05 else 0.0), max([1.0, *known]) + 0.04


def _last(values: list[float | None]) -> float:
  """What was known last; 0 if nothing was."""
  return next((x for x in reversed(values) if x is not None), 0.0)


def _label(
    axes: axes_lib.Axes, ends: list[tuple[str, str, float, float]]
) -> None:
  """Names what ends at points, in the margin, no name over another."""
  low, high = axes.get_ylim()
  gap = _SIZE * 1.25 / 72 / (_PANEL[1] - _BETWEEN)
  order = sorted(range(len(ends)), key=lambda i: ends[i][3])
  at: list[float] = []
  for i in order:
    wanted = (ends[i][3] - low) / (high - low)
    at.append(max([wanted, *(y + gap for y in at[-1:])]))
  # What was pushed over the top is pushed down again.
  for k in range(len(at) - 1, -1, -1):
    most = 1.0 if k == len(at) - 1 else at[k + 1] - gap
    at[k] = min(at[k], most)
  to_margin = axes.get_yaxis_transform()
  for y, i in zip(at, order):
    name, colour, x, value = ends[i]
    height = low + y * (high - low)
    edge = axes.get_xlim()[1]
    axes.text(1.06, height, name, transform=to_margin, color=colour,
              fontsize=_SIZE, va='center')
    # From where it ends to its name.
    axes.plot([x, edge], [value, value], color=colour, lw=0.7, alpha=0.45,
              ls=':')
    axes.plot([1.0, 1.05], [value, height], transform=to_margin, color=colour,
              lw=0.7, alpha=0.6, clip_on=False)


def _name_missing(
    axes: axes_lib.Axes, names: list[str], below: bool = False
) -> None:
  """What would be drawn here if it were there, in a corner.

  That above curves, or below points: few rise at once, or end low.
  """
  if names:
    text = textwrap.fill(f'missing: {"; ".join(names)}', 24)
    x, y, side, end = ((0.98, 0.03, 'right', 'bottom') if below else
                       (0.02, 0.97, 'left', 'top'))
    axes.text(x, y, text, transform=axes.transAxes, ha=side, va=end,
              fontsize=_SIZE - 2, style='italic', color='0.35')
