"""Environments of gymnax's own."""

from dataclasses import replace

from adjax.envs import adapters
from adjax.experiment.specification import Data
from adjax.experiment.specification import Evaluate
from adjax.experiment.specification import Experiment
from adjax.learners import actor_critic
from adjax.methods import distill
from adjax.models import transformer

# A point whose goal is drawn for a history; by --set tasks.env_id=NAME, any
# environment that draws a task in reset or has three actions to permute.
GYMNAX = Experiment(
    name='gymnax', tasks=adapters.Config('PointRobot-misc', episode_length=100),
    source=actor_critic.PPO, data=Data(histories=1, episodes=20),
    model=transformer.Config(window=400), method=distill.Config(length=600),
    evaluate=Evaluate(episodes=20, runs=1, held_out_runs=8, reference_runs=2))

# A pole, a force and an order of the actions that are not known.
CARTPOLE = Experiment(
    name='cartpole',
    tasks=adapters.Config(
        'CartPole-v1', permute=True, episode_length=200,
        ranges=(('length', 0.25, 1.0), ('force_mag', 5.0, 15.0))),
    source=replace(
        actor_critic.PPO, actors=16, discount=0.98, lambda_=0.9, entropy=0.0,
        learning_rate=1e-3, rollout=64, epochs=8, hidden=(64, 64),
        normalise_advantages=True),
    data=Data(histories=4, episodes=20, episode_stride=2),
    model=transformer.Config(window=600), method=distill.Config(length=900),
    evaluate=Evaluate(episodes=10, runs=1, held_out_runs=8, reference_runs=2))

# An order of the actions that is not known, in a maze whose goal is drawn anew
# in every episode. With a goal that stays for a history, a model remembered
# those of the training tasks (experiments/README.md).
METAMAZE = Experiment(
    name='metamaze',
    tasks=adapters.Config(
        'MetaMaze-misc', fields=(), permute=True, episode_length=100),
    source=replace(
        actor_critic.PPO, actors=64, discount=0.98, lambda_=0.95, entropy=0.01,
        learning_rate=3e-3, rollout=16, hidden=(64,),
        normalise_advantages=True),
    data=Data(histories=4, episodes=20), model=transformer.Config(window=600),
    method=distill.Config(length=900),
    evaluate=Evaluate(episodes=20, runs=4, held_out_runs=32, reference_runs=1))

PRESETS = [
    GYMNAX, CARTPOLE, METAMAZE,
]
