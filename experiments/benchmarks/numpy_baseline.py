"""Source learners as a user of NumPy would write them, to be measured beside.

Vectorised over learners; histories are kept. Learning rule, exploration, ties
and the environment are those of adjax, so that curves agree in law.
"""

import numpy as np

_MOVES = np.array([(-1, 0), (1, 0), (0, 1), (0, -1), (0, 0)], np.int8)


def tabular_q(goals, steps, seed, size=9, episode_length=20, learning_rate=0.5,
              discount=0.9, epsilon=0.1):
  """Epsilon-greedy Q-learning in Dark Room, one learner for each goal.

  Args:
    goals: cells [N, 2], int8.
    steps: T.
    seed: of the random numbers.
    size: cells along a side.
    episode_length: steps from one start in the centre to the next.
    learning_rate: alpha.
    discount: gamma.
    epsilon: the share of random actions.

  Returns:
    obs [T, N, 2] int8, action [T, N] int8, reward [T, N] float32, done [T, N].
  """
  rng = np.random.default_rng(seed)
  num = len(goals)
  every = np.arange(num)
  values = np.zeros((num, size * size, 5), np.float32)
  obs = np.empty((steps, num, 2), np.int8)
  action = np.empty((steps, num), np.int8)
  reward = np.empty((steps, num), np.float32)
  done = np.zeros((steps, num), bool)
  done[episode_length - 1::episode_length] = True
  cell = np.full((num, 2), size // 2, np.int8)
  for t in range(steps):
    row = cell[:, 0].astype(np.int32) * size + cell[:, 1]
    known = values[every, row]
    best = known == known.max(1, keepdims=True)
    # Among the best, ties uniformly.
    chosen = np.argmax(best * (1 + rng.random((num, 5), np.float32)), 1)
    u = rng.random(num, np.float32)
    chosen = np.where(u < epsilon, (u / epsilon * 5).astype(np.int64), chosen)
    after = np.clip(cell + _MOVES[chosen], 0, size - 1)
    paid = (after == goals).all(1).astype(np.float32)
    there = after[:, 0].astype(np.int32) * size + after[:, 1]
    target = paid + discount * values[every, there].max(1)
    values[every, row, chosen] += learning_rate * (
        target - known[every, chosen])
    obs[t], action[t], reward[t] = cell, chosen, paid
    cell = np.full_like(cell, size // 2) if done[t, 0] else after
  return obs, action, reward, done


def ucb(means, steps, seed, exploration=0.15):
  """UCB1 on Bernoulli arms, one learner for each task.

  Args:
    means: [N, A], what arms pay on average.
    steps: T.
    seed: of the random numbers.
    exploration: the weight of the bonus.

  Returns:
    action [T, N] int8, reward [T, N] float32.
  """
  rng = np.random.default_rng(seed)
  num, arms = means.shape
  every = np.arange(num)
  pulls = np.zeros((num, arms), np.float32)
  total = np.zeros((num, arms), np.float32)
  action = np.empty((steps, num), np.int8)
  reward = np.empty((steps, num), np.float32)
  for t in range(steps):
    n = np.maximum(pulls, 1)
    bonus = exploration * np.sqrt(np.log(max(t, 1)) / n)
    index = np.where(pulls == 0, np.inf, total / n + bonus)
    best = index == index.max(1, keepdims=True)
    chosen = np.argmax(best * (1 + rng.random((num, arms), np.float32)), 1)
    paid = rng.random(num, np.float32) < means[every, chosen]
    pulls[every, chosen] += 1
    total[every, chosen] += paid
    action[t], reward[t] = chosen, paid
  return action, reward
