"""The presets: an environment, a method and a size each.

`cpu` sizes are minutes on two cores, and what was tried to find them is in
README.md beside this file. `gpu` sizes are the same experiments with a wider
model, larger batches and five seeds.
"""

import dataclasses
from typing import Any

from adjax import distill
from adjax import lstm
from adjax import rl2
from adjax import transformer
from adjax.envs import adapters
from adjax.envs import bandit
from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.learners import noise
from adjax.learners import patrol
from adjax.learners import posterior
from adjax.learners import rmax
from adjax.learners import tabular_q
from adjax.learners import thompson
from adjax.learners import ucb
from experiments.configs import Data
from experiments.configs import Evaluate
from experiments.configs import Experiment

_replace = dataclasses.replace


def _experts(preset: Experiment, episodes: int, tail: int) -> Experiment:
  """Expert distillation: the end of the histories instead of the whole."""
  return _replace(
      preset, name=f'{preset.name}_ed', seeds=1,
      data=_replace(preset.data, episodes=episodes, tail=tail))


def _online(preset: Experiment, **config: Any) -> Experiment:
  """RL2 with the preset's model; its source is only compared with.

  It is evaluated over as many episodes as its trials have, and its window holds
  all of them: it never learnt what to do beyond.
  """
  online = rl2.Config(**config)
  return _replace(
      preset, name=f'{preset.name}_rl2', seeds=1, data=None, distill=None,
      model=_replace(preset.model, dropout=0.0), rl2=online,
      evaluate=_replace(preset.evaluate, episodes=online.episodes))


def _recurrent(preset: Experiment, **config: Any) -> Experiment:
  """The same with an LSTM in the transformer's place."""
  return _replace(
      preset, name=f'{preset.name}_lstm', seeds=1, model=lstm.Config(**config))


# Dark Room.
_QUICK = Experiment(
    name='quick', tasks=dark_room.DARK_ROOM, source=posterior.Config(),
    data=Data(histories=256, episodes=15),
    distill=distill.Config(epochs=5, updates_per_epoch=300))

_DARK_ROOM = _replace(
    _QUICK, name='dark_room', seeds=3, data=Data(histories=512, episodes=15),
    distill=distill.Config(epochs=8, updates_per_epoch=250))

_DARK_ROOM_Q = _replace(
    _DARK_ROOM, name='dark_room_q',
    source=tabular_q.Config(
        learning_rate=1.0, discount=0.9, optimism=1.0, epsilon=0.1,
        final_epsilon=0.0, epsilon_episodes=120),
    data=Data(histories=128, episodes=20, every=12),
    model=transformer.Config(dropout=0.0, input_masking=0.05),
    distill=_replace(_QUICK.distill, weight_decay=0.3))

_DARK_ROOM_RMAX = _replace(
    _DARK_ROOM_Q, name='dark_room_rmax', seeds=1,
    source=rmax.Config(optimism=5.0, sweeps=8),
    data=Data(histories=128, episodes=20, every=2),
    model=transformer.Config(window=260),
    distill=_replace(_QUICK.distill, length=400),
    evaluate=Evaluate(episodes=100))

_DARK_ROOM_NOISE = _replace(
    _QUICK, name='dark_room_noise',
    source=noise.Config(anneal_episodes=15),
    data=Data(histories=512, episodes=20))

_DARK_ROOM_A2C = _replace(
    _DARK_ROOM_Q, name='dark_room_a2c', seeds=1, source=actor_critic.A2C,
    data=Data(histories=4, episodes=20),
    evaluate=Evaluate(episodes=100))

# Dark Room (Hard).
_DARK_ROOM_HARD = _replace(
    _QUICK, name='dark_room_hard', tasks=dark_room.DARK_ROOM_HARD,
    data=Data(histories=256, episodes=35),
    model=transformer.Config(layers=4, window=400),
    distill=distill.Config(epochs=6, updates_per_epoch=500, length=700),
    evaluate=Evaluate(episodes=100, runs=1, train_tasks=32, held_out_runs=20))

_DARK_ROOM_HARD_RMAX = _replace(
    _DARK_ROOM_HARD, name='dark_room_hard_rmax',
    source=rmax.Config(optimism=0.2, count_rewards=1),
    data=Data(histories=8, episodes=40, every=4),
    distill=_replace(_DARK_ROOM_HARD.distill, epochs=2),
    evaluate=_replace(_DARK_ROOM_HARD.evaluate, reference_runs=4))

_DARK_ROOM_HARD_A2C = _replace(
    _DARK_ROOM_HARD_RMAX, name='dark_room_hard_a2c',
    source=_replace(actor_critic.A2C, count_rewards=1),
    data=Data(histories=2, episodes=40, every=2))

# Dark Key-to-Door.
_KEY_TO_DOOR = _replace(
    _QUICK, name='key_to_door', tasks=dark_room.KEY_TO_DOOR,
    data=Data(histories=2, episodes=12),
    model=transformer.Config(layers=4, window=400),
    distill=distill.Config(epochs=5, updates_per_epoch=300, length=600),
    evaluate=Evaluate(episodes=30, runs=1, train_tasks=32, held_out_runs=20,
                      reference_runs=2))

_KEY_TO_DOOR_Q = _replace(
    _KEY_TO_DOOR, name='key_to_door_q',
    source=tabular_q.Config(
        learning_rate=1.0, discount=0.9, optimism=0.05, epsilon=0.0,
        final_epsilon=0.0, count_rewards=2),
    data=Data(histories=8, episodes=15, every=8),
    evaluate=Evaluate(episodes=100, runs=1, train_tasks=32, held_out_runs=8,
                      reference_runs=8))

# Told how many rewards it has had: a memoryless one cannot tell the way to the
# key from that to the door.
_KEY_TO_DOOR_A2C = _replace(
    _KEY_TO_DOOR_Q, name='key_to_door_a2c',
    source=_replace(actor_critic.A2C, count_rewards=2),
    tasks=_replace(dark_room.KEY_TO_DOOR, num_train=256),
    data=Data(histories=1, episodes=15, every=2))

# The adversarial bandit: a life of 100 trials, each an episode of one step.
_BANDIT = Experiment(
    name='bandit', tasks=bandit.Config(), source=ucb.Config(),
    data=Data(histories=16, episodes=100),
    model=transformer.Config(window=100, dropout=0.0),
    distill=distill.Config(
        epochs=6, updates_per_epoch=500, batch_size=64, length=100,
        weight_decay=0.1),
    evaluate=Evaluate(episodes=100, runs=1, train_tasks=64, held_out_runs=16,
                      reference_runs=16))

_BANDIT_THOMPSON = _replace(
    _BANDIT, name='bandit_thompson', source=thompson.Config())

# The water maze, from pixels. Lives begin looking east here: with headings
# drawn at random two cores need more patience than minutes.
_WATERMAZE = Experiment(
    name='watermaze',
    tasks=watermaze.Config(height=18, width=24, random_heading=False),
    source=patrol.Config(),
    data=Data(histories=8, episodes=8),
    model=transformer.Config(window=150),
    distill=distill.Config(
        epochs=8, updates_per_epoch=250, length=225, learning_rate=1e-3,
        weight_decay=0.02),
    evaluate=Evaluate(episodes=40, runs=1, train_tasks=32, held_out_runs=8,
                      reference_runs=8))

_WATERMAZE_DQN = _replace(
    _WATERMAZE, name='watermaze_dqn', source=dqn.DQN,
    tasks=_replace(_WATERMAZE.tasks, num_train=64),
    data=Data(histories=1, episodes=20, every=5))

# Any gymnax environment: a point whose goal is drawn for a life (and others
# that draw a task in reset, by --set tasks.env_id=NAME), and CartPole whose
# pole, force and actions are not known.
_GYMNAX = Experiment(
    name='gymnax', tasks=adapters.Config('PointRobot-misc', episode_length=100),
    source=actor_critic.PPO, data=Data(histories=1, episodes=20),
    evaluate=Evaluate(episodes=20, runs=1, held_out_runs=8, reference_runs=2))

_CARTPOLE = Experiment(
    name='cartpole',
    tasks=adapters.Config(
        'CartPole-v1', permute=True, episode_length=200,
        ranges=(('length', 0.25, 1.0), ('force_mag', 5.0, 15.0))),
    source=_replace(
        actor_critic.PPO, actors=16, discount=0.98, trace=0.9, entropy=0.0,
        learning_rate=1e-3, rollout=64, epochs=8, hidden=(64, 64),
        normalise_advantages=True),
    data=Data(histories=4, episodes=20, every=2),
    evaluate=Evaluate(episodes=10, runs=1, held_out_runs=8, reference_runs=2))

# As near to the paper's own set-up as this frame comes: its source algorithms
# with their values, 100 actors each of which leaves a history, its model's
# sizes and regularisers, its optimiser. Deviations: a token a step, not three;
# rotary positions, not absolute; pre-norm, not post-norm; actors that wait for
# each other (A2C for A3C); convolutions of stride 2 for its encoder and its
# residual net; a warm-up from 0. It does not say how many updates, how long a
# context (200 steps in Key-to-Door by its figures) or which tasks: 50,000, 200
# and our split here.
_PAPER = Experiment(
    name='paper', tasks=dark_room.DARK_ROOM, source=actor_critic.A2C_PAPER,
    data=Data(histories=1, episodes=400),
    model=transformer.Config(
        layers=4, width=64, heads=4, window=200, feed_forward=2048, dropout=0.1,
        attention_dropout=0.5, input_masking=0.3),
    distill=distill.Config(
        epochs=50, updates_per_epoch=1000, batch_size=128, length=300,
        learning_rate=3e-4, warmup=1000, weight_decay=0.0, b2=0.99),
    evaluate=Evaluate(episodes=1000, runs=1, held_out_runs=20,
                      reference_runs=2),
    seeds=5)

_PAPER_HARD = _replace(
    _PAPER, name='paper_hard', tasks=dark_room.DARK_ROOM_HARD,
    data=Data(histories=1, episodes=500),
    model=_replace(_PAPER.model, attention_dropout=0.0, input_masking=0.5),
    distill=_replace(_PAPER.distill, label_smoothing=0.2))

# The paper's single-stream set: 2048 tasks, one actor, every tenth of 2000
# episodes. Its source is told its rewards, as a memoryless one cannot tell the
# way to the key from that to the door; what the paper's was, it does not say.
_PAPER_KEY_TO_DOOR = _replace(
    _PAPER, name='paper_key_to_door',
    tasks=_replace(dark_room.KEY_TO_DOOR, num_train=2048),
    source=_replace(actor_critic.A2C_PAPER, actors=1, count_rewards=2),
    data=Data(histories=1, episodes=200, every=10))

# Frames of the paper's size fill a device: an eighth of its batch, half its
# channels and one seed. Its encoder's batch norms, pools and dropout are not
# ours.
_PAPER_WATERMAZE = _replace(
    _PAPER, name='paper_watermaze', seeds=1,
    tasks=_replace(watermaze.Config(), num_train=250), source=dqn.DQN_PAPER,
    data=Data(histories=1, episodes=130),
    model=_replace(_PAPER.model, window=250, channels=(32, 64, 64)),
    distill=_replace(_PAPER.distill, batch_size=16, length=375),
    evaluate=_replace(_PAPER.evaluate, episodes=160))

_ALL = [
    _QUICK, _DARK_ROOM, _DARK_ROOM_Q, _DARK_ROOM_RMAX, _DARK_ROOM_NOISE,
    _DARK_ROOM_A2C, _experts(_DARK_ROOM, 30, 15),
    _online(_DARK_ROOM, epochs=10, updates_per_epoch=60, entropy=0.03,
            final_entropy=0.01),
    _recurrent(_DARK_ROOM, layers=2, width=128),
    _online(_recurrent(_DARK_ROOM, width=256), epochs=10, updates_per_epoch=60,
            entropy=0.03, final_entropy=0.01),
    _DARK_ROOM_HARD, _DARK_ROOM_HARD_RMAX, _DARK_ROOM_HARD_A2C,
    _experts(_DARK_ROOM_HARD, 70, 35),
    _online(_DARK_ROOM_HARD, epochs=10, updates_per_epoch=100, episodes=20,
            entropy=0.03, final_entropy=0.01, reward_scale=1.0),
    _recurrent(_DARK_ROOM_HARD, layers=2, width=128),
    _KEY_TO_DOOR, _KEY_TO_DOOR_Q, _KEY_TO_DOOR_A2C,
    _experts(_KEY_TO_DOOR, 24, 12),
    _online(_KEY_TO_DOOR, epochs=10, updates_per_epoch=100, episodes=8,
            entropy=0.03, final_entropy=0.01, reward_scale=1.0),
    _recurrent(_KEY_TO_DOOR, layers=2, width=128),
    _BANDIT, _BANDIT_THOMPSON, _experts(_BANDIT, 200, 100),
    _online(_BANDIT, epochs=10, updates_per_epoch=60, trials=256, episodes=100,
            reward_scale=1.0, entropy=0.03),
    _recurrent(_BANDIT, layers=1, width=128),
    _online(_recurrent(_BANDIT, width=256), epochs=10, updates_per_epoch=60,
            trials=256, episodes=100, reward_scale=1.0, entropy=0.03),
    _WATERMAZE, _WATERMAZE_DQN, _experts(_WATERMAZE, 24, 12),
    _online(_WATERMAZE, epochs=10, updates_per_epoch=50, trials=32, episodes=3,
            entropy=0.03, final_entropy=0.01, reward_scale=1.0),
    _recurrent(_WATERMAZE, layers=1, width=128),
    _GYMNAX, _CARTPOLE,
    _PAPER, _PAPER_HARD, _PAPER_KEY_TO_DOOR, _PAPER_WATERMAZE]

PRESETS = {preset.name: preset for preset in _ALL}


def get(name: str, size: str = 'cpu') -> Experiment:
  """A preset by name and size.

  Raises:
    ValueError: if there is none of that name or size.
  """
  if name not in PRESETS:
    raise ValueError(
        f'--experiment={name}: must be one of ' + ', '.join(PRESETS))
  # The paper's sizes are the paper's.
  grow = size == 'gpu' and not name.startswith('paper')
  return _grown(PRESETS[name]) if grow else PRESETS[name]


def _grown(preset: Experiment) -> Experiment:
  """The gpu size of a preset; sizes by what fills such a chip, not tuned."""
  if isinstance(preset.model, transformer.Config):
    model = _replace(preset.model, width=256, heads=4, feed_forward=1024)
  else:
    model = _replace(preset.model, width=512)
  if isinstance(preset.tasks, watermaze.Config):  # Frames fill it.
    return _replace(
        preset, tasks=_replace(preset.tasks, height=72, width=96),
        model=_replace(model, channels=(16, 32, 32, 32)))
  return _replace(
      preset, model=model, seeds=5,
      distill=preset.distill and _replace(
          preset.distill, batch_size=64, learning_rate=1e-3,
          updates_per_epoch=2 * preset.distill.updates_per_epoch),
      rl2=preset.rl2 and _replace(
          preset.rl2, trials=512, learning_rate=5e-4,
          updates_per_epoch=2 * preset.rl2.updates_per_epoch))
