"""A method of one's own: Q-learning in context, its targets in the state."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import adjax
from adjax import devices
from adjax.methods import distill
from adjax.methods import training
from adjax.models import in_context
from tests import tiny


@dataclasses.dataclass(frozen=True)
class QLearning:
  """One-step Q-learning on subsequences; the logits are the values."""
  epochs: int = 2
  updates_per_epoch: int = 6
  batch_size: int = 4
  length: int = 30
  target_period: int = 4

  def make(self, tasks, source, model, data):
    optimizer = optax.adam(1e-3)
    taken = distill.Config(batch_size=self.batch_size, length=self.length)

    def init(key):
      state = distill.init(taken, model, tasks, key)
      return state._replace(
          opt_state=optimizer.init(state.params), extra=state.params)

    def loss(params, target, inputs, actions, reward):
      values = jax.vmap(functools.partial(model.apply, params))(inputs)
      after = jax.vmap(functools.partial(model.apply, target))(inputs).max(-1)
      chosen = jnp.take_along_axis(values, actions[..., None], -1)[:, :-1, 0]
      return optax.l2_loss(chosen, reward[:, :-1] + 0.9 * after[:, 1:]).mean()

    def update(state, batch):
      inputs, actions = in_context.inputs_and_actions(batch)
      value, gradient = jax.value_and_grad(loss)(
          state.params, state.extra, *devices.shard(
              (inputs, actions, batch.rows.reward[:, 1:])))
      state, skipped = training.apply_gradient(
          optimizer, state, value, gradient)
      step = state.step + 1
      return state._replace(
          step=step, key=jax.random.split(state.key)[0],
          extra=optax.periodic_update(
              state.params, state.extra, step, self.target_period)), {
                  'loss': value, 'gradient_norm': optax.global_norm(gradient),
                  'skipped': skipped, 'step': step}

    def subsequences(key, num_streams, steps):
      next_key, own = jax.random.split(key)
      return distill.subsequences(taken, own, num_streams, steps)[0], next_key

    return adjax.Trainer(
        init, update,
        functools.partial(in_context.in_context, tasks.env, model),
        self.epochs, self.updates_per_epoch, self.batch_size,
        self.batch_size * self.length, self.length, subsequences)


def test_a_method_of_ones_own_runs_is_resumed_and_reads_a_store(tmp_path):
  experiment = dataclasses.replace(
      tiny.fast('seeds=1'), method=QLearning())
  tiny.run(experiment, tmp_path / 'whole')
  tiny.run(experiment, tmp_path / 'cut', stop_after=1)
  tiny.run(experiment, tmp_path / 'cut')
  whole = tiny.timeless(tmp_path / 'whole')
  assert tiny.timeless(tmp_path / 'cut') == whole
  stored = dataclasses.replace(experiment, data=dataclasses.replace(
      experiment.data, store=f'{tmp_path}/store'))
  tiny.run(stored, tmp_path / 'stored')
  for ours, theirs in zip(tiny.timeless(tmp_path / 'stored')[0], whole[0]):
    assert ours['loss'] == pytest.approx(theirs['loss'], abs=1e-6)
  assert [line['step'] for line in whole[0]] == [3.5, 9.5]
  assert np.isfinite([line['loss'] for line in whole[0]]).all()


def test_a_method_that_needs_histories_is_not_run_without():
  experiment = dataclasses.replace(
      tiny.fast(), method=QLearning(), data=None)
  with pytest.raises(ValueError, match=r'^data: must be there'):
    adjax.run(experiment, 'nowhere')
