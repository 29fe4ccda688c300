"""The figures, in order: a file each."""

from experiments.reproduce import figure
from experiments.reproduce.figures import attention
from experiments.reproduce.figures import bandit
from experiments.reproduce.figures import context
from experiments.reproduce.figures import extrapolation
from experiments.reproduce.figures import greedy
from experiments.reproduce.figures import limit
from experiments.reproduce.figures import long
from experiments.reproduce.figures import lstm
from experiments.reproduce.figures import main
from experiments.reproduce.figures import masking
from experiments.reproduce.figures import prompt
from experiments.reproduce.figures import single_stream
from experiments.reproduce.figures import size
from experiments.reproduce.figures import smoothing
from experiments.reproduce.figures import source
from experiments.reproduce.figures import tasks

FIGURES: dict[str, figure.Figure] = {
    module.FIGURE.name: module.FIGURE for module in (
        main, bandit, single_stream, context, tasks, source, limit, lstm,
        prompt, masking, smoothing, size, attention, extrapolation, long,
        greedy)}
