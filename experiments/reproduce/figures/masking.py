"""Figure 10: inputs that are masked in training, in Key-to-Door."""

from experiments.reproduce import figure
from experiments.reproduce.figures import varied

# {share of the inputs that are masked: the same in the paper}.
_MASKED = {0: '', 0.1: '0.1', 0.3: '0.3', 0.5: '0.5', 0.7: '0.7', 0.9: '0.9'}
_RUNS = {share: varied.Varied(
    str(share), f'masked {share}',
    varied.half(f'model.input_masking={share}'),
    theirs and f'masking/{theirs}') for share, theirs in _MASKED.items()}

FIGURE = figure.Figure(
    'masking', 'Inputs masked in training: Dark Key-to-Door',
    'Masking .3 of the inputs is best, .1 and .5 are nearly as good, .7 is '
    'worse and with .9 nothing is learnt in context.',
    'From posterior sampling. Right: late returns; an open point is that of '
    'the paper, in episode 300. ' + varied.HALF, varied.panels(
        tuple(_RUNS.values()), 'share of inputs masked'), 2,
    (varied.improves(
        _RUNS[0.3], 'with .3 of the inputs masked it improves by more than .3',
        0.3),
     varied.better(_RUNS[0.3], _RUNS[0.9], '.3 is better than .9'),
     varied.better(_RUNS[0.3], _RUNS[0.7], '.3 is better than .7'),
     varied.better(_RUNS[0.3], _RUNS[0], '.3 is better than none')))
