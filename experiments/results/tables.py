"""The tables of the documents, made of the rows."""

import re
from typing import Any
from typing import NamedTuple

from adjax import presets
from adjax.experiment import markdown
from experiments.results import figures
from experiments.results import row as row_lib

Rows = dict[str, dict[str, Any]]
Cells = dict[str, str]  # {head of the column: text}.
Span = figures.Span


class Table(NamedTuple):
  """A table of docs/results.md, of the presets of one file.

  Attributes:
    early: spans of episodes with a column each, episode 1 the first.
    late: spans that stand in one column; those that a row has.
  """
  early: tuple[Span, ...]
  late: tuple[Span, ...]


_SMALL = (1, 1), (5, 5), (9, 10)
# {file of adjax.presets: its table}; the bandit's is of another kind.
TABLES = {
    'dark_room': Table(_SMALL, ((41, 50), (91, 100))),
    'dark_room_hard': Table(
        ((1, 1), (10, 10), (26, 30)), ((41, 50), (81, 100))),
    'key_to_door': Table(_SMALL, ((11, 20), (41, 50), (91, 100))),
    'watermaze': Table(((1, 1), (5, 5), (10, 10)), ((11, 20), (31, 40))),
    'adapters': Table(((1, 1), (2, 2), (5, 5)), ()),
    'paper': Table(((1, 1), (50, 50), (160, 160)), ((991, 1000),)),
}
# {row of the README's table: its late episodes}.
README: dict[str, Span] = {
    'quick': (41, 50), 'dark_room_ed': (41, 50),
    'dark_room_rmax_split_seed_11': (41, 50),
    'dark_room_q_split_seed_12_seed_1': (41, 50),
    'dark_room_q_split_seed_13_seed_2': (41, 50),
    'dark_room_hard_rmax_split_seed_11': (81, 100),
    'key_to_door_q_split_seed_11': (41, 50), 'watermaze': (31, 40)}
# {preset: why it has no row, as long as it has none}.
NOT_RUN = dict.fromkeys((
    'paper', 'paper_hard', 'paper_key_to_door', 'paper_watermaze',
), 'hours or days')
_SOURCES = {
    'posterior': 'posterior sampling: rules, task distribution, dynamics',
    'annealed_oracle': 'annealed oracle: everything, the goal too',
    'coverage_search': 'coverage search: the pool, how to swim',
    'rmax': 'R-max: **nothing**', 'dqn': 'DQN: **nothing**',
    'tabular_q': 'tabular Q-learning: **nothing**',
    'actor_critic': 'actor-critic: **nothing**', 'ucb': 'UCB1: **nothing**',
    'thompson': 'Thompson sampling: **nothing**'}


def of(name: str, rows: Rows) -> str:
  """A table by its name in the markers, as Markdown."""
  if name == 'not_run':
    return _not_run(rows)
  if name == 'readme':
    return _markdown([_short(rows[x], span) for x, span in README.items()
                      if x in rows])
  if name == 'bandit':
    return _markdown([_bandit(row) for row in _of_file(name, rows)])
  if name == 'variants':
    return _markdown([_variant(row, table) for file, table in TABLES.items()
                      for row in _of_file(file, rows) if _varied(row)])
  return _markdown([_line(row, TABLES[name]) for row in _of_file(name, rows)
                    if not _varied(row)])


NAMES = (*TABLES, 'bandit', 'variants', 'not_run', 'readme')


def _of_file(name: str, rows: Rows) -> list[dict[str, Any]]:
  """The rows of the presets of a file, in their order there."""
  order = [preset.name for preset in getattr(presets, name).PRESETS]
  return sorted((row for row in rows.values() if row['experiment'] in order),
                key=lambda row: (order.index(row['experiment']), row['name']))


def _varied(row: dict[str, Any]) -> bool:
  """Whether it is more than its preset on another split, in other seeds."""
  return bool(row['set'].keys() - {*row_lib.SPLIT, 'seeds'}) or (
      row['size'] != 'cpu')


def _line(row: dict[str, Any], table: Table) -> Cells:
  curves = figures.of(row)
  early = [span for span in table.early if figures.known(curves, span)]
  late = _late(curves, table)
  then = list(dict.fromkeys([*early[-1:], *late]))
  joined = lambda figure: ' / '.join(_number(figure(span)) for span in then)
  beside = lambda kind: joined(lambda span: figures.beside(curves, kind, span))
  walk = 'random_walk_with_memory'
  # The first column's head says what the others' are.
  heads = 'episode 1', *map(figures.text, table.early[1:])
  return _first(row) | {
      head: _number(figures.mean(curves, span)) if span in early else ''
      for head, span in zip(heads, table.early)} | {
          'late episodes (95 %)': _bold_spans(curves, late),
          'over': figures.over(curves),
          'worst task': ' / '.join(
              _number(figures.worst_task(curves, span)) for span in late),
          'NAUC': _number(figures.nauc(curves)),
          'episodes to 90 %': str(figures.episodes_to_90(curves) or ''),
          'the source itself then': (
              beside('source') if 'source' in curves.beside else ''),
          'random walk then': (
              beside(walk) if walk in curves.beside else
              f'random {_number(figures.beside(curves, "random", (1, 1)))}'),
      } | _last(row)


def _variant(row: dict[str, Any], table: Table) -> Cells:
  """A row of the table of what is a preset with fields set."""
  curves = figures.of(row)
  early = [span for span in table.early if figures.known(curves, span)]
  late = _late(curves, table)
  return {
      'experiment': label(row), 'seeds': str(row['seeds']),
      'early episodes': '; '.join(
          f'{figures.text(span)}: {_number(figures.mean(curves, span))}'
          for span in early),
      'late episodes (95 %)': _bold_spans(curves, late),
      'worst task': ' / '.join(
          _number(figures.worst_task(curves, span)) for span in late)
      } | _last(row)


def _late(curves: figures.Curves, table: Table) -> list[Span]:
  """The late episodes of a table that curves have, or their last quarter."""
  return [span for span in table.late if figures.known(curves, span)] or [
      (curves.episodes - max(curves.episodes // 4, 1) + 1, curves.episodes)]


def _bandit(row: dict[str, Any]) -> Cells:
  """Relative to the source, whose tasks are no easier than others."""
  cells = _first(row)
  for name in row['sets']:
    curves = figures.of(row, name)
    middle, low, high = map(_number, figures.of_source(curves))
    cells[name.replace('_', ' ')] = f'**{middle}** ({low} to {high})'
  curves = figures.of(row)
  every = 1, curves.episodes
  return cells | {
      'over': figures.over(curves), 'pulls': str(curves.episodes),
      'of the optimum, held out: itself / source / random': ' / '.join((
          _number(figures.mean(curves, every)),
          *(_number(figures.beside(curves, kind, every))
            for kind in ('source', 'random'))))} | _last(row)


def _short(row: dict[str, Any], late: Span) -> Cells:
  """A row of the README's table."""
  curves = figures.of(row)
  beside = lambda kind: _number(figures.beside(curves, kind, late))
  return {
      'experiment': label(row), 'distilled, and what it knows': knows(row),
      'episode 1': _number(figures.mean(curves, (1, 1))),
      'late episodes (95 %)': f'{figures.text(late)}: {_bold(curves, late)}',
      'worst task': _number(figures.worst_task(curves, late)),
      'the source then': beside('source'),
      'random walk': beside('random_walk_with_memory'), 'time': _time(row)}


def _first(row: dict[str, Any]) -> Cells:
  return {'experiment': label(row),
          'what is distilled, and what it knows': knows(row),
          'seeds': str(row['seeds'])}


def _last(row: dict[str, Any]) -> Cells:
  made = f'{row["date"]}, {row["machine"]}'
  return {'time': _time(row), 'made': '; '.join(filter(None, (
      made, row['note'])))}


def label(row: dict[str, Any]) -> str:
  """As one would run it."""
  words = [row['experiment'], *['--size=gpu'] * (row['size'] == 'gpu')]
  words += [f'--seeds={text}' if field == 'seeds' else f'--set {field}={text}'
            for field, text in row['set'].items()]
  return f'`{" ".join(words)}`'


def knows(row: dict[str, Any]) -> str:
  """What is distilled, and what it knows beforehand."""
  config = row['configuration']
  if config['method']['kind'] == 'adjax.methods.rl2:Config':
    return 'RL²: nothing is distilled'
  source, data = config['source'], config['data']
  text = _SOURCES[re.sub(r'.*\.|:.*', '', source['kind'])]
  if source.get('count_rewards'):
    text += ', told its rewards'
  if data['last_episodes']:
    text += '; its last episodes alone: expert distillation'
  if data['episode_stride'] > 1:
    text += f'; one episode in {data["episode_stride"]}'
  return text


def _not_run(rows: Rows) -> str:
  reasons: dict[str, list[str]] = {}
  run = {row['experiment'] for row in rows.values()}
  for name, reason in NOT_RUN.items():
    if name not in run:
      reasons.setdefault(reason, []).append(f'`{name}`')
  return '\n'.join(f'* {", ".join(names)}: {reason}.'
                   for reason, names in reasons.items()) or 'All were run.'


def _markdown(lines: list[Cells]) -> str:
  """A table; a row without a column's figure has an empty cell there."""
  if not lines:
    return 'No row yet.'
  heads = list(dict.fromkeys(head for cells in lines for head in cells))
  return markdown.table([heads, *(
      [cells.get(head, '') for head in heads] for cells in lines)])


def _bold_spans(curves: figures.Curves, spans: list[Span]) -> str:
  return '; '.join(
      f'{figures.text(span)}: {_bold(curves, span)}' for span in spans)


def _bold(curves: figures.Curves, span: Span) -> str:
  low, high = map(_number, figures.interval(curves, span))
  return f'**{_number(figures.mean(curves, span))}** ({low} to {high})'


def _number(x: float | None) -> str:
  """Three digits of a share, or of a return."""
  if x is None:
    return ''
  text = f'{x:.3f}' if abs(x) < 10 else f'{x:.1f}'
  return re.sub(r'^(-?)0\.', r'\1.', text).replace('-', '\N{MINUS SIGN}')


def _time(row: dict[str, Any]) -> str:
  return f'{row["seconds"]["total"] / 60:.1f} min'
