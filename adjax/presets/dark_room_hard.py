"""Dark Room (Hard): 17x17, one goal that pays once."""

from dataclasses import replace

from adjax.envs import dark_room
from adjax.experiment.specification import Data
from adjax.experiment.specification import Evaluate
from adjax.learners import actor_critic
from adjax.learners import rmax
from adjax.methods import distill
from adjax.models import transformer
from adjax.presets import dark_room as base
from adjax.presets import variants

HARD = replace(
    base.QUICK, name='dark_room_hard', tasks=dark_room.DARK_ROOM_HARD,
    data=Data(histories=256, episodes=35),
    model=transformer.Config(layers=4, window=400),
    method=distill.Config(epochs=4, updates_per_epoch=300, length=700),
    evaluate=Evaluate(episodes=100, runs=1, train_tasks=32, held_out_runs=20))

HARD_RMAX = replace(
    HARD, name='dark_room_hard_rmax',
    source=rmax.Config(optimism=0.2, count_rewards=1),
    data=Data(histories=8, episodes=40, episode_stride=4, starts='mixture'),
    method=replace(
        HARD.method, epochs=2, updates_per_epoch=500, weight_decay=0.5),
    evaluate=replace(HARD.evaluate, reference_runs=4))

HARD_A2C = replace(
    HARD_RMAX, name='dark_room_hard_a2c',
    source=replace(actor_critic.A2C, count_rewards=1),
    data=Data(histories=2, episodes=40, episode_stride=2, starts='mixture'))

PRESETS = [
    HARD, HARD_RMAX, HARD_A2C, variants.experts(HARD, 150, 35, 32),
    variants.online(HARD, epochs=10, updates_per_epoch=20, episodes=20,
                    entropy=0.03, final_entropy=0.01, reward_scale=1.0),
]
