"""Figure 5: how many tasks it takes to learn ones never trained on."""

import math

from experiments.reproduce import cells
from experiments.reproduce import figure
from experiments.reproduce.figures import varied

# As many histories for all, so that the number of tasks alone differs.
_HISTORIES = 2048
# {tasks: those of the paper that are near}.
_TASKS = {1: '1', 8: '9', 64: '75', 256: '303', 1024: '1212'}
_RUNS = {number: varied.Varied(
    str(number), f'{number} task{"s" * (number > 1)}', cells.cell(
        'key_to_door', f'tasks.num_train={number}',
        f'data.histories={_HISTORIES // number}'), f'tasks/{theirs}')
         for number, theirs in _TASKS.items()}
_NONE = 'no in-context learning of others'

FIGURE = figure.Figure(
    'tasks', 'How many training tasks it takes: Dark Key-to-Door',
    'With 1 to 18 tasks there is no in-context learning of others; it is best '
    'with 1212 to 2424, a fifth to a third of all there are.',
    'All have 2,048 histories of posterior sampling, so that one task has many '
    'of its own; each set is held out from its own training tasks. Right: late '
    'returns; an open point is a number of tasks of the paper near it, in '
    'episode 300.',
    varied.panels(tuple(_RUNS.values()), 'training tasks'), 2,
    (varied.improves(_RUNS[1], f'1 training task: {_NONE}', -math.inf, 0.1),
     varied.improves(_RUNS[8], f'8 training tasks: {_NONE}', -math.inf, 0.1),
     varied.improves(_RUNS[256], '256 training tasks: there is', 0.1),
     varied.improves(_RUNS[1024], '1024 training tasks: there is, and by more '
                     'than .3', 0.3),
     varied.better(_RUNS[1024], _RUNS[64],
                   '1024 training tasks are better than 64')))
