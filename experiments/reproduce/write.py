"""The files of figures in a workdir, and the page of all of them."""

from collections.abc import Iterator
import os

from adjax.storage import files
from experiments.reproduce import cells
from experiments.reproduce import documents
from experiments.reproduce import draw
from experiments.reproduce import evaluate
from experiments.reproduce import figures as figures_lib
from experiments.reproduce import page as page_lib
from experiments.reproduce import plan
from experiments.results import pack


def figures(
    chosen: plan.Figures, size: str, workdir: str, rows: dict[str, cells.Row],
    commit: bool = False,
) -> Iterator[evaluate.JSON]:
  """Writes figures, one after another.

  Args:
    chosen: which.
    size: of the presets.
    workdir: the folder.
    rows: all there are.
    commit: they become those of this clone, too.

  Yields:
    What each shows.
  """
  for name, figure in chosen.items():
    told = evaluate.evaluate(figure, cells.find(figure.cells, size, rows))
    picture = draw.draw(told)
    folder = os.path.join(workdir, documents.stem_of(name, size))
    os.makedirs(folder, exist_ok=True)
    path = lambda name, folder=folder: os.path.join(folder, name)
    files.write(path('figure.json'), pack.text(told))
    files.write(path('figure.png'), picture)
    files.write(path('table.md'), page_lib.table(told))
    if commit:
      documents.commit(told, picture)
    yield told
  if commit:
    documents.rewrite()


def page(workdir: str) -> str:
  """Writes the page of all figures in a workdir; returns its path."""
  found = []
  for stem in (documents.stem_of(name, size) for name in figures_lib.FIGURES
               for size in ('cpu', 'gpu')):
    path = os.path.join(workdir, stem, 'figure')
    if os.path.exists(f'{path}.json') and os.path.exists(f'{path}.png'):
      with open(f'{path}.png', 'rb') as file:
        found.append((files.read_json(f'{path}.json'), file.read()))
  path = os.path.join(workdir, 'index.html')
  files.write(path, page_lib.page(found))
  return path
