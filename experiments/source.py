"""The data before it is distilled: does the source improve, and how fast?

  python -m experiments.source --experiment=dark_room_q --episodes=200

Prints the mean return by episode, as a share of the optimum on the same tasks,
of a preset's source (as it is, before thinning) and of the references. Of a
source of several actors it is the mean over them, by their own episodes. Last,
the worst task's share of its own optimum at the end.
"""

from absl import app
from absl import flags

from experiments import cli

_EXPERIMENT = flags.DEFINE_string('experiment', 'quick', 'The preset.')
_SIZE = flags.DEFINE_enum('size', 'cpu', ('cpu', 'gpu'), 'The preset\'s size.')
_SET = flags.DEFINE_multi_string('set', [], 'Replaces a field of the preset.')
_EPISODES = flags.DEFINE_integer('episodes', 50, 'Episodes of a life.', 1)
_TASKS = flags.DEFINE_enum(
    'tasks', 'validation', ('train', 'validation', 'held_out'),
    'On which tasks; held_out is for final figures alone.')
_RUNS = flags.DEFINE_integer('runs', 32, 'Lives on each task.', 1)


@cli.main
def main():
  import jax
  import numpy as np

  from adjax import config as config_lib
  from adjax import histories
  from adjax import metrics
  from adjax.learners import references
  from experiments import configs
  from experiments import presets
  from experiments import report

  experiment = config_lib.override(
      presets.get(_EXPERIMENT.value, _SIZE.value), _SET.value)
  tasks = configs.make_tasks(experiment.tasks)
  some = getattr(tasks, _TASKS.value)
  optimum = report.optimum(tasks, some)
  edges = [n for n in (1, 2, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000)
           if n < _EPISODES.value] + [_EPISODES.value]
  print(f'{"up to episode":28}' + ''.join(f'{n:7}' for n in edges)
        + '  worst task')
  learners = [(f'source of {experiment.name}',
               configs.make_source(experiment.source, tasks)),
              ('random', references.random(tasks))]
  if tasks.walk is not None:
    learners.append(('remember', references.remember(tasks)))
  for name, learner in learners:
    history = histories.generate(
        learner, some, jax.random.key(experiment.seed), _RUNS.value,
        _EPISODES.value * tasks.episode_length)
    by_task = np.nanmean(metrics.learning_curves(
        history.reward, history.done, _EPISODES.value), 1)  # [N, E].
    # The mean of the last tenth before each of these episodes.
    recent = [by_task[:, n - max(1, n // 10):n].mean(1) for n in edges]
    shares = [x.mean() / optimum.mean() for x in recent]
    print(f'{name:28}' + ''.join(f'{share:7.3f}' for share in shares)
          + f'{(recent[-1] / optimum).min():12.3f}')


if __name__ == '__main__':
  app.run(main)
