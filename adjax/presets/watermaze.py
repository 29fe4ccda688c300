"""The water maze, from pixels."""

from dataclasses import replace

from adjax.envs import watermaze
from adjax.experiment.specification import Data
from adjax.experiment.specification import Evaluate
from adjax.experiment.specification import Experiment
from adjax.learners import coverage_search
from adjax.learners import dqn
from adjax.methods import distill
from adjax.models import transformer
from adjax.presets import variants

# Episodes begin looking east here: with headings
# drawn at random two cores need more patience than minutes.
WATERMAZE = Experiment(
    name='watermaze',
    tasks=watermaze.Config(height=18, width=24, random_heading=False),
    source=coverage_search.Config(),
    data=Data(histories=8, episodes=8),
    model=transformer.Config(window=150),
    method=distill.Config(
        epochs=4, updates_per_epoch=200, length=225, learning_rate=2e-3,
        weight_decay=0.02),
    evaluate=Evaluate(episodes=40, runs=1, train_tasks=32, held_out_runs=8,
                      reference_runs=8))

WATERMAZE_DQN = replace(
    WATERMAZE, name='watermaze_dqn', source=dqn.DQN,
    tasks=replace(WATERMAZE.tasks, num_train=64),
    data=Data(histories=1, episodes=20, episode_stride=5))

# Platforms of a sector of the pool that no training platform reaches into.
WATERMAZE_SECTOR = replace(
    WATERMAZE, name='watermaze_sector',
    tasks=replace(WATERMAZE.tasks, split='sector'))

PRESETS = [
    WATERMAZE, WATERMAZE_SECTOR, WATERMAZE_DQN,
    variants.experts(WATERMAZE, 24, 12),
    variants.online(
        WATERMAZE, epochs=10, updates_per_epoch=20, trials=32, episodes=3,
        entropy=0.03, final_entropy=0.01, reward_scale=1.0),
]
