"""Watch a trained model learn a goal that you choose, in the terminal.

  adjax play --goal=3,7
  adjax play --pretrained=key_to_door --goal=1,1 --goal=7,2
  adjax play runs/mine --episodes=50 --speed=0

Its weights are frozen: all that it learns is in its context. Of the runs in a
workdir, those of a grid can be played. Goals are cells x,y, counted from the
left and from below, from 0; they pay where the task says so, and the agent does
not see them.
"""

import sys
import time
from typing import Any
from typing import TextIO

from absl import flags

from adjax.cli import episodes as episodes_lib
from adjax.cli import folders

flags.declare_key_flag('pretrained')
flags.declare_key_flag('seed')
flags.declare_key_flag('episodes')
_GOAL = flags.DEFINE_multi_string(
    'goal', [], 'A cell, as in --goal=3,7; of key_to_door the key, and once '
    'more for the door. Default: drawn at random.')
_SPEED = flags.DEFINE_float(
    'speed', 20.0, 'Steps a second on a terminal; 0 for as fast as it goes.', 0)
_TEMPERATURE = flags.DEFINE_float(
    'temperature', 1.0, 'Of the actions; 0 takes the likeliest.', 0)
_RNG = flags.DEFINE_integer('rng', 0, 'The seed of all that is drawn.', 0)

_GRID = 'adjax.envs.dark_room:Config'


def main(workdirs: list[str]) -> None:
  """Plays what the arguments tell."""
  import adjax
  from adjax import pretrained
  name = folders.PRETRAINED.value
  if workdirs and name:
    raise ValueError('adjax play: must be given a WORKDIR or --pretrained=NAME,'
                     ' not both')
  agent = adjax.Agent.load(
      workdirs[0] if workdirs else pretrained.path(name or 'dark_room'),
      folders.SEED.value, rng=_RNG.value, temperature=_TEMPERATURE.value)
  play(agent, _GOAL.value, episodes_lib.FLAG.value or 20, Screen(sys.stdout),
       _SPEED.value, _RNG.value)


def play(
    agent: Any, goals: list[str], episodes: int, screen: 'Screen',
    speed: float = 0.0, rng: int = 0,
) -> list[float]:
  """Lets an agent act in a grid.

  Args:
    agent: an adjax.Agent that has seen nothing yet.
    goals: cells 'x,y'; none for some that are drawn.
    episodes: how many.
    screen: where it is shown.
    speed: steps a second, 0 for no limit.
    rng: the seed of the goals and of where episodes begin.

  Returns:
    The return of each episode.

  Raises:
    ValueError: if it was not trained on a grid, or a goal is none of its cells.
  """
  import jax
  import numpy as np

  from adjax.envs import dark_room
  tasks = dict(agent.header.get('tasks', {}))
  if tasks.pop('kind', None) != _GRID:
    raise ValueError('WORKDIR: must be a run on a grid, as dark_room and '
                     'key_to_door are')
  config = dark_room.Config(**tasks)
  cells = _cells(goals, config, np.random.default_rng(rng))
  task = dark_room.EnvParams(
      goals=np.array(cells, np.int8),
      max_steps_in_episode=np.int32(config.episode_length))
  env, best = dark_room.DarkRoom(config), dark_room.optimal_return(
      config, task)
  reset, step = jax.jit(env.reset), jax.jit(env.step)
  # As many at once as an episode has: one by one they cost more than a step.
  keys = jax.jit(lambda key: jax.random.split(key, config.episode_length))
  returns: list[float] = []
  screen.begin(agent.header, config.size, cells, float(best))
  for episode in range(episodes):
    returns.append(0.0)
    some = keys(jax.random.fold_in(jax.random.key(rng), episode))
    obs, state = reset(some[0], task)
    done, visited = False, [obs]
    for key in some:
      start = time.perf_counter()
      action = agent.act(np.asarray(obs))
      obs, state, reward, terminated, truncated, info = step(
          key, state, np.int8(action), task)
      done = bool(terminated or truncated)
      agent.observe(float(reward), done)
      returns[-1] += float(reward)
      visited.append(info['final_observation'])
      screen.step(visited, np.exp(agent.log_probs), returns)
      if screen.live and speed:
        time.sleep(max(0.0, 1 / speed - (time.perf_counter() - start)))
      if done:
        break
    screen.episode(returns)
  return returns


def _cells(goals: list[str], config: Any, rng: Any) -> list[list[int]]:
  """The goals as cells [G][2]."""
  number, size = config.num_goals, config.size
  if goals and len(goals) != number:
    raise ValueError(f'--goal: must be given {number} times here, not '
                     f'{len(goals)}')
  if not goals:
    return rng.integers(size, size=(number, 2)).tolist()
  cells = [[int(part) if part.strip().isdecimal() else size
            for part in text.split(',')] for text in goals]
  for text, cell in zip(goals, cells):
    if len(cell) != 2 or max(cell) >= size:
      raise ValueError(f'--goal={text}: must be a cell x,y with both from 0 to '
                       f'{size - 1}')
  return cells


class Screen:
  """A terminal that a grid is drawn on, or a file with a line an episode."""

  def __init__(self, file: TextIO):
    self._file = file
    self.live = file.isatty()
    try:
      '▁█●·★'.encode(file.encoding or 'ascii')
      self._bars, self._marks = '▁▂▃▄▅▆▇█', list('·∘●★')
    except UnicodeEncodeError:
      self._bars, self._marks = '_.-=+*#@', list('.o@X')
    self._lines = 0

  def begin(
      self, header: dict[str, Any], size: int, goals: list[list[int]],
      best: float,
  ) -> None:
    """Says what is to be seen; best is the most an episode can bring."""
    from adjax.envs import dark_room
    self._size, self._goals, self._best = size, goals, best
    self._actions = dark_room.ACTIONS
    names = ('goal',) if len(goals) == 1 else ('key', 'door')
    hidden = ' and '.join(f'{name} at {x},{y}'
                          for name, (x, y) in zip(names, goals))
    self._say(f'{header["experiment"]}: {hidden}, which it does not see; the '
              f'most that an episode can bring is {best:g}')

  def step(self, visited: list[Any], probabilities: Any, returns: list[float]
           ) -> None:
    """Draws a step of an episode in place of the one before."""
    if not self.live:
      return
    empty, been, agent, goal = self._marks
    cells = {tuple(map(int, cell)): been for cell in visited}
    cells |= {(x, y): f'\033[33m{goal}\033[0m' for x, y in self._goals}
    cells[tuple(map(int, visited[-1]))] = f'\033[1;36m{agent}\033[0m'
    rows = [' ' + ' '.join(cells.get((x, y), empty) for x in range(self._size))
            for y in reversed(range(self._size))]
    rows += ['  '.join(f'{name} {p:.2f}'
                       for name, p in zip(self._actions, probabilities)),
             f'step {len(visited) - 1:<4} ' + self._summary(returns)]
    up = f'\033[{self._lines}A' if self._lines else ''
    self._lines = len(rows)
    self._say(up + '\n'.join(f'\033[2K{row}' for row in rows))

  def episode(self, returns: list[float]) -> None:
    """Says what an episode brought; on a terminal its last step does."""
    if not self.live:
      self._say(self._summary(returns))

  def _summary(self, returns: list[float]) -> str:
    top = len(self._bars) - 1
    bars = ''.join(self._bars[round(top * min(1, max(0, x / self._best)))]
                   for x in returns[-40:])
    return f'episode {len(returns):<3} return {returns[-1]:<4g} {bars}'

  def _say(self, text: str) -> None:
    print(text, file=self._file, flush=True)

def start(argv: list[str] | None = None) -> None:
  """The program."""
  folders.start(main, argv, most=1)


if __name__ == '__main__':
  start()
