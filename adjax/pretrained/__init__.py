"""Trained models in the box: files of weights, made by

  python -m experiments.pretrained

and loaded by adjax.Agent.pretrained(name). Each states in its header what it
earns on held-out tasks.
"""

import pathlib

from adjax import config

_FOLDER = pathlib.Path(__file__).parent


def names() -> list[str]:
  """Those there are."""
  return sorted(path.stem for path in _FOLDER.glob('*.npz'))


def path(name: str) -> str:
  """The file of weights of a name.

  Raises:
    ValueError: if there is none.
  """
  config.check('pretrained', name, name in names(),
               'one of ' + ', '.join(names()))
  return str(_FOLDER / f'{name}.npz')
