"""Do the tests notice? Bugs are planted, one at a time, and tests run on each.

  python -m experiments.mutations [--only=NAME,NAME] [--list]

A row of ROWS is a bug that still gives plausible numbers, and the smallest test
that should fail on it. The tree is copied, files that git does not ignore with
what is changed in them; the tests have to pass there first. The exit code is 1
if a bug was

  missed: its tests pass all the same, or
  broken: it cannot be planted, or its tests fail without it or do not import.
"""

from collections.abc import Sequence
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from absl import app
from absl import flags

_ONLY = flags.DEFINE_list('only', [], 'The names of the bugs to plant.')
_LIST = flags.DEFINE_bool('list', False, 'Says what there is and runs nothing.')

_ROOT = pathlib.Path(__file__).resolve().parents[1]
# A bug that ends in one of these is no wrong number, and proves no test good.
_NONSENSE = re.compile(
    r'- (Name|Type|Attribute|Syntax|Indentation|Import|ModuleNotFound)Error')


class Row(NamedTuple):
  """A bug, and what should find it.

  Attributes:
    name: of the bug.
    file: it is planted in.
    old: text that is there exactly once.
    new: what it is replaced by.
    where, which: the tests, as in pytest tests/test_{where}.py -k {which}.
  """
  name: str
  file: str
  old: str
  new: str
  where: str
  which: str


ROWS = (
    Row('decoding_does_not_see_its_own_step', 'adjax/models/transformer.py',
        'jnp.arange(window) <= cache.time',
        'jnp.arange(window) < jnp.maximum(cache.time, 1)', 'models',
        'are_the_full_pass and transformer-13'),
    Row('ring_is_off_by_one_once_it_is_full', 'adjax/models/transformer.py',
        'slot = cache.time % window',
        'slot = (cache.time + (cache.time >= window)) % window', 'models',
        'are_the_full_pass and transformer-13'),
    Row('decoding_turns_keys_too_far', 'adjax/models/transformer.py',
        '(keys, k, (start, slot, start))',
        '(keys, rotate(k, rotary_table(k.shape[-1], jnp.ones(1))), '
        '(start, slot, start))',
        'models', 'are_the_full_pass and transformer-13'),
    Row('attention_reaches_one_step_too_far', 'adjax/models/transformer.py',
        '(ago < window)', '(ago <= window)', 'models',
        'sees_exactly_its_window'),
    Row('gumbel_noise_is_that_of_the_first_step', 'adjax/models/in_context.py',
        'gumbel(key, (calls, stepping.num_actions(env)))',
        'gumbel(key, (1, stepping.num_actions(env))).repeat(calls, 0)',
        'in_context', 'drawn_anew'),
    Row('a_subsequence_always_begins_a_history', 'adjax/models/in_context.py',
        'jnp.where(batch.is_first, null, x[:, 0])',
        'jnp.where(True, null, x[:, 0])',
        'in_context', 'inputs_of_subsequences'),
    Row('gathered_subsequences_never_begin_a_history', 'adjax/histories.py',
        'time], history), starts == 0)', 'time], history), starts < 0)',
        'in_context', 'inputs_of_subsequences'),
    Row('updates_share_their_subsequences', 'adjax/methods/distill.py',
        'state._replace(step=state.step + 1, key=keys[_NEXT])',
        'state._replace(step=state.step + 1)', 'distill',
        'no_key_is_used_twice'),
    Row('vectors_decay', 'adjax/methods/training.py', 'x.ndim > 1',
        'x.ndim > 0', 'training', 'weight_decay'),
    Row('gradients_are_not_clipped', 'adjax/methods/training.py',
        'optax.clip_by_global_norm(max_grad_norm)', 'optax.identity()',
        'training', 'clipped_by_their_norm'),
    Row('muon_is_for_heads_too', 'adjax/methods/training.py',
        "{'embedding', 'head', 'value_head'}", "{'embedding', 'value_head'}",
        'training', 'muon_is_for'),
    Row('a_skipped_update_moves_the_optimizer', 'adjax/methods/training.py',
        '(state.params, state.opt_state), (params',
        '(state.params, opt_state), (params', 'training',
        'out_of_finite_numbers'),
    Row('sets_of_tasks_change_names', 'adjax/methods/training.py',
        'zip(sets, [0, *ends[:-1]], ends)',
        'zip(sorted(sets), [0, *ends[:-1]], ends)', 'training',
        'sets_of_tasks_are_told_apart'),
    Row('the_episodes_before_are_selected', 'adjax/histories.py',
        '(episode % stride == 0)', '((episode + 1) % stride == 0)',
        'histories', 'every_kth_episode'),
    Row('the_last_episodes_are_the_first', 'adjax/histories.py',
        '& (episode // stride >= first))',
        '& ((episode // stride < last) | (not last)))', 'histories',
        'every_kth_episode'),
    Row('the_last_start_is_never_drawn', 'adjax/histories.py',
        '(batch_size,), 0, steps - length + 1)',
        '(batch_size,), 0, steps - length)', 'histories',
        'uniform_over_streams_and_starts'),
    Row('padding_is_taken_for_learners', 'adjax/histories.py',
        'lambda x: x[:num * repeats].reshape',
        'lambda x: x[-num * repeats:].reshape', 'devices',
        'same_bit_for_bit and 13'),
    Row('runs_share_keys_over_tasks', 'adjax/histories.py',
        'fold(key, jnp.arange(num))', 'fold(key, jnp.zeros(num, int))',
        'histories', 'histories_differ'),
    Row('noise_repeats_after_a_block', 'adjax/types.py',
        'jax.random.fold_in(step_key, index)', 'step_key', 'types',
        'noise_of_its_own'),
    Row('every_episode_starts_alike', 'adjax/learners/stepping.py',
        'key, actor.env_state, action, task)',
        'jax.random.fold_in(jax.random.key(7), actor.env_state.time),\n'
        '      actor.env_state, action, task)',
        'histories', 'begins_anew'),
    Row('an_episode_counts_its_end_twice', 'adjax/metrics.py',
        ".add(reward, mode='drop')",
        ".add(reward, mode='drop').at[ended].add(reward * done, mode='drop')",
        'metrics', 'counted_from_done'),
    Row('lambda_and_gamma_are_swapped', 'adjax/learners/policy_gradient.py',
        'reward_t + discount * ~terminated_t',
        'reward_t + lambda_ * ~terminated_t', 'actor_critic', 'gae_at'),
    Row('advantages_are_not_stopped', 'adjax/learners/actor_critic.py',
        'logits, value, step, *rest)', 'logits, value, step,\n'
        '          rest[0] + jax.lax.stop_gradient(value) - value, rest[1])',
        'actor_critic', 'gradient_of_a2c'),
    Row('traces_go_on_through_other_actions', 'adjax/learners/tabular_q.py',
        'jnp.where(greedy, config.discount * config.lambda_, 0)',
        'config.discount * config.lambda_', 'learners',
        'q_learning_is_the_textbooks'),
    Row('values_go_on_after_the_end', 'adjax/learners/tabular_q.py',
        'next_value * ~transition.terminated', 'next_value', 'learners',
        'stops_bootstrapping'),
    Row('a_time_limit_is_an_end', 'adjax/learners/dqn.py',
        'config.discount * ~transition.terminated',
        'config.discount * ~transition.done',
        'dqn',
        'probes and limit'),
    Row('replay_reaches_over_the_newest', 'adjax/learners/replay.py',
        'jnp.maximum(time - rows, 0)', 'jnp.maximum(time - rows - 1, 0)', 'dqn',
        'consecutive and 27'),
    Row('pulls_are_counted_once', 'adjax/learners/bandits.py',
        'state.pulls.at[action].add(1.0)', 'state.pulls.at[action].set(1.0)',
        'bandit', 'highest_index and bernoulli'),
    Row('a_deviation_is_a_variance', 'adjax/learners/thompson.py',
        'precision**-0.5', 'precision**-1.0', 'bandit', 'bayes_rule'),
    Row('no_reward_refutes', 'adjax/learners/posterior.py',
        '        & (expected.reward == transition.reward)\n', '', 'learners',
        'never_drops_the_truth'),
    Row('the_refuted_come_back', 'adjax/learners/posterior.py',
        'state.alive & is_same(', 'is_same(', 'learners',
        'never_drops_the_truth'),
    Row('the_step_that_arrives_is_not_paid', 'adjax/envs/dark_room.py',
        'jnp.maximum(distance - 1, 0)', 'distance', 'dark_room',
        'earns_the_optimal_return'),
    Row('a_held_out_task_is_trained_on', 'adjax/envs/dark_room.py',
        'np.split(order[:ends[-1]], ends[:-1])',
        'np.split(np.resize(order[:ends[-1] - 1], ends[-1]), ends[:-1])',
        'dark_room', 'sets_are_disjoint'),
    Row('a_trial_ends_with_its_episode', 'adjax/methods/rl2.py',
        'jnp.zeros_like(history.done).at', 'history.done.at', 'rl2',
        'advantages_span'),
    Row('arrays_are_not_compared_with_the_seal', 'adjax/storage/checkpoint.py',
        'lambda: seal.compare(leaves, state)', 'lambda: None', 'checkpoint',
        'between_file_and_array'),
    Row('seeds_come_back_in_another_order', 'adjax/storage/checkpoint.py',
        '    return state\n',
        '    return jax.tree.map(lambda x: x[::-1] if x.ndim else x, state)\n',
        'checkpoint', 'comes_back_exactly'),
    Row('a_stream_is_taken_for_the_next', 'adjax/storage/store.py',
        "side='right'", "side='left'", 'store', 'diverged_streams_are_named'),
    Row('seeds_share_a_key', 'adjax/experiment/run.py',
        'jax.random.fold_in(key, seed)))(jnp', 'key))(jnp', 'run',
        'seeds_differ'),
    Row('training_tasks_validate', 'adjax/experiment/setup.py',
        "{'validation': self.tasks.validation,", "{'validation': train,", 'run',
        'curves_are_of_all_validation'),
    # What people bring: spaces, units, limits.
    Row('ids_are_taken_for_shades_of_grey', 'adjax/spaces.py',
        'and bool((self.high == 255).all()))', ')', 'spaces',
        'uint8_is_grey_only'),
    Row('numbers_keep_their_unit', 'adjax/learners/networks.py',
        'scaled = (x.astype(jnp.float32) - middle) / half',
        'scaled = x.astype(jnp.float32)', 'spaces', 'depend_on_the_unit'),
    Row('digits_lose_their_last_bit', 'adjax/learners/networks.py',
        '& 15, 16)', '& 14, 16)', 'spaces', 'next_to_each_other'),
    Row('parts_of_an_observation_overlap', 'adjax/spaces.py',
        'start += part.size', 'start += 1', 'spaces', 'is_packed'),
    Row('numbers_are_scaled_anew_in_every_update',
        'adjax/methods/training.py', 'state.step == 0, new, old',
        'state.step >= 0, new, old', 'rl2', 'first_trials_say'),
    Row('rewards_are_scaled_as_an_observation',
        'adjax/models/sequence_model.py',
        'scale.mean[-1]) / scale.deviation[-1]',
        'scale.mean[0]) / scale.deviation[0]', 'spaces', 'unit_of_rewards'),
    Row('angles_are_rounded_as_time_goes_on', 'adjax/models/transformer.py',
        'angle = angle.astype(np.int32).astype(np.float32) * np.float32(np.pi '
        '/ 2**31)',
        'angle = time[:, None].astype(np.float32) * np.float32(frequency)',
        'models', 'far_from_the_beginning'),
    Row('a_task_of_two_sets_is_let_through', 'adjax/experiment/contract.py',
        'len(rows[one] & rows[other])', 'int(rows[one] == rows[other])',
        'contract', 'refused_by_name'),
    Row('beginnings_are_clipped_a_step_short', 'adjax/histories.py',
        '1 - length, steps), 0', '2 - length, steps), 0', 'histories',
        'as_often_as_the_starts_say'),
    Row('only_the_own_cgroup_limits', 'adjax/experiment/cgroups.py',
        'while folder != top:', 'while False:', 'cgroups',
        'least_of_all_ancestors'),
    Row('hypotheses_see_the_noise_of_the_task', 'adjax/learners/posterior.py',
        '  check_steps_draw_nothing(env)\n  size', '  size', 'learners',
        'not_told_what_the_task_draws'),
    Row('platforms_of_training_reach_into_the_region',
        'adjax/envs/watermaze.py', 'away > config.platform_radius if trained',
        'away > 0 if trained', 'watermaze', 'no_training_platform_reaches'),
    Row('an_agent_forgets_what_it_did', 'adjax/agent.py',
        'action=self._acted, reward=', 'reward=', 'agent',
        'sees_its_whole_life'),
    Row('a_copy_shares_its_context', 'adjax/agent.py',
        'other._cache = jax.tree.map(jnp.copy, self._cache)',
        'other._cache = self._cache', 'agent', 'a_copy_goes_on'),
    Row('another_seed_is_loaded', 'adjax/storage/weights.py',
        'np.asarray(found[seed])', 'np.asarray(found[0])', 'weights',
        'of_each_seed'),
    Row('ids_beyond_their_space_are_taken', 'adjax/experiment/contract.py',
        '(x < part.low) | (x > part.high)', 'x < part.low', 'contract',
        'breaks_what_is_declared'),
)


def main(argv: Sequence[str]) -> int:
  """The exit code."""
  if len(argv) > 1 or set(_ONLY.value) - {row.name for row in ROWS}:
    raise app.UsageError('--only=NAME,NAME: must be names that --list gives')
  rows = [row for row in ROWS if row.name in _ONLY.value or not _ONLY.value]
  if _LIST.value:
    print(*(f'{row.name} | {row.file} | tests/test_{row.where}.py -k '
            f'"{row.which}"' for row in rows), sep='\n')
    return 0
  results = []
  with tempfile.TemporaryDirectory(prefix='adjax-mutations-') as folder:
    # Programs that no bug has changed are compiled once.
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', f'{folder}/cache')
    tree = copy(pathlib.Path(folder, 'tree'))
    fine = not run(tree, rows)[0]
    print('bug | result | seconds', flush=True)
    for row in rows:
      begin = time.monotonic()
      result, said = plant(tree, row, fine)
      results.append(result)
      print(f'{row.name} | {result} | {time.monotonic() - begin:.1f}'
            + f'\n{said}' * (result == 'broken'), flush=True)
  return int(set(results) != {'caught'})


def copy(tree: pathlib.Path) -> pathlib.Path:
  """A new folder with all files here that git does not ignore."""
  names = subprocess.run(
      ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
      cwd=_ROOT, check=True, capture_output=True, text=True).stdout
  for name in names.split('\0'):
    if (_ROOT / name).is_file():
      (tree / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy2(_ROOT / name, tree / name)
  return tree


def plant(tree: pathlib.Path, row: Row, fine: bool) -> tuple[str, str]:
  """What came of a bug, and what tests said; fine if they pass without."""
  if not fine:
    code, said = run(tree, [row])
    if code:
      return 'broken', f'without the bug:\n{said}'
  path = tree / row.file
  text = path.read_text(encoding='utf-8')
  if text.count(row.old) != 1:
    return 'broken', f'{row.old!r} is there {text.count(row.old)} times'
  path.write_text(text.replace(row.old, row.new), encoding='utf-8')
  code, said = run(tree, [row])
  path.write_text(text, encoding='utf-8')
  if not code:
    return 'missed', said
  found = code == 1 and re.search('^FAILED', said, re.M)
  return 'caught' if found and not _NONSENSE.search(said) else 'broken', said


def run(tree: pathlib.Path, rows: Sequence[Row]) -> tuple[int, str]:
  """The exit code of pytest on the tests of rows, and the end of its words."""
  files = sorted({f'tests/test_{row.where}.py' for row in rows})
  which = ' or '.join(sorted({f'({row.which})' for row in rows}))
  done = subprocess.run(
      [sys.executable, '-B', '-m', 'pytest', '-x', '-q', '-n', '0', '-p',
       'no:cacheprovider', '--tb=short', '-k', which, *files],
      cwd=tree, env=os.environ | {'PYTHONPATH': str(tree), 'COLUMNS': '200'},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  return done.returncode, done.stdout[-3000:]


if __name__ == '__main__':
  app.run(main)
