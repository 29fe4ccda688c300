"""Figure 11: smoothed labels, in Hard."""

from experiments.reproduce import cells
from experiments.reproduce import figure
from experiments.reproduce.figures import varied

_RUNS = {share: varied.Varied(
    str(share), f'smoothed {share}', cells.cell(
        'dark_room_hard', varied.SEEDS, 'method.epochs=2',
        f'method.label_smoothing={share}'),
    f'smoothing/{share}') for share in (0.0, 0.1, 0.2, 0.3)}

FIGURE = figure.Figure(
    'smoothing', 'Labels smoothed in training: Dark Room (Hard)',
    'Label smoothing is decisive where exploration is hard: .25 without, .68 '
    'with .2 of it, after 1000 episodes.',
    'From posterior sampling, which explores what is new and not at random. '
    'Right: late returns; an open point is that of the paper, in episode 1000. '
    + varied.HALF, varied.panels(
        tuple(_RUNS.values()), 'label smoothing'), 2,
    (varied.better(_RUNS[0.2], _RUNS[0.0], 'smoothing of .2 helps'),
     varied.better(_RUNS[0.1], _RUNS[0.0], 'smoothing of .1 helps'),
     varied.better(_RUNS[0.2], _RUNS[0.3], '.2 is better than .3')))
