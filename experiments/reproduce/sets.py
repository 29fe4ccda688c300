"""What some figures show besides returns: more sets of a run's row."""

from typing import Any

from experiments.reproduce import attention
from experiments.reproduce import cells
from experiments.reproduce import changes
from experiments.reproduce import evaluations
from experiments.reproduce import figures
from experiments.reproduce import prompt
from experiments.reproduce import trained
from experiments.results import row as row_lib

# Names of sets, and what makes them all of a finished run.
MAKERS = (
    (tuple(map(prompt.name_of, prompt.SHARES)), prompt.sets),
    (tuple(attention.KINDS), attention.sets),
    (tuple(map(evaluations.name_of, evaluations.TEMPERATURES)),
     evaluations.temperatures),
    (('long',), evaluations.long), (('permuted',), changes.permuted),
    (('moved',), changes.moved))


def wanted(told: cells.Row) -> set[str]:
  """Names of the sets that figures draw of a run, of what identifies it."""
  key = cells.key(told)
  return {pick.tasks for figure in figures.FIGURES.values()
          for pick in figure.picks()
          if cells.key(cells.identity(pick.cell, told['size'])) == key}


def more(folder: str, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
  """{name: set} of a run's row that figures ask for; {} if none does.

  Args:
    folder: of the finished run.
    config: its configuration, as config.json has it.
  """
  told = row_lib.identity(config)
  names = wanted(told)
  makers = [make for made, make in MAKERS if names.intersection(made)]
  if not makers:
    return {}
  run = trained.load(folder, row_lib.experiment(told))
  return {name: found for make in makers for name, found in make(run).items()}
