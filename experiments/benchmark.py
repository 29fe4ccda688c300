"""How fast each stage is, compilation apart.

  python -m experiments.benchmark [--stage=histories|train|evaluate]

Prints the median of several runs and their spread. Machines differ and are
noisy: quote medians, and ratios within one run.
"""

import functools
import time

from absl import app
from absl import flags

from experiments import cli

_STAGES = ('histories', 'train', 'evaluate')
_STAGE = flags.DEFINE_enum(
    'stage', None, _STAGES, 'Only this one; default: all of them.')
_RUNS = flags.DEFINE_integer('runs', 7, 'Timed runs of each case.', 1)

# The tabular learners and the model of the project's stated bars.
LEARNERS, EPISODES = 260, 200
MODEL = {'layers': 3, 'width': 64, 'heads': 2, 'feed_forward': 256,
         'window': 100, 'dropout': 0.0, 'input_masking': 0.0}
LENGTH, BATCH, ENVIRONMENTS = 100, 64, 128


def measure(function, steps):
  """(median, least, most) of steps per second over runs, after a warm-up."""
  import jax
  jax.block_until_ready(function())
  rates = []
  for _ in range(_RUNS.value):
    start = time.perf_counter()
    jax.block_until_ready(function())
    rates.append(steps / (time.perf_counter() - start))
  rates.sort()
  return rates[len(rates) // 2], rates[0], rates[-1]


def stages():
  """Yields (stage, case, unit, measured)."""
  import jax

  from adjax import distill
  from adjax import histories
  from adjax import in_context
  from adjax import transformer
  from adjax.envs import dark_room
  from adjax.learners import actor_critic
  from adjax.learners import posterior
  from adjax.learners import rmax
  from adjax.learners import tabular_q

  tasks = dark_room.tasks()
  some = jax.tree.map(lambda x: x[:52], tasks.train)
  steps = EPISODES * tasks.episode_length

  def generate(source, learners=LEARNERS):
    return histories.streams(histories.generate(
        source, some, jax.random.key(0), learners // 52, steps))

  q_learner = tabular_q.learner(tabular_q.Config(), tasks)
  if _STAGE.value in (None, 'histories'):
    a2c = actor_critic.A2C
    for name, source, learners, actors in (
        ('tabular Q', q_learner, LEARNERS, 1),
        ('R-max', rmax.learner(rmax.Config(), tasks), LEARNERS, 1),
        ('posterior sampling', posterior.learner(posterior.Config(), tasks),
         LEARNERS, 1),
        (f'A2C of {a2c.actors} actors', actor_critic.learner(a2c, tasks), 52,
         a2c.actors)):
      yield ('histories', f'{name}, {learners} learners', 'env-steps/s',
             measure(functools.partial(generate, source, learners),
                     learners * actors * steps))
  if _STAGE.value == 'histories':
    return
  history = generate(q_learner)
  model = transformer.Transformer(
      transformer.Config(**MODEL), tasks.env)
  config = distill.Config(batch_size=BATCH, length=LENGTH)
  state = distill.init(config, model, history, jax.random.key(0))
  if _STAGE.value in (None, 'train'):
    updates = 20

    @jax.jit
    def train(state, history):
      sequences = in_context.inputs_of(history), history.action
      return jax.lax.scan(
          lambda state, _: distill.update(config, model, state, sequences),
          state, None, updates)

    yield ('train', f'3 layers, width 64, W = L = 100, batch {BATCH}',
           'transitions/s', measure(lambda: train(state, history),
                                    updates * BATCH * LENGTH))
  if _STAGE.value in (None, 'evaluate'):
    one = jax.tree.map(lambda x: x[:1], tasks.validation)
    evaluate = jax.jit(lambda params: distill.evaluate(
        tasks.env, model, params, one, jax.random.key(0), ENVIRONMENTS, 500))
    yield ('evaluate', f'the same model, {ENVIRONMENTS} environments',
           'env-steps/s', measure(lambda: evaluate(state.params),
                                  ENVIRONMENTS * 500))


@cli.main
def main():
  from experiments import workdir
  machine = workdir.machine()
  print(machine['device'], 'jax', machine['versions']['jax'])
  for stage, case, unit, (median, least, most) in stages():
    print(f'{stage:10} {case:44} {median:12,.0f} {unit:14} '
          f'({least:,.0f} to {most:,.0f})', flush=True)


if __name__ == '__main__':
  app.run(main)
