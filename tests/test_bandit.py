"""The bandit and its learners against plain NumPy ones and known figures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import histories
from adjax import types
from adjax.envs import adapters
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.learners import references
from adjax.learners import thompson
from adjax.learners import ucb

TRIALS = 100
ROLLOUTS = 4000


@functools.cache
def simple_bandit():
  """One of gymnax's, which does not say which rewards it pays."""
  return adapters.Adapter(
      adapters.Config('SimpleBandit-bsuite', episode_length=1))


@functools.cache
def uniform_tasks():
  return bandit.tasks(bandit.Config(
      distribution='uniform', num_validation=ROLLOUTS))


@functools.cache
def rollouts(learner_config):
  """(learner, History [ROLLOUTS, TRIALS]), each on a task of its own."""
  tasks = uniform_tasks()
  learner = (
      getattr(references, learner_config)(tasks)
      if isinstance(learner_config, str) else learner_config.make(tasks))
  history, _ = histories.generate(
      learner, tasks.validation, jax.random.key(0), 1, TRIALS)
  return learner, jax.tree.map(lambda x: np.asarray(x)[:, 0], history)


def one_rollout(learner, task, steps):
  """Transitions [T] of one rollout and the learner's states before each."""
  def step(state, noise):
    new, transition = learner.step(task, state, noise)
    return new, (jax.tree.map(lambda x: x[0, 0], transition), state)
  _, found = jax.lax.scan(
      step, learner.init(task, jax.random.key(0)),
      learner.sample_noise(jax.random.key(1), steps))
  return jax.tree.map(np.asarray, found)


def plain_ucb(means, exploration, rng):
  """Actions [N, T] of UCB1 on Bernoulli arms [N, A]."""
  num, arms = means.shape
  rows = np.arange(num)
  pulled, paid = np.zeros((2, num, arms))
  actions = []
  for t in range(TRIALS):
    with np.errstate(divide='ignore', invalid='ignore'):
      index = paid / pulled + exploration * np.sqrt(np.log(t) / pulled)
    index[pulled == 0] = np.inf
    # The highest of random numbers among the best.
    best = index == index.max(1, keepdims=True)
    action = (best * rng.random((num, arms))).argmax(1)
    pulled[rows, action] += 1
    paid[rows, action] += rng.random(num) < means[rows, action]
    actions.append(action)
  return np.stack(actions, 1)


def plain_thompson(means, rng):
  """Actions [N, T] of Thompson sampling on Bernoulli arms [N, A]."""
  num, arms = means.shape
  rows = np.arange(num)
  wins, losses = np.ones((2, num, arms))
  actions = []
  for _ in range(TRIALS):
    action = rng.beta(wins, losses).argmax(1)
    won = rng.random(num) < means[rows, action]
    wins[rows, action] += won
    losses[rows, action] += ~won
    actions.append(action)
  return np.stack(actions, 1)


def sample_new(tasks, num_tasks, seed=0):
  return jax.jit(jax.vmap(tasks.sample_new))(
      jax.random.split(jax.random.key(seed), num_tasks))


@pytest.mark.parametrize('drawn', ['train', 'new'])
@pytest.mark.parametrize('distribution', bandit.DISTRIBUTIONS)
def test_the_distribution_of_the_means(distribution, drawn):
  tasks = bandit.tasks(bandit.Config(
      distribution=distribution, num_train=20_000))
  means = np.asarray(
      (tasks.train if drawn == 'train' else sample_new(tasks, 20_000)).means)
  assert means.shape == (20_000, 10) and means.dtype == np.float32
  assert means.min() >= 0 and means.max() <= 1
  if distribution == 'uniform':
    parts, ends = [means], [(0, 1)]
  else:
    # Arms 1, 3, 5, ... are the columns 0, 2, 4, ...
    odd, even = means[:, ::2], means[:, 1::2]
    named, others = (odd, even) if distribution == 'odd' else (even, odd)
    right = (named >= 0.5).all(1) & (others <= 0.5).all(1)
    swapped = (named <= 0.5).all(1) & (others >= 0.5).all(1)
    assert (right ^ swapped).all()
    assert right.mean() == pytest.approx(0.95, abs=4 * 0.22 / 20_000**0.5)
    parts = [named[right], others[right], named[swapped], others[swapped]]
    ends = [(0.5, 1), (0, 0.5), (0, 0.5), (0.5, 1)]
  for part, (low, high) in zip(parts, ends):
    expected = np.linspace(low, high, 11)
    np.testing.assert_allclose(
        np.quantile(part, np.linspace(0, 1, 11)), expected, atol=0.02)
    arms = np.corrcoef(part.T) - np.eye(part.shape[1])
    assert np.abs(arms).max() < 0.15  # Arms are otherwise independent.


def test_the_sets_are_disjoint_and_reproducible():
  config = bandit.Config(num_train=50, num_validation=20, num_held_out=30)
  tasks = bandit.tasks(config)
  sets = [tasks.train, tasks.validation, tasks.held_out,
          *tasks.shifted.values()]
  assert list(tasks.shifted) == ['even', 'uniform']
  assert [types.num_tasks(s) for s in sets] == [50, 20, 30, 30, 30]
  rows = np.concatenate([np.asarray(s.means) for s in sets])
  assert len(np.unique(rows, axis=0)) == len(rows)
  again = bandit.tasks(bandit.Config(
      num_train=40, num_validation=20, num_held_out=30))
  np.testing.assert_array_equal(again.held_out.means, tasks.held_out.means)
  np.testing.assert_array_equal(again.train.means, tasks.train.means[:40])
  other = bandit.tasks(bandit.Config(split_seed=1))
  assert not np.isin(other.held_out.means, rows).any()
  # One distribution's held-out tasks are the others' shifted ones.
  even = bandit.tasks(bandit.Config(distribution='even', num_held_out=30))
  np.testing.assert_array_equal(
      even.held_out.means, tasks.shifted['even'].means)
  np.testing.assert_array_equal(
      even.shifted['odd'].means, tasks.held_out.means)


def test_new_tasks_are_like_those_of_the_sets_and_none_of_them():
  tasks = bandit.tasks(bandit.Config(num_train=50))
  new = sample_new(tasks, 50)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
      lambda x: (x.shape, x.dtype), tasks.train)
  known = [some.means for some in (
      new, tasks.train, tasks.validation, tasks.held_out)]
  rows = np.concatenate(known)
  assert len(np.unique(rows, axis=0)) == len(rows)
  np.testing.assert_array_equal(new.means, sample_new(tasks, 50).means)
  assert (new.means != sample_new(tasks, 50, seed=1).means).all()


@pytest.mark.parametrize('reward', ['bernoulli', 'gaussian'])
def test_every_pull_is_an_episode_and_pays_what_the_task_says(reward):
  config = bandit.Config(reward=reward, arms=4, noise=0.2)
  env = bandit.Bandit(config)
  means = np.array([0.1, 0.5, 0.85, 1.0], np.float32)
  task = bandit.EnvParams(means=jnp.asarray(means))
  actions = np.tile(np.arange(4), 5000)

  def pull(carry, action):
    key, state = carry
    key, step_key = jax.random.split(key)
    obs, state, *rest = env.step(step_key, state, action, task)
    return (key, state), (obs, *rest)

  obs, state = env.reset(jax.random.key(0), task)
  assert obs == 0 and obs.dtype == env.observation_space(task).dtype == np.int8
  _, (obs, rewards, terminated, truncated, info) = jax.lax.scan(
      pull, (jax.random.key(1), state), jnp.asarray(actions, jnp.int8))
  assert obs.shape == (20_000, 1) and obs.dtype == np.int8
  assert not obs.any() and not info['final_observation'].any()
  assert np.asarray(truncated).all() and not np.asarray(terminated).any()
  rewards = np.asarray(rewards).reshape(-1, 4)
  assert rewards.dtype == np.float32
  deviation = (np.sqrt(means * (1 - means)) if reward == 'bernoulli'
               else np.full(4, 0.2))
  error = 4 * deviation / 5000**0.5
  assert (np.abs(rewards.mean(0) - means) <= error + 1e-6).all()
  np.testing.assert_allclose(rewards.std(0), deviation, atol=0.02)
  if reward == 'bernoulli':
    assert set(np.unique(rewards)) == {0, 1}
  else:
    z = np.sort((rewards - means).ravel()) / 0.2
    np.testing.assert_allclose(
        np.quantile(z, [0.023, 0.159, 0.5, 0.841, 0.977]), [-2, -1, 0, 1, 2],
        atol=0.08)
  # Successive pulls of an arm know nothing of each other.
  series = rewards[:, :3] - means[:3]
  correlation = (series[1:] * series[:-1]).mean(0) / deviation[:3] ** 2
  assert np.abs(correlation).max() < 0.06


def test_the_best_arm_is_known_and_ties_are_even():
  task = bandit.EnvParams(means=jnp.array([0.3, 0.9, 0.1, 0.9]))
  assert bandit.optimal_return(task) == np.float32(0.9)
  actions = jax.vmap(bandit.optimal_policy, (None, None, 0))(
      task, None, jax.random.split(jax.random.key(0), 4000))
  share = np.bincount(np.asarray(actions), minlength=4) / 4000
  np.testing.assert_allclose(share, [0, 0.5, 0, 0.5], atol=0.04)


@pytest.mark.parametrize('who, returns', [
    ('random', 50.0), ('oracle', 90.9), (ucb.Config(0.3), 81.0),
    pytest.param(thompson.Config(), 77.3, marks=pytest.mark.long)],
    ids=['random', 'oracle', 'ucb', 'thompson'])
def test_known_returns_of_ten_uniform_arms(who, returns):
  """Of 100 pulls; the mean best of ten uniform means is 10/11."""
  total = rollouts(who)[1].reward.sum(1, dtype=np.float64)
  # The figures are rounded to .1.
  error = 0.05 + 4 * total.std() / ROLLOUTS**0.5
  assert total.mean() == pytest.approx(returns, abs=error)


@pytest.mark.parametrize('config, plain', [
    (ucb.Config(0.3), lambda means, rng: plain_ucb(means, 0.3, rng)),
    pytest.param(thompson.Config(), plain_thompson, marks=pytest.mark.long)],
    ids=['ucb', 'thompson'])
def test_regret_by_trial_is_the_plain_learners(config, plain):
  means = np.asarray(uniform_tasks().validation.means)
  best = means.max(1, keepdims=True)
  actions = rollouts(config)[1].action
  expected = plain(means.astype(np.float64), np.random.default_rng(0))
  ours, theirs = (best - np.take_along_axis(means, a.astype(int), 1)
                  for a in (actions, expected))
  difference = ours - theirs  # On the same tasks.
  z = difference.mean(0) / (difference.std(0) / ROLLOUTS**0.5)
  assert np.abs(z).max() < 4.5
  total = difference.sum(1)
  assert abs(total.mean()) < 4 * total.std() / ROLLOUTS**0.5
  assert ours[:, -10:].mean() < 0.5 * ours[:, :10].mean()


def test_ucb_tries_all_arms_first_in_any_order():
  actions = rollouts(ucb.Config(0.3))[1].action
  np.testing.assert_array_equal(
      np.sort(actions[:, :10], 1), np.tile(np.arange(10), (ROLLOUTS, 1)))
  for trial in (0, 4, 9):
    share = np.bincount(actions[:, trial], minlength=10) / ROLLOUTS
    np.testing.assert_allclose(share, 0.1, atol=4 * 0.3 / ROLLOUTS**0.5)


@pytest.mark.parametrize('reward', ['bernoulli', 'gaussian'])
@pytest.mark.parametrize('exploration', [0.15, 2**0.5])
def test_every_choice_of_ucb_has_the_highest_index(reward, exploration):
  tasks = bandit.tasks(bandit.Config(reward=reward))
  task = jax.tree.map(lambda x: x[3], tasks.train)
  history, _ = types.unroll(
      ucb.learner(ucb.Config(exploration), tasks), task, jax.random.key(0), 300)
  actions, rewards = np.asarray(history.action[0]), np.asarray(
      history.reward[0], np.float64)
  assert sorted(actions[:10]) == list(range(10))
  for t in range(10, 300):
    index = np.array([
        rewards[:t][actions[:t] == arm].mean()
        + exploration * np.sqrt(np.log(t) / (actions[:t] == arm).sum())
        for arm in range(10)])
    assert index[actions[t]] >= index.max() - 1e-5
  assert len(set(actions[10:])) > 1


def test_a_bernoulli_posterior_counts_wins_and_losses():
  tasks = bandit.tasks()
  task = jax.tree.map(lambda x: x[5], tasks.train)
  config = thompson.Config()
  transition, states = one_rollout(thompson.learner(config, tasks), task, 200)
  for t in (0, 1, 50, 199):
    a, b = thompson.posterior(config, states.pulls[t], states.total[t])
    action, reward = transition.action[:t], transition.reward[:t]
    wins = np.bincount(action[reward == 1], minlength=10)
    losses = np.bincount(action[reward == 0], minlength=10)
    np.testing.assert_array_equal(a, 1 + wins)
    np.testing.assert_array_equal(b, 1 + losses)


def test_a_gaussian_posterior_is_updated_by_bayes_rule():
  tasks = bandit.tasks(bandit.Config(reward='gaussian', noise=0.4))
  task = jax.tree.map(lambda x: x[5], tasks.train)
  config = thompson.Config('gaussian', noise=0.4, prior_mean=0.2,
                           prior_deviation=0.7)
  transition, states = one_rollout(thompson.learner(config, tasks), task, 200)
  mean, variance = np.full(10, 0.2), np.full(10, 0.7**2)
  for t in range(200):
    ours = thompson.posterior(config, states.pulls[t], states.total[t])
    np.testing.assert_allclose(ours, (mean, variance**0.5), atol=1e-4)
    arm = transition.action[t]  # One reward at a time, as a Kalman filter does.
    gain = variance[arm] / (variance[arm] + 0.4**2)
    mean[arm] += gain * (transition.reward[t] - mean[arm])
    variance[arm] *= 1 - gain


def test_samples_follow_the_beta_distribution():
  parameters = np.array([(1, 1), (2, 1), (1, 7), (5, 3), (40, 60)], np.float32)
  samples = np.asarray(jax.jit(thompson.beta)(
      jax.random.key(0), *np.repeat(parameters.T[:, None], 40_000, 1)))
  rng = np.random.default_rng(0)
  shares = np.linspace(0.02, 0.98, 25)
  for column, (a, b) in zip(samples.T, parameters):
    np.testing.assert_allclose(
        np.quantile(column, shares),
        np.quantile(rng.beta(a, b, 400_000), shares), atol=0.012)
  corner = np.corrcoef(samples.T) - np.eye(5)
  assert np.abs(corner).max() < 0.025


@pytest.mark.parametrize('config', [ucb.Config(0.3), thompson.Config()],
                         ids=['ucb', 'thompson'])
def test_together_is_alone(config):
  learner, together = rollouts(config)
  some, keys = histories.repeat(
      uniform_tasks().validation, jax.random.key(0), 1)
  alone = jax.jit(lambda task, key: types.unroll(learner, task, key, TRIALS)[0])
  for n in (0, 7):
    jax.tree.map(
        lambda x, y, n=n: np.testing.assert_array_equal(x[n], y[0]), together,
        alone(jax.tree.map(lambda x, n=n: x[n, 0], some), keys[n, 0]))
  assert together.done.all()


def test_a_bandit_of_gymnax_is_one():
  env = simple_bandit()
  tasks = dataclasses.replace(bandit.tasks(), env=env)
  state = jax.eval_shape(
      ucb.Config().make(tasks).init, env.default_params, jax.random.key(0))
  assert state.pulls.shape == (11,)


def test_equal_bandits_share_their_programs():
  assert bandit.Bandit() == bandit.Bandit(bandit.Config())
  assert hash(bandit.Bandit()) == hash(bandit.Bandit())
  assert bandit.Bandit() != bandit.Bandit(bandit.Config(noise=1.0))


@pytest.mark.parametrize('make, message', [
    (lambda: bandit.Config(arms=1), r'^arms=1.*from 2 to 128'),
    (lambda: bandit.Config(reward='beta'), r"^reward='beta'.*'gaussian'"),
    (lambda: bandit.Config(noise=0.0), r'^noise=0\.0.*above 0'),
    (lambda: bandit.Config(distribution='prime'),
     r"^distribution='prime'.*'odd', 'even'"),
    (lambda: bandit.Config(high_share=1.5), r'^high_share=1\.5.*0 to 1'),
    (lambda: bandit.Config(split_seed=-1), r'^split_seed=-1.*at least 0'),
    (lambda: bandit.Config(num_held_out=0), r'^num_held_out=0.*least 1'),
    (lambda: ucb.Config(-1.0), r'^exploration=-1\.0.*at least 0'),
    (lambda: thompson.Config('beta'), r"^rewards='beta'.*'bernoulli'"),
    (lambda: thompson.Config(noise=0.0), r'^noise=0\.0.*above 0'),
    (lambda: thompson.Config(prior_deviation=0.0), 'prior_deviation=0.0.*0'),
    # A posterior is for one kind of reward.
    (lambda: thompson.Config().make(bandit.tasks(bandit.Config(
        reward='gaussian'))), r"rewards='bernoulli'.*reward='gaussian'"),
    (lambda: thompson.Config('gaussian', noise=0.2).make(bandit.tasks(
        bandit.Config(reward='gaussian'))), r'noise=0\.2: must be.*noise=0\.3'),
    (lambda: thompson.Config().make(dark_room.tasks()), 'reward=None'),
    # No bandit: what is to be seen matters, or where in an episode it is.
    (lambda: ucb.Config().make(dark_room.tasks()),
     r'^tasks\.episode_length=20: must be 1 for a bandit learner'),
    (lambda: ucb.Config().make(dataclasses.replace(
        dark_room.tasks(), episode_length=1)),
     r"^tasks\.env='DarkRoom': must be a bandit, that shows one and the same"),
    (lambda: thompson.Config().make(dataclasses.replace(
        bandit.tasks(), episode_length=2)),
     r'^tasks\.episode_length=2: must be 1 for a bandit learner'),
    (lambda: thompson.Config().make(dataclasses.replace(
        bandit.tasks(), env=simple_bandit())),
     r"^rewards='bernoulli': must be those .*reward=None$"),
])
def test_a_bad_config_is_named(make, message):
  with pytest.raises(ValueError, match=message):
    make()
