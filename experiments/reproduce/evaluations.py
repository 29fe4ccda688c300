"""More of a run's own evaluation, as sets of its row: at other temperatures,
and of a thousand episodes.
"""

from typing import Any

from experiments.reproduce import trained

TEMPERATURES = 0.0, 0.3, 0.6
# Episodes of a long one; and runs on each task, the first of the run's own.
_EPISODES, _RUNS = 1000, 4


def name_of(temperature: float) -> str:
  """Of the set of returns at a temperature."""
  return f'temperature_{temperature:g}'


def temperatures(run: trained.Trained) -> dict[str, dict[str, Any]]:
  """{name: set of a row} at each of TEMPERATURES."""
  return {name_of(x): _own(run, x, run.evaluate.episodes)
          for x in TEMPERATURES}


def long(run: trained.Trained) -> dict[str, dict[str, Any]]:
  """{'long': set of a row}, of a thousand episodes."""
  return {'long': _own(run, run.evaluate.temperature, _EPISODES)}


def _own(
    run: trained.Trained, temperature: float, episodes: int
) -> dict[str, Any]:
  learner_of = lambda params: run.setup.trainer.learner(params, temperature)
  return trained.as_set(run, trained.returns(
      run, learner_of, run.tasks.held_out, _RUNS, episodes))
