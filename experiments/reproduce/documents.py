"""The figures that are committed, the document of them, and whether both are
what the rows say."""

import json
import pathlib
from typing import Any

from adjax.storage import files
from experiments.reproduce import cells
from experiments.reproduce import evaluate
from experiments.reproduce import figures
from experiments.reproduce import page
from experiments.results import marked
from experiments.results import pack

JSON = dict[str, Any]
ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'experiments' / 'results' / 'figures'
DOCUMENT = ROOT / 'docs' / 'reproduce.md'


def committed() -> dict[str, JSON]:
  """{stem: JSON} of the figures that are committed, in order."""
  order = [stem_of(name, size) for name in figures.FIGURES
           for size in ('cpu', 'gpu')]
  found = {path.stem: files.read_json(str(path))
           for path in FOLDER.glob('*.json')}
  return {stem: found[stem]
          for stem in sorted(found, key=lambda x: (
              order.index(x) if x in order else len(order), x))}


def stem_of(name: str, size: str) -> str:
  """Of a figure's files."""
  return name + '_gpu' * (size == 'gpu')


def commit(told: JSON, picture: bytes) -> None:
  """Writes a figure's files; of one no claim of which can be measured there are
  none, nor any more."""
  path = str(FOLDER / stem_of(told['name'], told['size']))
  if all(claim['effect'] is None for claim in told['claims']):
    for suffix in '.json', '.png':
      pathlib.Path(path + suffix).unlink(missing_ok=True)
    return
  FOLDER.mkdir(exist_ok=True)
  files.write(f'{path}.png', picture)
  files.write(f'{path}.json', pack.text(told))


def remade(text: str, found: dict[str, JSON]) -> str:
  """The document with what is between its markers made anew."""
  return marked.remade(text, 'reproduce', lambda _: '\n\n'.join([
      _summary(found),
      *(_section(stem, told) for stem, told in found.items())]))


def _summary(found: dict[str, JSON]) -> str:
  """How many claims of each figure hold."""
  if not found:
    return 'No figure yet.'
  rows = [['figure', 'hold', 'do not hold', 'cannot tell', 'runs']]
  for stem, told in found.items():
    verdicts = [claim['holds'] for claim in told['claims']]
    runs = len(told['cells'])
    rows.append([f'[{stem}](#{stem}): {told["title"]}', *(
        str(sum(x is verdict for x in verdicts))
        for verdict in (True, False, None)),
                 f'{runs - len(told["missing"])} of {runs}'])
  return page.markdown(rows)


def _section(stem: str, told: JSON) -> str:
  rows = [[row[i] for i in (0, 1, 3, 4)] for row in page.claims(told)]
  return (f'## {stem}\n\n![{told["title"]}]'
          f'(../experiments/results/figures/{stem}.png)\n\n'
          f'{page.markdown(rows)}')


def rewrite() -> None:
  """Makes the document's tables anew."""
  found = committed()
  marked.rewrite(DOCUMENT, lambda text: remade(text, found))


def wrong(rows: dict[str, cells.Row]) -> list[str]:
  """Lines on committed figures that are not what the rows say, and on the
  document where it says something else than they do."""
  found, lines = committed(), []
  for stem, told in found.items():
    figure = figures.FIGURES.get(told['name'])
    again = figure and evaluate.evaluate(
        figure, cells.find(figure.cells, told['size'], rows))
    if json.loads(pack.text(again or {})) != told:
      lines.append(f'{stem}: must be drawn anew, as rows or claims have '
                   f'changed: python -m experiments.reproduce '
                   f'--figure={told["name"]} --budget={told["size"]} --notrain '
                   '--commit --workdir=DIR')
    if not (FOLDER / f'{stem}.png').exists():
      lines.append(f'{stem}: must have a picture beside it')
  return lines + marked.wrong(DOCUMENT, lambda text: remade(text, found))
