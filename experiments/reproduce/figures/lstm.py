"""Figure 8: the same with an LSTM."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure

_TRANSFORMER = measure.Pick(cells.cell('key_to_door'))
_LSTM = measure.Pick(cells.cell('key_to_door_lstm'))

FIGURE = figure.Figure(
    'lstm', 'A transformer or an LSTM: Dark Key-to-Door',
    'AD with an LSTM learns in context, too, and ends below the '
    'transformer (1.68 against 1.89 of 2 after 300 episodes).',
    'Distilled from the same histories of posterior sampling; sizes and '
    'training are those of the presets.',
    (figure.Curves('Key-to-Door', (
        figure.Curve('transformer', 'ad', _TRANSFORMER, 'lstm/Transformer'),
        figure.Curve('LSTM', 'lstm', _LSTM, 'lstm/LSTM'),
        figure.Curve('source', 'source', measure.Pick(
            _TRANSFORMER.cell, 'source')),
        figure.Curve('walk + memory', 'walk', measure.Pick(
            _TRANSFORMER.cell, 'random_walk_with_memory')))),
     figure.Curves('Key-to-Door: the paper', (
         figure.Known('transformer', 'their_ad', 'lstm/Transformer'),
         figure.Known('LSTM', 'their_lstm', 'lstm/LSTM')))), 2,
    (claims.improves('AD with an LSTM learns in context',
                     '.23 to .84 of the optimum', _LSTM),
     claims.better('the transformer ends above the LSTM', '.95 against .84',
                   _TRANSFORMER, _LSTM)))
