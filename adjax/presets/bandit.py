"""The adversarial bandit: 100 trials, each an episode of one step."""

from dataclasses import replace

from adjax.envs import bandit
from adjax.experiment.specification import Data
from adjax.experiment.specification import Evaluate
from adjax.experiment.specification import Experiment
from adjax.learners import thompson
from adjax.learners import ucb
from adjax.methods import distill
from adjax.models import transformer
from adjax.presets import variants

BANDIT = Experiment(
    name='bandit', tasks=bandit.Config(), source=ucb.Config(),
    data=Data(histories=16, episodes=100),
    model=transformer.Config(window=100, dropout=0.0),
    method=distill.Config(
        epochs=3, updates_per_epoch=300, batch_size=64, length=100,
        weight_decay=0.1),
    evaluate=Evaluate(episodes=100, runs=1, train_tasks=64, held_out_runs=16,
                      reference_runs=16))

BANDIT_THOMPSON = replace(
    BANDIT, name='bandit_thompson', source=thompson.Config())

PRESETS = [
    BANDIT, BANDIT_THOMPSON, variants.experts(BANDIT, 1000, 100),
    variants.online(
        BANDIT, epochs=10, updates_per_epoch=60, trials=256, episodes=100,
        reward_scale=1.0, entropy=0.03),
]
