"""The paper's own set-up, as near as this frame comes."""

from dataclasses import replace

from adjax.envs import dark_room
from adjax.envs import watermaze
from adjax.experiment.specification import Data
from adjax.experiment.specification import Evaluate
from adjax.experiment.specification import Experiment
from adjax.learners import actor_critic
from adjax.learners import dqn
from adjax.methods import distill
from adjax.models import transformer

# As near to the paper's own set-up as this frame comes: its source algorithms
# with their values, 100 actors each of which leaves a history, its model's
# sizes and regularisers, its optimiser. Deviations: a token a step, not three;
# rotary positions, not absolute; pre-norm, not post-norm; actors that wait for
# each other (A2C for A3C); convolutions of stride 2 for its encoder and its
# residual net; a warm-up from 0. It does not say how many updates, how long a
# context (200 steps in Key-to-Door by its figures) or which tasks: 50,000, 200
# and our split here.
PAPER = Experiment(
    name='paper', tasks=dark_room.DARK_ROOM, source=actor_critic.A2C_PAPER,
    data=Data(histories=1, episodes=400),
    model=transformer.Config(
        layers=4, width=64, heads=4, window=200, feed_forward=2048, dropout=0.1,
        attention_dropout=0.5, input_masking=0.3),
    method=distill.Config(
        epochs=50, updates_per_epoch=1000, batch_size=128, length=300,
        optimizer='adamw', learning_rate=3e-4, warmup=1000, weight_decay=0.0,
        b2=0.99),
    evaluate=Evaluate(episodes=1000, runs=1, held_out_runs=20,
                      reference_runs=2),
    seeds=5)

HARD = replace(
    PAPER, name='paper_hard', tasks=dark_room.DARK_ROOM_HARD,
    data=Data(histories=1, episodes=500),
    model=replace(PAPER.model, attention_dropout=0.0, input_masking=0.5),
    method=replace(PAPER.method, label_smoothing=0.2))

# The paper's single-stream set: 2048 tasks, one actor, every tenth of 2000
# episodes. Its source is told its rewards, as a memoryless one cannot tell the
# way to the key from that to the door; what the paper's was, it does not say.
KEY_TO_DOOR = replace(
    PAPER, name='paper_key_to_door',
    tasks=replace(dark_room.KEY_TO_DOOR, num_train=2048),
    source=replace(actor_critic.A2C_PAPER, actors=1, count_rewards=2),
    data=Data(histories=1, episodes=200, episode_stride=10))

# Frames of the paper's size fill a device: an eighth of its batch, half its
# channels and one seed. Its encoder's batch norms, pools and dropout are not
# ours.
WATERMAZE = replace(
    PAPER, name='paper_watermaze', seeds=1,
    tasks=replace(watermaze.Config(), num_train=250), source=dqn.DQN_PAPER,
    data=Data(histories=1, episodes=130),
    model=replace(PAPER.model, window=250, channels=(32, 64, 64)),
    method=replace(PAPER.method, batch_size=16, length=375),
    evaluate=replace(PAPER.evaluate, episodes=160))

PRESETS = [
    PAPER, HARD, KEY_TO_DOOR, WATERMAZE,
]
