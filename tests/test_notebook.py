"""The notebook runs from its first cell to its last, at a tiny size."""

import html
import json
import pathlib

import nbclient
import nbformat
import pytest

NOTEBOOK = (pathlib.Path(__file__).parents[1] / 'experiments' / 'adjax.ipynb')
TINY = ['data.histories=2', 'method.epochs=1', 'method.updates_per_epoch=4',
        'model.layers=1', 'evaluate.episodes=8', 'evaluate.held_out_runs=2',
        'evaluate.reference_runs=2', 'evaluate.train_tasks=2']


def code_cells():
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  nbformat.validate(notebook)
  return notebook, [x for x in notebook.cells if x.cell_type == 'code']


def test_no_output_is_kept():
  _, cells = code_cells()
  assert len(cells) == 8
  assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.parametrize('source, installed, beside, wanted', [
    ('', {'adjax-rl': '0.2.0'}, None, None),
    ('', {'jax': '0.7.2'}, 'adjax', 'adjax'),
    ('', {'jax': '0.7.2', 'jaxlib': '0.7.2', 'flax': '0.11.2'}, '.', '.'),
    ('adjax_rl.whl', {'jax': '0.7.2', 'absl-py': '1.4.0'}, None,
     'adjax_rl.whl'),
    ('', {'jax': '0.7.2'}, None, AssertionError)])
def test_what_is_installed_and_what_stays(
    source, installed, beside, wanted, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  if beside:
    (tmp_path / beside / 'adjax').mkdir(parents=True)
    (tmp_path / beside / 'adjax' / '__init__.py').touch()
  text = code_cells()[1][0].source
  assert "SOURCE = ''\n" in text
  text = text.replace("SOURCE = ''", f'SOURCE = {source!r}').replace(
      '%pip install -q -c constraints.txt {SOURCE}', 'given.append(SOURCE)')
  assert '%' not in text and '!' not in text
  given = []
  distribution = lambda item: type('', (), dict(zip(('name', 'version'), item)))
  monkeypatch.setattr('importlib.metadata.distributions',
                      lambda: map(distribution, installed.items()))
  if wanted is AssertionError:
    with pytest.raises(AssertionError, match='set SOURCE'):
      exec(text, {'given': given})  # noqa: S102
    return
  exec(text, {'given': given})  # noqa: S102
  if wanted is None:
    assert not given
    return
  assert given == [source or str((tmp_path / wanted).resolve())]
  assert set((tmp_path / 'constraints.txt').read_text().splitlines()) == {
      f'{name}=={version}' for name, version in installed.items()
      if name != 'absl-py'}


@pytest.mark.long
def test_the_notebook_runs(tmp_path):
  notebook, cells = code_cells()
  cells[0].source = ''  # It is installed where the tests run.
  (cell,) = [x for x in cells if x.source.startswith('# 4.')]
  cell.source += ('\nfrom adjax.experiment import specification'
                  f'\nexperiment = specification.override(experiment, {TINY})')
  nbclient.NotebookClient(
      notebook, timeout=300, kernel_name='python3',
      resources={'metadata': {'path': tmp_path}}).execute()
  pictures = [output for cell in cells for output in cell.outputs
              if 'image/png' in output.get('data', {})]
  assert len(pictures) == 2
  run = tmp_path / 'runs' / 'notebook'
  assert json.loads((run / 'result.json').read_text())['seeds'] == 1
  # The page is in a document of its own, to the letter.
  (shown,) = [output.data['text/html'] for output in cells[-1].outputs
              if 'text/html' in output.get('data', {})]
  page = html.unescape(shown.partition('srcdoc="')[2].partition('"')[0])
  assert page == (run / 'report.html').read_text()
