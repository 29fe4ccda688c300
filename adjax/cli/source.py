"""The data before it is distilled: does the source improve, and how fast?

  adjax source --experiment=dark_room_q --episodes=200

Prints the mean return by episode, as a share of the optimum on the same tasks
(the return itself where nobody knows that one), of an experiment's source (as
it is, before any selection) and of the references. Of a source of several
actors it is the mean over them, by their own episodes. Last, the worst task's
share of its own optimum at the end. Learners that diverge are named and left
out, as a run leaves them out.
"""

from absl import flags

from adjax.cli import episodes as episodes_lib
from adjax.cli import launcher

flags.declare_key_flag('episodes')
_TASKS = flags.DEFINE_enum(
    'tasks', 'validation', ('train', 'validation', 'held_out'),
    'On which tasks; held_out is for final figures alone.')
_RUNS = flags.DEFINE_integer('runs', 32, 'Histories on each task.', 1)


def main() -> int:
  """Prints the table; returns the exit code."""
  import jax
  import numpy as np

  from adjax import histories
  from adjax import metrics
  from adjax import types
  from adjax.experiment import progress
  from adjax.experiment import report
  from adjax.experiment import setup
  from adjax.learners import references

  experiment = launcher.experiment()
  tasks = setup.make_tasks(experiment)
  some = getattr(tasks, _TASKS.value)
  optimum = report.optimum(tasks, some)
  if optimum is None:
    optimum = np.ones(types.num_tasks(some), np.float32)
  episodes = episodes_lib.FLAG.value or 50
  edges = [n for n in (1, 2, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000)
           if n < episodes] + [episodes]
  print(f'{"up to episode":28}' + ''.join(f'{n:7}' for n in edges)
        + '  worst task')
  learners = [('random', references.random(tasks))]
  if experiment.source is not None:
    learners.insert(0, (f'source of {experiment.name}',
                        setup.made('source', experiment.source, types.Learner,
                                   tasks)))
  if tasks.goal_policy is not None:
    learners.append(('random walk with memory',
                     references.random_walk_with_memory(tasks)))
  for name, learner in learners:
    history, finite = histories.generate(
        learner, some, jax.random.key(experiment.seed), _RUNS.value,
        episodes * tasks.episode_length)
    said = progress.left_out(
        np.flatnonzero(~np.asarray(finite)), finite.size, _RUNS.value,
        types.num_tasks(some))
    if said:
      print(said)
    curves = metrics.learning_curves(
        history.reward, history.done, episodes)
    by_task = np.nanmean(np.where(
        finite[:, :, None], curves, np.nan), 1)  # [N, E].
    # The mean of the last tenth before each of these episodes.
    recent = [by_task[:, n - max(1, n // 10):n].mean(1) for n in edges]
    shares = [np.nanmean(x) / optimum.mean() for x in recent]
    print(f'{name:28}' + ''.join(f'{share:7.3f}' for share in shares)
          + f'{np.nanmin(recent[-1] / optimum):12.3f}')
  return 0


def start(argv: list[str] | None = None) -> None:
  """The program."""
  launcher.start(main, argv)


if __name__ == '__main__':
  start()
