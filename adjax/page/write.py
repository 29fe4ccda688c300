"""Writes a page: a template, the model's step, and data between them."""

import pathlib
from typing import Any

from adjax.storage import files

_HERE = pathlib.Path(__file__).parent


def page(runs: list[dict[str, Any]], title: str = '') -> str:
  """The page of some runs, one self-contained text of HTML.

  Args:
    runs: what data.of_workdir gives of each.
    title: at its top; the names of the runs by default.
  """
  share = all(run['optimum'] is not None for run in runs)
  # One model is played with: the first.
  own = next((run for run in runs if run.get('model')), None)
  text = files.to_json({
      'title': title or ', '.join(run['name'] for run in runs), 'share': share,
      'tiles': runs[0]['tiles'] if len(runs) == 1 else [],
      'series': _coloured([
          series for run in runs
          for series in _series(run, share, len(runs) > 1)]),
      'runs': [{name: x for name, x in run.items()
                if name not in ('series', 'tiles')
                and (name != 'model' or run is own)} for run in runs]})
  template = (_HERE / 'page.html').read_text(encoding='utf-8')
  before, between, after = template.replace(
      '/* model.js */', '\0').replace('/* data */', '\0').split('\0')
  # No text of a run can end the script that it stands in.
  return ''.join([
      before, (_HERE / 'model.js').read_text(encoding='utf-8'), between,
      text.replace('<', '\\u003c'), after])


def write(path: str, runs: list[dict[str, Any]], title: str = '') -> None:
  """Writes a page; see `page`.

  Raises:
    OSError: with the path, if it cannot be written.
  """
  files.write(path, page(runs, title))


def _coloured(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
  return [one | {'colour': f'var(--c{index % 6})'}
          for index, one in enumerate(series)]


def _series(
    run: dict[str, Any], share: bool, several: bool
) -> list[dict[str, Any]]:
  """The curves of a run, its own first; as shares of the optimum if known."""
  scale = run['optimum'] if share else 1.0
  return [one | {
      'name': f'{run["name"]}: {one["name"]}' if several else one['name'],
      'on': not several or index == 0} | {
          name: [round(x / scale, 5) for x in one[name]]
          for name in ('mean', 'low', 'high') if name in one}
          for index, one in enumerate(run['series'])]
