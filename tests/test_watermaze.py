"""The pool and its frames against plain Python ones, and what finds platforms.

The oracles are written apart from what they check: the swimmer in float64 and
complex numbers, the frame pixel by pixel with the nearest hit of every ray.
"""

import cmath
import dataclasses
import math

import hypothesis
from hypothesis import strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adjax import metrics
from adjax import types
from adjax.envs import watermaze
from adjax.envs import watermaze_view as view
from adjax.learners import coverage_search
from adjax.learners import references
from adjax.learners import stepping
from adjax.learners import tables

SMALL = watermaze.Config(height=18, width=24, num_train=40)


def poses(count, seed=0, reach=0.65):
  """Observations [count, 6], the platform raised in half of them."""
  rng = np.random.default_rng(seed)
  raised = rng.integers(0, 2, (count, 1))
  return np.concatenate([
      rng.uniform(-reach, reach, (count, 2)),
      rng.uniform(-math.pi, math.pi, (count, 1)),
      raised * rng.uniform(-0.6, 0.6, (count, 2)), raised], 1).astype('f4')


def frames(obs, config=SMALL):
  return np.asarray(jax.jit(jax.vmap(watermaze.Watermaze(config).view))(
      jnp.asarray(obs, jnp.float32)))


def share_apart(one, other, levels=1):
  """The share of pixels that differ by more than so many levels."""
  return (np.abs(one.astype(int) - other.astype(int)) > levels).any(-1).mean()


class PlainPool:
  """The rules as the docstrings tell them, in complex numbers."""

  def __init__(self, config, platform, heading):
    self.config, self.platform = config, complex(*platform)
    self.reset(heading)

  def reset(self, heading):
    self.position, self.heading = 0j, float(heading)
    self.raised, self.time = False, 0

  def step(self, action):
    swims = {0: 1, 1: -1, 2: 1j, 3: -1j, 6: 1, 7: 1}.get(action, 0)
    self.heading += {4: 1, 6: 1, 5: -1, 7: -1}.get(action, 0) * math.pi / 8
    self.position += 0.1 * swims * cmath.exp(1j * self.heading)
    if abs(self.position) > 0.95:
      self.position = cmath.rect(0.95, cmath.phase(self.position))
    on = abs(self.position - self.platform) <= self.config.platform_radius
    reward = float(on and not self.raised)
    self.raised |= on
    self.time += 1
    return (reward, bool(reward) and self.config.terminate,
            self.time >= self.config.episode_length)

  def check(self, obs):
    np.testing.assert_allclose(
        obs[:2], [self.position.real, self.position.imag], atol=2e-5)
    assert -math.pi <= obs[2] < math.pi + 1e-6
    assert abs(cmath.exp(1j * obs[2]) - cmath.exp(1j * self.heading)) < 5e-5
    shown = [self.platform.real, self.platform.imag, 1.0]
    np.testing.assert_allclose(obs[3:], np.array(shown) * self.raised)


@hypothesis.given(st.booleans(), st.integers(0, 2**31 - 1))
@hypothesis.settings(max_examples=12, deadline=None)
def test_pool_is_the_plain_pool_under_random_actions(terminate, seed):
  rng = np.random.default_rng(seed)
  config = dataclasses.replace(
      SMALL, terminate=terminate, random_heading=not terminate,
      episode_length=60)
  env = watermaze.Watermaze(config)
  # Near the start, so that it is met; forward is likely, so that the rim is.
  task = env.default_params.replace(
      platform=jnp.array(rng.uniform(-0.4, 0.4, 2), jnp.float32))
  obs, state = env.reset(jax.random.key(seed), task)
  assert config.random_heading or obs[2] == 0
  plain = PlainPool(config, np.asarray(task.platform), obs[2])
  plain.check(np.asarray(obs))
  for t, action in enumerate(rng.choice(8, 130, p=[0.44] + [0.08] * 7)):
    here = complex(*np.asarray(state.position))
    obs, state, reward, terminated, truncated, info = env.step(
        jax.random.fold_in(jax.random.key(seed), t), state, action, task)
    expected, ends, time_up = plain.step(action)
    # On the edge itself rounding decides.
    edge = abs(plain.position - plain.platform) - config.platform_radius
    hypothesis.assume(abs(edge) > 1e-4)
    assert reward.dtype == jnp.float32 and float(reward) == expected
    assert bool(terminated) == ends and bool(truncated) == time_up
    plain.check(np.asarray(info['final_observation']))
    assert abs(complex(*np.asarray(state.position)) - here) < 0.1001 or (
        ends or time_up)
    if ends or time_up:
      plain.reset(obs[2])
    plain.check(np.asarray(obs))
    assert int(state.time) == plain.time


def plain_pixel(config, pose, row, column):
  """The colour [3] that one ray meets first, out of all that it meets."""
  x, y, heading, px, py, raised = map(float, pose)
  tangent = math.tan(math.radians(config.field_of_view / 2))
  right = tangent * ((column + 0.5) / (config.width / 2) - 1)
  up = tangent * (0.3 * config.height - row - 0.5) / (config.width / 2)
  ahead = cmath.exp(1j * heading)
  ray = ahead - 1j * ahead * right
  flat = abs(ray)
  hits = []  # (how far, colour)
  # Walls: a normal each, the distance along it, and the pattern.
  for normal, (one, two), pattern in (
      (1, view.WALL_COLOURS[0], lambda a, z: (
          math.floor(a / 0.34) + math.floor(z / 0.25)) % 2),
      (1j, view.WALL_COLOURS[1], lambda a, z: math.floor(a / 0.34) % 2),
      (-1, view.WALL_COLOURS[2], lambda a, z: math.floor(
          z / 0.25 + 1.4 * abs((a / 0.34) % 2 - 1)) % 2),
      (-1j, view.WALL_COLOURS[3], lambda a, z: math.floor(
          (a + z) / 0.34) % 2)):
    toward = (ray * normal.conjugate()).real
    if toward > 1e-9:
      t = (1.4 - (complex(x, y) * normal.conjugate()).real) / toward
      at, z = complex(x, y) + t * ray, 0.2 + t * up
      along = at.imag if normal.real else at.real
      if 0 <= z <= 0.65:
        hits.append((t, (one if pattern(along, z) else two)
                     * (1 - 0.13 * t * flat)))
  if up < 0:
    t = 0.2 / -up
    far = abs(complex(x, y) + t * ray)
    colour = (view.WATER if far < 1 else
              view.KERB if far < 1.05 else view.SAND)
    hits.append((t, np.array(colour) * (1 - 0.13 * min(t, 4))))
  if raised:
    # |position + t ray - platform| = radius, a quadratic in t.
    off = complex(x, y) - complex(px, py)
    roots = np.roots([flat**2, 2 * (off * ray.conjugate()).real,
                      abs(off)**2 - config.platform_radius**2])
    if np.isreal(roots).all():
      near, end = sorted(roots.real)
      light = 1 - 0.13 * max(near, 0) * flat
      if near > 0 and 0 <= 0.2 + near * up <= 0.1:
        hits.append((near, np.array(view.SIDE) * light))
      if up < 0 and near <= 0.1 / -up <= end:
        hits.append((0.1 / -up, np.array(view.TOP) * light))
  if hits:
    return min(hits, key=lambda hit: hit[0])[1]
  blue = (0.3 * config.height - row - 0.5) / (0.3 * config.height - 0.5)
  return (np.array(view.SKY) * blue
          + np.array(view.HAZE) * (1 - blue))


@pytest.mark.parametrize('field_of_view', [90.0, 70.0])
def test_a_frame_is_what_each_ray_meets_first(field_of_view):
  config = dataclasses.replace(SMALL, height=27, width=36,
                               field_of_view=field_of_view)
  obs = np.concatenate([poses(8, seed=3), [
      (0, 0, 0, 0.5, 0.1, 1), (0.5, 0.05, 2, 0.5, 0.1, 1),
      (0.2, 0.1, 0.3, 0.5, 0.1, 0)]]).astype(np.float32)
  expected = np.array([
      [[plain_pixel(config, pose, i, j) for j in range(36)] for i in range(27)]
      for pose in obs])
  assert share_apart(frames(obs, config), np.round(expected)) < 1e-3


def test_a_frame_does_not_depend_on_how_it_is_compiled():
  env, obs = watermaze.Watermaze(), poses(6)
  together = frames(obs, env.config)
  one_by_one = np.stack([jax.jit(env.view)(pose) for pose in obs])
  in_order = jax.jit(env.view, compiler_options={
      'xla_backend_optimization_level': 0})(obs[0])
  assert together.shape == (6, 72, 96, 3) and together.dtype == np.uint8
  assert env.view_space().shape == together.shape[1:]
  assert env.view_space().dtype == together.dtype
  assert share_apart(together, one_by_one) < 1e-4
  assert share_apart(together[0], np.asarray(in_order)) < 1e-4


def test_histories_of_poses_hold_the_frames_that_were_shown():
  tasks = watermaze.tasks(SMALL)
  task = jax.tree.map(lambda x: x[0], tasks.train)
  shown, kept = (types.unroll(
      references.random(dataclasses.replace(tasks, env=env)), task,
      jax.random.key(0), 120)[0]
      for env in (watermaze.Frames(SMALL), tasks.env))
  np.testing.assert_array_equal(shown.action, kept.action)
  np.testing.assert_array_equal(shown.reward, kept.reward)
  assert shown.obs.shape == (1, 120, 18, 24, 3) and shown.obs.dtype == np.uint8
  assert share_apart(frames(kept.obs[0]), np.asarray(shown.obs[0])) < 1e-4
  bytes_of = lambda history: sum(x.nbytes for x in history) / 120
  assert bytes_of(kept) == 30 and bytes_of(shown) == 18 * 24 * 3 + 6


def test_each_pose_looks_different():
  obs = poses(90, seed=1)
  obs[:, 3:] = 0
  drawn = frames(obs).reshape(90, -1).astype(int)
  apart = (np.abs(drawn[:, None] - drawn[None]) > 8).mean(-1)
  assert apart[~np.eye(90, dtype=bool)].min() > 0.02
  # One step or turn is seen too.
  for change in np.array([(0.07, 0.07, 0), (0, 0, math.pi / 8)]):
    moved = obs.copy()
    moved[:, :3] += change
    assert (frames(moved) != frames(obs)).any(-1).mean((1, 2)).min() > 0.02


def test_the_platform_is_seen_if_it_is_raised_and_in_view():
  config = watermaze.Config()
  rng = np.random.default_rng(2)
  obs = poses(300, seed=2)
  obs[:, 3:5], obs[:, 5] = rng.uniform(-0.6, 0.6, (300, 2)), 1
  hidden = obs * [1, 1, 1, 1, 1, 0]
  without = obs * [1, 1, 1, 0, 0, 0]
  np.testing.assert_array_equal(frames(hidden, config), frames(without, config))
  seen = (frames(obs, config) != frames(hidden, config)).any(-1).sum((1, 2))
  way = (obs[:, 3:5] - obs[:, :2]) @ np.array([1, 1j])
  bearing = np.abs(np.angle(way * np.exp(-1j * obs[:, 2])))
  # All of it inside the field of view, or none.
  margin = np.arcsin(np.minimum(1, 0.15 / np.abs(way)))
  inside, outside = bearing < math.pi / 4, bearing > math.pi / 4 + margin + 0.05
  beside = np.abs(way) > 0.15  # Not stood on.
  assert inside.sum() > 30 and (outside & beside).sum() > 100
  assert seen[inside].min() >= 20
  assert seen[outside & beside].max() == 0
  on = obs.copy()
  on[:, 3:5] = on[:, :2]
  assert (frames(on, config) != frames(hidden, config)).any(-1).sum(
      (1, 2)).min() > 200


def test_a_frame_tells_where_one_is():
  turns = np.arange(-8, 8) * math.pi / 8
  grid = np.stack(np.meshgrid(
      np.linspace(-0.9, 0.9, 19), np.linspace(-0.9, 0.9, 19), turns), -1)
  known = np.pad(grid.reshape(-1, 3), ((0, 0), (0, 3)))
  asked = poses(200, seed=4)
  asked[:, 2] = np.random.default_rng(4).choice(turns, 200)
  asked[:, 3:] = 0
  a, b = (frames(obs).reshape(len(obs), -1).astype(np.float32) / 255
          for obs in (asked, known))
  nearest = known[((b**2).sum(-1) - 2 * a @ b.T).argmin(-1)]
  error = np.linalg.norm(nearest[:, :2] - asked[:, :2], axis=-1)
  # The grid is 0.1 wide: at best 0.04 in the median; by noise 0.7.
  assert np.median(error) < 0.08 and (error < 0.25).mean() > 0.95
  turned = np.angle(np.exp(1j * (nearest[:, 2] - asked[:, 2])))
  assert (np.abs(turned) < 0.1).mean() > 0.98


@pytest.fixture(scope='module')
def curves():
  """Returns [N, E] of some learners on all held-out tasks, 8 episodes."""
  tasks = watermaze.tasks(dataclasses.replace(SMALL, num_held_out=16))
  keys = jax.random.split(jax.random.key(0), 16)
  results = {}
  for name, learner in (('oracle', references.oracle(tasks)),
                        ('memory', references.random_walk_with_memory(tasks)),
                        ('coverage', coverage_search.Config().make(tasks))):
    history, _ = jax.jit(jax.vmap(
        lambda task, key, learner=learner: types.unroll(
            learner, task, key, 400)))(tasks.held_out, keys)
    results[name] = np.asarray(
        metrics.learning_curves(history.reward, history.done, 8))[:, 0]
    results[name + ' rewards'] = np.asarray(history.reward)[:, 0]
  return tasks, results


def test_every_platform_is_reached_from_the_centre(curves):
  tasks, results = curves
  assert (results['oracle'] == 1).all()
  assert (jax.vmap(tasks.optimal_return)(tasks.held_out) == 1).all()
  took = results['oracle rewards'].reshape(16, 8, 50).argmax(-1) + 1
  away = np.linalg.norm(tasks.held_out.platform, axis=-1)[:, None] - 0.15
  assert took.max() <= 15
  assert (took >= away / watermaze.STEP - 1e-3).all()
  assert (took <= np.maximum(away, 0) / watermaze.STEP + 5).all()


def test_the_reward_is_paid_once(curves):
  for name in ('oracle', 'memory', 'coverage'):
    assert set(np.unique(curves[1][name])) <= {0.0, 1.0}


@pytest.mark.parametrize('name', ['memory', 'coverage'])
def test_what_was_found_is_found_again(curves, name):
  for returns in curves[1][name]:
    assert (returns[returns.argmax():] == returns.max()).all()


def test_coverage_search_leaves_no_platform_unfound(curves):
  found = curves[1]['coverage'].mean(0)
  assert found[0] < 0.7 and found[3] > 0.8 and found[-3:].min() == 1
  assert found[1:6].mean() > curves[1]['memory'].mean(0)[1:6].mean() + 0.2


def test_the_hypotheses_cover_the_pool():
  for radius in (0.12, 0.15, 0.3):
    config = dataclasses.replace(SMALL, platform_radius=radius, num_train=2000)
    tasks = watermaze.tasks(config)
    centres = np.asarray(tasks.train.platform)
    assert np.linalg.norm(centres, axis=-1).max() <= 1 - radius
    points = np.asarray(tasks.hypotheses.platform)
    assert np.linalg.norm(points, axis=-1).max() <= 1 - radius + 1e-6
    apart = np.linalg.norm(centres[:, None] - points[None], axis=-1)
    # Who stands on the nearest hypothesis stands on the platform.
    slack = radius - np.asarray(tasks.hypotheses.radius)
    assert (apart - slack).min(-1).max() <= 1e-6
    # Uniform over the disc: half of it is within 1 / sqrt(2).
    inner = np.linalg.norm(centres, axis=-1) < (1 - radius) / math.sqrt(2)
    assert abs(inner.mean() - 0.5) < 0.05


def test_coverage_search_starts_over_where_its_hypotheses_are_wrong():
  tasks = watermaze.tasks(SMALL)
  few = jax.tree.map(lambda x: x[::90], tasks.hypotheses)
  learner = coverage_search.Config(order='any').make(
      dataclasses.replace(tasks, hypotheses=few))
  task = tasks.env.default_params.replace(platform=jnp.array([2.0, 2.0]))
  state, targets = learner.init(task, jax.random.key(0)), set()
  step = jax.jit(learner.step)
  for t in range(100):
    state, _ = step(task, state, jax.random.fold_in(jax.random.key(1), t))
    targets.add(int(state.target))
    assert state.alive[state.target] and not state.known
  assert targets == {0, 1, 2}


def test_the_goal_policy_leads_to_where_one_was_or_the_platform_shown():
  policy = jax.jit(watermaze.goal_policy)
  for target, goal in (([0.4, -0.5, 0, 0, 0, 0], (0.4, -0.5)),
                       ([0.4, -0.5, 0, 0.45, -0.4, 1], (0.45, -0.4))):
    position, heading = jnp.zeros(2), jnp.float32(2)
    for t in range(20):
      obs = jnp.array([*position, heading, 0, 0, 0], jnp.float32)
      action = policy(obs, jnp.array(target, jnp.float32), jax.random.key(t))
      position, heading = watermaze.move(
          position, heading, jnp.asarray(watermaze.MOVES)[action])
    assert np.linalg.norm(position - np.array(goal)) < 0.06
    assert int(action) == watermaze.ROTATE_LEFT


@pytest.mark.parametrize('split_seed', [0, 1, 7])
def test_the_three_sets_are_disjoint(split_seed):
  config = dataclasses.replace(SMALL, split_seed=split_seed)
  tasks = watermaze.tasks(config)
  sets = [set(map(tuple, np.asarray(some.platform)))
          for some in (tasks.train, tasks.validation, tasks.held_out)]
  assert [len(s) for s in sets] == [40, 32, 32]
  assert len(set.union(*sets)) == 104
  more = watermaze.tasks(dataclasses.replace(config, num_train=50))
  np.testing.assert_array_equal(more.held_out.platform, tasks.held_out.platform)


def points_of(split, disc):
  """Points [P, 2] all over the region that is held out, its border included."""
  lines = np.linspace(0, 1, 60)
  low, turns = (0, lines / 4) if split == 'sector' else (0.75, lines)
  distance = disc * np.sqrt(low + (1 - low) * lines)[:, None]
  angle = 2 * np.pi * turns
  return np.stack([distance * np.cos(angle), distance * np.sin(angle)],
                  -1).reshape(-1, 2)


def in_region(split, disc, platforms):
  x, y = np.asarray(platforms, np.float64).T
  return {'sector': (x > -1e-6) & (y > -1e-6),
          'rim': x**2 + y**2 > 0.75 * disc**2 - 1e-6}[split]


@pytest.mark.parametrize('split', ['sector', 'rim'])
@hypothesis.given(st.sampled_from([0.12, 0.15, 0.3, 0.4]),
                  st.integers(0, 2**31 - 1))
@hypothesis.settings(max_examples=4, deadline=None)
def test_into_a_region_that_is_held_out_no_training_platform_reaches(
    split, radius, seed):
  config = dataclasses.replace(
      SMALL, split=split, split_seed=seed, platform_radius=radius,
      num_train=300, num_validation=70, num_held_out=80)
  tasks, disc = watermaze.tasks(config), 1 - radius
  new = jax.jit(jax.vmap(tasks.sample_new))(
      jax.random.split(jax.random.key(seed), 300))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
      lambda x: (x.shape, x.dtype), tasks.train)
  region = points_of(split, disc)
  assert in_region(split, disc, region).all()
  for some in (tasks.train, new):
    apart = np.linalg.norm(
        np.asarray(some.platform)[:, None] - region, axis=-1)
    assert apart.min() > radius - 1e-6
    # Up to its border they are there, and on either side of the pool.
    assert apart.min() < radius + 0.1
    assert np.linalg.norm(some.platform, axis=1).max() <= disc + 1e-6
  for some, number in ((tasks.validation, 70), (tasks.held_out, 80)):
    assert some.platform.shape == (number, 2)
    assert in_region(split, disc, some.platform).all()
    assert np.linalg.norm(some.platform, axis=1).max() <= disc + 1e-6
  rows = np.concatenate([some.platform for some in (
      tasks.train, new, tasks.validation, tasks.held_out)])
  assert len(np.unique(rows, axis=0)) == len(rows) == 750
  fewer = watermaze.tasks(dataclasses.replace(config, num_train=9))
  np.testing.assert_array_equal(fewer.held_out.platform,
                                tasks.held_out.platform)
  # What learners may hold possible is the whole pool, as ever.
  np.testing.assert_array_equal(
      tasks.hypotheses.platform, watermaze.lattice(config).platform)


def test_tasks_are_those_of_before_there_was_a_choice_of_splits():
  tasks = watermaze.tasks(SMALL)
  rng = np.random.default_rng(0)
  for some in (tasks.held_out, tasks.validation, tasks.train):
    number = types.num_tasks(some)
    u, v = rng.random(number), rng.random(number)
    distance, angle = (1 - SMALL.platform_radius) * np.sqrt(u), 2 * np.pi * v
    np.testing.assert_array_equal(some.platform, (distance * np.stack(
        [np.cos(angle), np.sin(angle)])).T.astype(np.float32))


@pytest.mark.parametrize('split', ['sector', 'rim'])
def test_a_platform_too_large_for_a_region_is_named(split):
  with pytest.raises(ValueError, match=(
      rf"^platform_radius=0\.45: must be at most 0\.4 with split='{split}'")):
    dataclasses.replace(SMALL, platform_radius=0.45, split=split)


@pytest.mark.parametrize('drawn', ['train', 'new'])
def test_platforms_are_uniform_on_the_disc_of_their_centres(drawn):
  tasks = watermaze.tasks(dataclasses.replace(SMALL, num_train=20_000))
  new = jax.jit(jax.vmap(tasks.sample_new))(
      jax.random.split(jax.random.key(0), 20_000))
  assert jax.tree.map(lambda x: (x.shape, x.dtype), new) == jax.tree.map(
      lambda x: (x.shape, x.dtype), tasks.train)
  some = {'train': tasks.train, 'new': new}[drawn]
  x, y = np.asarray(some.platform).T
  share = (x**2 + y**2) / (1 - SMALL.platform_radius)**2
  turn = np.arctan2(y, x) / (2 * math.pi) + 0.5
  for found in (share, turn):
    np.testing.assert_allclose(
        np.quantile(found, np.linspace(0, 1, 11)), np.linspace(0, 1, 11),
        atol=0.02)
  assert abs(np.corrcoef(share, turn)[0, 1]) < 0.03
  np.testing.assert_array_equal(some.radius, tasks.train.radius)
  np.testing.assert_array_equal(
      some.max_steps_in_episode, tasks.train.max_steps_in_episode)


def test_a_new_platform_is_none_of_the_sets():
  tasks = watermaze.tasks(SMALL)
  new = jax.vmap(tasks.sample_new)(jax.random.split(jax.random.key(0), 40))
  rows = np.concatenate([some.platform for some in (
      new, tasks.train, tasks.validation, tasks.held_out)])
  assert len(np.unique(rows, axis=0)) == 144


def test_starts_are_in_the_centre_and_headings_uniform():
  env = watermaze.Watermaze(SMALL)
  obs, _ = jax.vmap(env.reset, (0, None))(
      jax.random.split(jax.random.key(0), 4000), env.default_params)
  assert (np.asarray(obs)[:, [0, 1, 3, 4, 5]] == 0).all()
  counts, _ = np.histogram(obs[:, 2], 8, (-math.pi, math.pi))
  assert counts.min() > 400 and counts.max() < 600


def test_equal_environments_share_their_programs():
  env = watermaze.Watermaze
  assert env() == env(watermaze.Config()) and hash(env()) == hash(env())
  assert env() != env(SMALL) and env() != watermaze.Frames()
  assert watermaze.Frames() == watermaze.Frames()


def test_what_learners_ask_of_it():
  for env in (watermaze.Watermaze(SMALL), watermaze.Frames(SMALL)):
    obs, state = jax.eval_shape(env.reset, jax.random.key(0))
    returned = jax.eval_shape(env.step, jax.random.key(1), state, 0)
    assert len(returned) == 6
    space = env.observation_space()
    for shown in (obs, returned[0], returned[5]['final_observation']):
      assert shown.shape == space.shape and shown.dtype == space.dtype
    assert stepping.num_actions(env) == 8
    assert env.view_space().shape == (18, 24, 3)
    frame = jax.eval_shape(env.view, obs)
    assert frame.shape == (18, 24, 3) and frame.dtype == jnp.uint8
  assert tables.integer_values(watermaze.Watermaze()) is None


def test_poses_are_within_their_space():
  tasks = watermaze.tasks(SMALL)
  space = tasks.env.observation_space()
  history, _ = types.unroll(
      references.random(tasks), jax.tree.map(lambda x: x[0], tasks.train),
      jax.random.key(0), 120)
  assert (history.obs >= space.low).all() and (history.obs <= space.high).all()


@pytest.mark.parametrize('field, value, allowed', [
    ('platform_radius', 0.05, 'from 0.12'), ('episode_length', 10, '20'),
    ('field_of_view', 180.0, '150'), ('height', 1, '4'), ('width', 0, '4'),
    ('num_train', 0, 'at least 1'), ('split', 'half', "'sector', 'rim'"),
    ('split_seed', -1, 'at least 0')])
def test_a_bad_pool_is_named(field, value, allowed):
  with pytest.raises(ValueError, match=rf'^{field}.*{allowed}'):
    watermaze.Config(**{field: value})


def test_a_bad_coverage_search_is_named():
  with pytest.raises(ValueError, match=r'^order.*nearest'):
    coverage_search.Config(order='none')
  for changes, why in (
      *(({name: None}, f'^tasks.{name}=None: must be there .*coverage_search$')
        for name in ('hypotheses', 'optimal_policy', 'goal_policy')),
      ({'num_goals': 2}, r'^tasks\.num_goals=2: must be 1')):
    with pytest.raises(ValueError, match=why):
      coverage_search.Config().make(dataclasses.replace(
          watermaze.tasks(SMALL), **changes))
