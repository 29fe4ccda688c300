"""Figure 2: bandits like those trained on, the other way round, and uniform."""

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure
from experiments.reproduce import paper

_SETS = {'odd': 'held_out', 'even': 'even', 'uniform': 'uniform'}
_CELLS = {'AD': cells.cell('bandit'), 'ED': cells.cell('bandit_ed'),
          'RL2': cells.cell('bandit_rl2')}
_LABELS = {'AD': 'AD', 'ED': 'ED', 'RL2': 'RL²'}


def _pick(method: str, name: str, relative: bool = True) -> measure.Pick:
  return measure.Pick(
      _CELLS[method], tasks=_SETS[name], relative=relative)


def _earned(name: str) -> figure.Curves:
  return figure.Curves(f'Good arms: {name}', (
      *(figure.Curve(_LABELS[method], method.lower(), _pick(method, name))
        for method in _CELLS),
      figure.Curve('UCB1', 'source', measure.Pick(
          _CELLS['AD'], 'source', _SETS[name], True))), 'pull')


def _claim(method: str, name: str, words: str, above: float,
           below: float = float('inf')) -> figure.Claim:
  theirs = paper.bars(f'bandit/{method}')[list(_SETS).index(name)]
  return figure.Claim(
      words, f'{theirs:.2f}', 'all pulls, random 0 and UCB1 1',
      lambda results: measure.level(results, _pick(method, name),
                                    measure.every), above, below)


FIGURE = figure.Figure(
    'bandit', 'Bandits: like those trained on, and others',
    'AD earns what UCB does on bandits whose odd arms are good, as in '
    'training, and generalises to even and uniform ones; RL² does not to even '
    'ones.',
    'Random at 0 and UCB1, the source, at 1. Odd: the odd arms are good in '
    '95 % of the tasks, as in training; even: the other way round. The '
    'law of the arms in the paper is not known, nor its tasks. RL² has had 15 '
    'million pulls. Steps at every tenth pull: most rows keep sums over ten.',
    (figure.Places(
        'All pulls together', tuple(_SETS), tuple(
            points for method in _CELLS for points in (
                figure.Points(_LABELS[method], method.lower(), tuple(
                    _pick(method, name) for name in _SETS)),
                figure.Points(f'{_LABELS[method]} of the paper',
                              f'their_{method.lower()}',
                              tuple(paper.bars(f'bandit/{method}'))))),
        measure.every, 'good arms'),
     *(_earned(name) for name in _SETS)), 2,
    (_claim('AD', 'odd', 'odd: AD earns at least .9 of what UCB1 does', .9),
     _claim('AD', 'even', 'even: AD earns at least .8 of what UCB1 does', .8),
     _claim('AD', 'uniform', 'uniform: AD earns at least .8 of what UCB1 does',
            .8),
     _claim('ED', 'even', 'even: ED earns less than half of what UCB1 does',
            -float('inf'), .5),
     _claim('RL2', 'even', 'even: RL² earns less than half of what UCB1 does',
            -float('inf'), .5),
     claims.better('even: AD earns more than RL²', '.83 against -.48',
                   _pick('AD', 'even'), _pick('RL2', 'even'),
                   when=measure.every),
     claims.better('odd: AD earns more than ED', '.99 against .48',
                   _pick('AD', 'odd'), _pick('ED', 'odd'),
                   when=measure.every)),
    'random 0, UCB1 1')
