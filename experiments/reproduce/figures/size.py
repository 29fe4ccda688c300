"""Figure 12: width, layers and heads, in Key-to-Door."""

from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure
from experiments.reproduce.figures import varied

# {field: {value: the paper's return after 300 episodes, of 2}}. 64 wide, four
# layers and four heads are the paper's, where one of them is varied.
_VARIED: dict[str, dict[int, float | None]] = {
    'width': {16: 1.00, 32: 1.82, 64: 1.91, 128: 1.89},
    'layers': {1: None, 2: 1.61, 4: 1.89, 6: 1.93},
    'heads': {1: 1.70, 2: 1.85, 4: 1.91, 8: 1.92}}


def _pick(field: str, value: int) -> measure.Pick:
  return measure.Pick(varied.half(f'model.{field}={value}'))


def _panel(field: str) -> figure.Places:
  values = _VARIED[field]
  return figure.Places(f'{field.capitalize()}', tuple(map(str, values)), (
      figure.Points('AD', 'ad', tuple(_pick(field, x) for x in values)),
      figure.Points('AD of the paper', 'their_ad', tuple(
          None if x is None else x / 2 for x in values.values()))),
                       measure.late, field, True)


def _claim(
    field: str, a: int, b: int, words: str = 'is better than',
    above: float = claims.SEEDS,
) -> figure.Claim:
  theirs = ' against '.join(
      f'{(_VARIED[field][x] or 0) / 2:.3f}' for x in (a, b))
  return claims.better(f'{field}: {a} {words} {b}', theirs, _pick(field, a),
                       _pick(field, b), above)


FIGURE = figure.Figure(
    'size', 'The size of the model: Dark Key-to-Door',
    'Embeddings of 32 and more, four layers and more, and two heads and more '
    'are nearly alike; less is worse.',
    'One of the three is varied, the other two are those of the preset. From '
    'posterior sampling. Open points are those of the paper, in episode 300. '
    + varied.HALF,
    tuple(map(_panel, _VARIED)), 2,
    (_claim('width', 64, 16), _claim('layers', 4, 2), _claim('heads', 4, 1),
     _claim('width', 64, 128, 'is as good, but for .05, as', -.05),
     _claim('layers', 4, 6, 'is as good, but for .05, as', -.05)))
