"""Dark Key-to-Door: a key that pays once, then a door that pays once."""

from dataclasses import replace

from adjax.envs import dark_room
from adjax.experiment.specification import Data
from adjax.experiment.specification import Evaluate
from adjax.learners import actor_critic
from adjax.learners import tabular_q
from adjax.methods import distill
from adjax.models import transformer
from adjax.presets import dark_room as base
from adjax.presets import variants

KEY_TO_DOOR = replace(
    base.QUICK, name='key_to_door', tasks=dark_room.KEY_TO_DOOR,
    data=Data(histories=2, episodes=12),
    model=transformer.Config(layers=4, window=400),
    method=distill.Config(epochs=3, updates_per_epoch=200, length=600),
    evaluate=Evaluate(episodes=30, runs=1, train_tasks=32, held_out_runs=20,
                      reference_runs=2))

KEY_TO_DOOR_Q = replace(
    KEY_TO_DOOR, name='key_to_door_q',
    source=tabular_q.Config(
        learning_rate=1.0, discount=0.9, optimism=0.05, epsilon=0.0,
        final_epsilon=0.0, count_rewards=2),
    data=Data(histories=8, episodes=15, episode_stride=8, starts='clipped'),
    method=replace(
        KEY_TO_DOOR.method, epochs=2, updates_per_epoch=600, weight_decay=0.5),
    evaluate=Evaluate(episodes=100, runs=1, train_tasks=32, held_out_runs=8,
                      reference_runs=8))

# Told how many rewards it has had: a memoryless one cannot tell the way to the
# key from that to the door.
KEY_TO_DOOR_A2C = replace(
    KEY_TO_DOOR_Q, name='key_to_door_a2c',
    source=replace(actor_critic.A2C, count_rewards=2),
    tasks=replace(dark_room.KEY_TO_DOOR, num_train=256),
    data=Data(histories=1, episodes=15, episode_stride=2, starts='clipped'))

PRESETS = [
    KEY_TO_DOOR, KEY_TO_DOOR_Q, KEY_TO_DOOR_A2C,
    variants.experts(KEY_TO_DOOR, 24, 12),
    variants.online(KEY_TO_DOOR, epochs=10, updates_per_epoch=20, episodes=8,
                    entropy=0.03, final_entropy=0.01, reward_scale=1.0),
    variants.recurrent(KEY_TO_DOOR, layers=2, width=128),
]
