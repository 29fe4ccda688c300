"""One page of a run, or of several side by side, that opens in any browser.

  adjax report runs/quick
  adjax report runs/quick runs/dark_room --output=both.html
  adjax report --pretrained=dark_room --output=demo.html

Of one run it is report.html in its folder, which every run ends with; of
several, ./report.html. The page is one file, asks for nothing from anywhere and
has no path, user or host in it. Of a model that comes with adjax it has its
curve, and the model itself to play with.
"""

import os
from typing import Any

from absl import flags

from adjax.cli import folders

_OUTPUT = flags.DEFINE_string(
    'output', None, 'The page. Default: report.html, in the folder of a run or '
    'here.')
flags.declare_key_flag('pretrained')


# Of the page of a model in the box.
TITLE = 'Frozen weights that learn'


def main(workdirs: list[str]) -> None:
  """Writes the page that the arguments tell."""
  from adjax.page import write
  from adjax.storage import files
  name = folders.PRETRAINED.value
  if bool(workdirs) == bool(name):
    raise ValueError('adjax report: must be given folders of runs, or '
                     '--pretrained=NAME')
  title = ''
  if name:
    runs, output, title = [_pretrained(name)], 'report.html', TITLE
  else:
    workdirs = [files.folder('workdir', workdir) for workdir in workdirs]
    runs = [_run(workdir, len(workdirs)) for workdir in workdirs]
    output = os.path.join(
        workdirs[0] if len(workdirs) == 1 else '', 'report.html')
  output = files.expand(_OUTPUT.value or output)
  write.write(output, runs, title)
  print(output)


def _run(workdir: str, runs: int) -> dict[str, Any]:
  from adjax.experiment import again
  from adjax.page import data
  from adjax.storage import files
  path = os.path.join(workdir, 'config.json')
  if not os.path.exists(path):
    raise ValueError(f'workdir={workdir}: must be the folder of a run, with a '
                     'config.json')
  saved = files.read_json(path)
  files.check_format(path, saved)
  command = again.command(data.without_paths(saved['config']))
  return data.of_workdir(workdir, command, runs)


def _pretrained(name: str) -> dict[str, Any]:
  """The page's run of a model in the box: it has no rollouts."""
  import jax
  import numpy as np

  from adjax import presets
  from adjax import pretrained
  from adjax.experiment import rollouts
  from adjax.page import data
  from adjax.storage import weights
  path = pretrained.path(name)
  header, nested = weights.load(path)
  config = presets.get(header['experiment']).tasks
  tasks = config.make()
  task = jax.tree.map(lambda x: np.asarray(x[0]), tasks.held_out)
  return data.of_weights(
      header, nested, rollouts.scene(config, tasks.env, task),
      f'python -m experiments.pretrained --names={name}')


def start(argv: list[str] | None = None) -> None:
  """The program."""
  folders.start(main, argv)


if __name__ == '__main__':
  start()
