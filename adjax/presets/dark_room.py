"""Dark Room: 9x9, one goal that pays on every step spent on it."""

from dataclasses import replace

from adjax.envs import dark_room
from adjax.experiment.specification import Data
from adjax.experiment.specification import Evaluate
from adjax.experiment.specification import Experiment
from adjax.learners import actor_critic
from adjax.learners import annealed_oracle
from adjax.learners import posterior
from adjax.learners import rmax
from adjax.learners import tabular_q
from adjax.methods import distill
from adjax.models import transformer
from adjax.presets import variants

QUICK = Experiment(
    name='quick', tasks=dark_room.DARK_ROOM, source=posterior.Config(),
    data=Data(histories=256, episodes=15),
    method=distill.Config(
        epochs=4, updates_per_epoch=75, learning_rate=6e-3, warmup=20))

DARK_ROOM = replace(
    QUICK, name='dark_room', seeds=3, data=Data(histories=512, episodes=15),
    method=distill.Config(epochs=3, updates_per_epoch=200))

DARK_ROOM_Q = replace(
    DARK_ROOM, name='dark_room_q', seeds=1,
    source=tabular_q.Config(
        learning_rate=1.0, discount=0.9, optimism=1.0, epsilon=0.1,
        final_epsilon=0.0, epsilon_episodes=120),
    data=Data(histories=512, episodes=20, episode_stride=12, starts='clipped'),
    model=transformer.Config(dropout=0.1, input_masking=0.05),
    method=distill.Config(
        epochs=3, updates_per_epoch=1500, learning_rate=3e-3))

DARK_ROOM_RMAX = replace(
    DARK_ROOM_Q, name='dark_room_rmax',
    source=rmax.Config(optimism=5.0, sweeps=8),
    data=Data(histories=128, episodes=20, episode_stride=2, starts='clipped'),
    model=transformer.Config(window=260),
    method=distill.Config(
        epochs=2, updates_per_epoch=700, length=400, learning_rate=3e-3),
    evaluate=Evaluate(episodes=100))

DARK_ROOM_NOISE = replace(
    QUICK, name='dark_room_noise',
    source=annealed_oracle.Config(anneal_episodes=15),
    data=Data(histories=512, episodes=20, starts='clipped'))

DARK_ROOM_A2C = replace(
    DARK_ROOM_Q, name='dark_room_a2c',
    source=replace(actor_critic.A2C, actors=8),
    data=Data(histories=16, episodes=20, episode_stride=2, starts='clipped'),
    method=replace(DARK_ROOM_Q.method, updates_per_epoch=1000),
    evaluate=Evaluate(episodes=100))

PRESETS = [
    QUICK, DARK_ROOM, DARK_ROOM_Q, DARK_ROOM_RMAX, DARK_ROOM_NOISE,
    DARK_ROOM_A2C, variants.experts(DARK_ROOM, 30, 15),
    variants.online(DARK_ROOM, epochs=10, updates_per_epoch=60, entropy=0.03,
                    final_entropy=0.01),
    variants.recurrent(DARK_ROOM, layers=2, width=128),
]
