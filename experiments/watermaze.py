"""What the water maze looks like, and how fast it is drawn.

  python -m experiments.watermaze --out=DIR [--benchmark]

Draws `views.png`, frames from across the pool beside a map of where they are
seen from, and `replay.gif`, three episodes of a coverage search: what it sees
beside where it is. With --benchmark it measures frames per second instead.
"""

import math
import os
import time

from absl import flags

from adjax.cli import launcher

_OUT = flags.DEFINE_string('out', 'runs/watermaze', 'A folder for pictures.')
_BENCHMARK = flags.DEFINE_bool('benchmark', False, 'Measures, draws nothing.')
_BATCH = flags.DEFINE_integer('batch', 1024, 'Frames at a time.', 1)
_RUNS = flags.DEFINE_integer('runs', 15, 'Timed runs of each size.', 1)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the rollout that is replayed.')

POSITIONS = [(0.0, 0.0), (0.6, 0.55), (-0.7, 0.3), (0.15, -0.85), (0.45, -0.2)]
HEADINGS = [0, 60, 120, 180, 240, 300]  # In degrees.
PLATFORM = (0.45, -0.2)


def poses(count, seed=0):
  """Observations [count, 6] of positions, headings and raised platforms."""
  import numpy as np
  rng = np.random.default_rng(seed)
  return np.concatenate([
      rng.uniform(-0.65, 0.65, (count, 2)), rng.uniform(-3.1, 3.1, (count, 1)),
      rng.uniform(-0.6, 0.6, (count, 2)), rng.integers(0, 2, (count, 1)),
  ], 1).astype(np.float32)


def benchmark():
  """Prints the median and the spread of frames per second."""
  import jax

  from adjax.envs import watermaze

  print(f'{len(jax.devices())} x {jax.devices()[0].device_kind}, '
        f'{os.cpu_count()} CPU cores, jax {jax.__version__}')
  obs = jax.numpy.asarray(poses(_BATCH.value))
  for height, width in ((72, 96), (18, 24)):
    env = watermaze.Watermaze(watermaze.Config(height=height, width=width))
    view = jax.jit(jax.vmap(env.view))
    view(obs).block_until_ready()
    rates = []
    for _ in range(_RUNS.value):
      start = time.perf_counter()
      view(obs).block_until_ready()
      rates.append(_BATCH.value / (time.perf_counter() - start))
    rates.sort()
    print(f'{height}x{width}x3, {_BATCH.value} at a time '
          f'{rates[len(rates) // 2]:12,.0f} frames/s '
          f'({rates[0]:,.0f} to {rates[-1]:,.0f})')


def draw_map(axes):
  """The room from above: its walls in their colours, the pool and its kerb."""
  from matplotlib import patches
  import numpy as np

  from adjax.envs import watermaze_view

  shade = lambda colour: tuple(np.asarray(colour) / 255)
  w = watermaze_view.WALL
  axes.add_patch(patches.Rectangle((-w, -w), 2 * w, 2 * w,
                                   color=shade(watermaze_view.SAND)))
  for radius, colour in ((watermaze_view.RIM, watermaze_view.KERB),
                         (1, watermaze_view.WATER)):
    axes.add_patch(patches.Circle((0, 0), radius, color=shade(colour)))
  corners = [(w, -w), (w, w), (-w, w), (-w, -w), (w, -w)]
  for start, end, colours in zip(
      corners, corners[1:], watermaze_view.WALL_COLOURS):
    for colour, style in zip(colours, ('-', (0, (2, 2)))):
      axes.plot(*zip(start, end), color=shade(colour), lw=7, ls=style,
                solid_capstyle='butt', dash_capstyle='butt')
  axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect='equal')
  axes.axis('off')


def views(path):
  """A sheet of frames, and a map of where they are seen from."""
  import jax
  from matplotlib import patches
  from matplotlib import pyplot as plt
  import numpy as np

  from adjax.envs import watermaze

  env = watermaze.Watermaze()
  # The platform is up in every other frame, and wherever it is stood on.
  obs = np.array([
      (x, y, math.radians(heading), *PLATFORM, j % 2 == 0 or (x, y) == PLATFORM)
      for x, y in POSITIONS for j, heading in enumerate(HEADINGS)], np.float32)
  frames = np.asarray(jax.jit(jax.vmap(env.view))(obs))
  rows, columns = len(POSITIONS), len(HEADINGS)
  figure = plt.figure(figsize=(11.5, 5.3))
  left, right = figure.subfigures(1, 2, width_ratios=(1, 2))
  axes = left.subplots()
  draw_map(axes)
  axes.add_patch(patches.Circle(PLATFORM, env.config.platform_radius,
                                color='white', alpha=0.9))
  for number, (x, y) in enumerate(POSITIONS):
    for heading in HEADINGS:
      angle = math.radians(heading)
      axes.plot([x, x + 0.2 * math.cos(angle)], [y, y + 0.2 * math.sin(angle)],
                color='black', lw=1)
    axes.text(x, y, 'ABCDEFGH'[number], ha='center', va='center', fontsize=9,
              bbox={'boxstyle': 'circle', 'fc': 'gold', 'ec': 'black'})
  axes.set_title('where from, and the platform', fontsize=9)
  grid = right.subplots(rows, columns)
  for i in range(rows):
    for j in range(columns):
      grid[i, j].imshow(frames[i * columns + j], interpolation='nearest')
      grid[i, j].set(xticks=[], yticks=[])
    grid[i, 0].set_ylabel('ABCDEFGH'[i], rotation=0, labelpad=10)
  for j, heading in enumerate(HEADINGS):
    grid[0, j].set_title(f'{heading}°', fontsize=9)
  right.subplots_adjust(0.04, 0.01, 0.99, 0.94, 0.04, 0.04)
  left.subplots_adjust(0, 0.02, 1, 0.93)
  figure.savefig(path, dpi=110)
  plt.close(figure)


def replay(path, episodes=3):
  """Three episodes of a coverage search, the first of which finds nothing."""
  import jax
  from matplotlib import animation
  from matplotlib import patches
  from matplotlib import pyplot as plt
  import numpy as np

  from adjax import types
  from adjax.envs import watermaze
  from adjax.learners import coverage_search

  tasks = watermaze.tasks()
  length = tasks.episode_length
  learner = coverage_search.learner(coverage_search.Config(), tasks)
  histories, _ = jax.jit(jax.vmap(lambda task, key: types.unroll(
      learner, task, key, episodes * length)))(
          tasks.validation, jax.random.split(
              jax.random.key(_SEED.value), types.num_tasks(tasks.validation)))
  returns = np.asarray(histories.reward).reshape(
      -1, episodes, length).sum(-1)
  # The most telling one: searched, found in the second episode, remembered,
  # and a long way off.
  telling = -10 * np.abs(returns - [0, 1, 1]).sum(-1) + np.linalg.norm(
      tasks.validation.platform, axis=-1)
  chosen = int(np.argmax(telling))
  history = jax.tree.map(lambda x: np.asarray(x[chosen, 0]), histories)
  platform = np.asarray(tasks.validation.platform[chosen])
  frames = np.asarray(jax.jit(jax.vmap(tasks.env.view))(history.obs))

  figure, (first, second) = plt.subplots(
      1, 2, figsize=(6.4, 2.9), width_ratios=(1.36, 1))
  figure.subplots_adjust(0.01, 0.02, 0.99, 0.88, 0.02)
  image = first.imshow(frames[0], interpolation='nearest')
  first.axis('off')
  draw_map(second)
  radius = tasks.env.config.platform_radius
  second.add_patch(patches.Circle(platform, radius, fill=False, ls=':',
                                  ec='white'))
  raised = second.add_patch(patches.Circle(platform, radius, color='white'))
  trail, = second.plot([], [], color='gold', lw=1.2)
  body, = second.plot([], [], 'o', color='gold', ms=5, mec='black')
  eyes, = second.plot([], [], color='black', lw=1.5)
  text = figure.text(0.02, 0.92, '', fontsize=9)

  def update(t):
    start = t - t % length
    x, y, heading = history.obs[t, :3]
    image.set_data(frames[t])
    raised.set_visible(history.obs[t, 5] > 0)
    trail.set_data(*history.obs[start:t + 1, :2].T)
    body.set_data([x], [y])
    eyes.set_data([x, x + 0.2 * math.cos(heading)],
                  [y, y + 0.2 * math.sin(heading)])
    paid = history.reward[start:t].sum()
    text.set_text(f'episode {t // length + 1}, step {t % length:2}, '
                  f'return {paid:.0f}')

  # Once it is up there is little more to see.
  since = np.cumsum(
      history.obs[:, 5].reshape(episodes, length) > 0, -1).ravel()
  movie = animation.FuncAnimation(
      figure, update, frames=np.flatnonzero(since <= 15).tolist())
  movie.save(path, animation.PillowWriter(fps=8), dpi=70)
  plt.close(figure)


def main() -> None:
  """Draws the pictures, or measures."""
  if _BENCHMARK.value:
    benchmark()
    return
  import matplotlib
  matplotlib.use('Agg')
  os.makedirs(_OUT.value, exist_ok=True)
  for name, draw in (('views.png', views), ('replay.gif', replay)):
    path = os.path.join(_OUT.value, name)
    draw(path)
    print(path)


if __name__ == '__main__':
  launcher.start(main)
