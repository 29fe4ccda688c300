"""How many steps of context a trained model makes use of.

  python -m experiments.context --experiment=dark_room_q [--set ...]

A model is trained as a run of the experiment trains it. Then it predicts the
same steps of long histories of its source on validation tasks, given more and
more of the steps before them: the loss by how many were given. Attention
reaches W steps back in each layer, so that a step may depend on the
layers x (W - 1) before it, while `method.length` is all that a training
subsequence had. Where the loss stops falling is how long that has to be.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from adjax.cli import console
from adjax.cli import launcher

# Of the steps that are given, in windows of the model.
_WINDOWS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


def main() -> None:
  """Trains, and prints a line for each length of context."""
  from adjax import config
  from adjax import histories
  from adjax.models import in_context
  from experiments import training
  experiment = launcher.experiment()
  data, model = experiment.data, experiment.model
  config.check('model', type(model).__module__, hasattr(model, 'window'),
               'one with a window')
  config.check('data', data, data is not None, 'there: histories are looked at')
  setup, _, source, states = training.begin(
      experiment, 'data:1', console.Console())
  for number in range(1, setup.trainer.epochs + 1):
    states, _ = source.epoch(number, states)
  params = jax.tree.map(lambda x: x[0], states.params)
  source.release()

  window, episode = model.window, setup.tasks.episode_length
  given = [round(share * window) for share in _WINDOWS]
  targets = window // 4
  end = max(given) + targets
  episodes = -(-end // episode)
  selected = histories.select(*histories.streams(histories.generate(
      setup.source, setup.tasks.validation, setup.keys.held_out, 16,
      episodes * data.episode_stride * episode)), data.episode_stride, 0,
                              episodes * episode)
  config.check('tasks', f'{selected.steps} steps', selected.steps >= end,
               f'of histories of {end} steps: episodes end too early')
  history = jax.tree.map(
      lambda x: x[:int(selected.num_streams)], selected.history)
  inputs = in_context.inputs_of(history)

  @jax.jit
  def loss(params, inputs, actions):
    logits = jax.lax.map(
        lambda x: setup.model.apply(params, x), inputs, batch_size=8)
    return optax.softmax_cross_entropy_with_integer_labels(
        logits[:, -targets:], actions[:, -targets:]).mean()

  print(f'loss at steps {max(given)} to {end} of {len(history.done)} '
        f'histories; W={window}, L={setup.trainer.length}, '
        f'{model.layers} layers')
  found = []
  for steps in given:
    cut = slice(end - targets - steps, end)
    found.append(float(loss(
        params, jax.tree.map(lambda x, cut=cut: x[:, cut], inputs),
        jnp.asarray(history.action)[:, cut])))
    print(f'given {steps:5} steps ({steps / window:.2f} W)  {found[-1]:.4f}')
  enough = given[int(np.argmax(np.array(found) <= 1.01 * min(found)))]
  print(f'within 1 % of the least from {enough} steps on')


if __name__ == '__main__':
  launcher.start(main)
