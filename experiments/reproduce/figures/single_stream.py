"""Figure 3: one actor, histories subsampled: against the source's own stream.
"""

from typing import NamedTuple

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

# One actor, every tenth episode of it, and as many histories in all as the
# paper has.
_ONE = 'source.actors=1', 'data.episode_stride=10'


class _Stream(NamedTuple):
  title: str
  cell: cells.Cell
  kind: str
  paper: str = ''


_STREAMS = (
    _Stream('Dark Key-to-Door, A2C of one actor', cells.cell(
        'key_to_door_a2c', *_ONE, 'data.histories=8'), 'A2C', 'yes'),
    _Stream('Dark Key-to-Door, tabular Q', cells.cell('key_to_door_q'), 'Q'),
    _Stream('Dark Room, A2C of one actor', cells.cell(
        'dark_room_a2c', *_ONE, 'data.histories=32'), 'A2C'),
    _Stream('Dark Room, tabular Q', cells.cell('dark_room_q'), 'Q'))


def _panel(stream: _Stream) -> figure.Curves:
  pick = measure.Pick(stream.cell)
  source = measure.Pick(stream.cell, 'source')
  theirs = ('single_stream/AD', 'single_stream/source_single_actor')
  return figure.Curves(stream.title, (
      figure.Curve(f'AD ({stream.kind})', 'ad', pick,
                   theirs[0] if stream.paper else ''),
      figure.Curve(f'{stream.kind}, one stream', 'source', source,
                   theirs[1] if stream.paper else ''),
      figure.Curve('walk + memory', 'walk', measure.Pick(
          stream.cell, 'random_walk_with_memory')),
      *((figure.Known('AD of the paper', 'their_ad', theirs[0]),
         figure.Known('A3C of the paper', 'their_source', theirs[1]))
        if stream.paper else ())))


def _claims(stream: _Stream) -> tuple[figure.Claim, ...]:
  pick = measure.Pick(stream.cell)
  source = measure.Pick(stream.cell, 'source')
  paper = ('1.54 against .33 of 2 at episode 100, 1.78 against 1.09 at 400'
           if stream.paper else 'not shown')
  return (
      claims.better(
          f'{stream.title}: AD earns more than the stream of its source',
          paper, pick, source, when=measure.every),
      figure.Claim(
          f'{stream.title}: AD reaches what its source earns in fewer episodes '
          'of one stream', paper, 'how many times fewer',
          lambda results: measure.speed_up(results, pick, source), above=1))


FIGURE = figure.Figure(
    'single_stream', 'One stream: AD against the learner it is distilled from',
    'From every tenth episode of A3C with one actor AD learns in fewer steps '
    'than its source does in the same single stream.',
    'Both by the episodes of one stream: no actors are summed. AD was shown '
    'one episode in ten of the histories of A2C (of Q, one in as many as its '
    'preset says), from which it has its speed. A2C in Key-to-Door: eight '
    'histories of each of 256 tasks; the paper has one of 2048.',
    tuple(map(_panel, _STREAMS)), 2,
    tuple(claim for stream in _STREAMS for claim in _claims(stream)))
