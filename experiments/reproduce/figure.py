"""What a figure is: panels of curves or of points, and what is claimed."""

from collections.abc import Callable
from collections.abc import Iterator
import math
from typing import NamedTuple

from experiments.reproduce import cells
from experiments.reproduce import measure

Pick = measure.Pick


class Curve(NamedTuple):
  """A learning curve of ours.

  Attributes:
    label: at its end.
    style: of draw.STYLES.
    pick: whose.
    paper: the paper's curve of the same, for the table; '' if there is none.
  """
  label: str
  style: str
  pick: Pick
  paper: str = ''


class Known(NamedTuple):
  """A curve that is known: the paper's, or a limit.

  Attributes:
    label: at its end.
    style: of draw.STYLES.
    name: of the curve in paper.json.
    limit: it is one of the limits there.
  """
  label: str
  style: str
  name: str
  limit: bool = False


class Curves(NamedTuple):
  """A panel of curves by episode.

  Attributes:
    title: above it.
    curves: in it.
    xlabel: what an episode is called.
    unit: what is drawn, if it is not what the figure says.
    edge: after so many episodes tasks become others: no mean is over both, and
      a line is there; 0 if they do not.
  """
  title: str
  curves: tuple[Curve | Known, ...]
  xlabel: str = 'episode'
  unit: str = ''
  edge: int = 0


class Points(NamedTuple):
  """One learner in several places: a pick or a known number for each.

  Attributes:
    label: what it is called.
    style: of draw.STYLES.
    values: of each place; None where there is nothing.
  """
  label: str
  style: str
  values: tuple[Pick | float | None, ...]


class Places(NamedTuple):
  """A panel of points, one beside the other.

  Attributes:
    title: above it.
    places: what stands below each place.
    points: what is drawn there.
    when: over which episodes.
    xlabel: below all.
    joined: whether points are joined, as of places in an order.
  """
  title: str
  places: tuple[str, ...]
  points: tuple[Points, ...]
  when: measure.Episodes = measure.late
  xlabel: str = ''
  joined: bool = False


class Claim(NamedTuple):
  """Something that is claimed, and how one would see it.

  Attributes:
    claim: it.
    paper: what the paper says or shows of it.
    measured: what is measured.
    measure: the effect in the rows.
    above: it holds where the effect is above this,
    below: and below that.
  """
  claim: str
  paper: str
  measured: str
  measure: Callable[[cells.Results], measure.Effect]
  above: float = 0.0
  below: float = math.inf


class Figure(NamedTuple):
  """One of the paper's figures, or what it should have been.

  Attributes:
    name: of its files.
    title: above it.
    paper: which of the paper's figures, and what that shows.
    caption: how it is to be read, beside what is said of all.
    panels: in the order of reading.
    columns: how many are in a row.
    claims: what is claimed.
    unit: what is drawn.
  """
  name: str
  title: str
  paper: str
  caption: str
  panels: tuple[Curves | Places, ...]
  columns: int
  claims: tuple[Claim, ...]
  unit: str = 'share of the optimum'

  @property
  def cells(self) -> tuple[cells.Cell, ...]:
    """The runs it is made of, each of them once."""
    return tuple(dict.fromkeys(pick.cell for pick in self.picks()))

  def picks(self) -> Iterator[Pick]:
    """All that is drawn of ours."""
    for panel in self.panels:
      if isinstance(panel, Curves):
        yield from (curve.pick for curve in panel.curves
                    if isinstance(curve, Curve))
      else:
        yield from (value for points in panel.points
                    for value in points.values if isinstance(value, Pick))
