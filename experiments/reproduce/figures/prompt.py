"""Figure 9: contexts that begin with what somebody else did."""

import math

from experiments.reproduce import cells
from experiments.reproduce import claims
from experiments.reproduce import figure
from experiments.reproduce import measure
from experiments.reproduce import prompt

# {share of the optimum that the policy before earns: its set of tasks}.
_SETS = {share: prompt.name_of(share) for share in prompt.SHARES}
_CELLS = {'AD': cells.cell('dark_room_q'), 'ED': cells.cell('dark_room_ed')}
_FROM = {'AD': 'AD, from tabular Q', 'ED': 'ED, from the end of posterior '
         'sampling'}


def _pick(method: str, share: int) -> measure.Pick:
  return measure.Pick(_CELLS[method], tasks=_SETS[share])


def _ours(method: str) -> figure.Curves:
  return figure.Curves(_FROM[method], tuple(
      figure.Curve(f'after {share} %', f'step{i}', _pick(method, share),
                   f'prompt/{method}/{share}%')
      for i, share in enumerate(_SETS)), 'episode after that')


def _theirs(method: str) -> figure.Curves:
  return figure.Curves(f'{method} of the paper', tuple(
      figure.Known(f'after {share} %', f'their_step{i}',
                   f'prompt/{method}/{share}%')
      for i, share in enumerate(_SETS)), 'episode after that')


def _improves(method: str, share: int) -> figure.Claim:
  theirs = {'AD': {5: '.05 to .82', 25: '.25 to .96', 50: '.45 to .98'},
            'ED': {5: '.01 to .10', 25: '.22 to .40', 50: '.54 to .69'}}
  claim = f'{method} improves {{}}after a policy of {share} %'
  pick, said = _pick(method, share), theirs[method][share]
  if method == 'AD':
    return claims.improves(claim.format(''), said, pick)
  return claims.improves(claim.format('by less than .2 '), said, pick,
                         -math.inf, .2)


FIGURE = figure.Figure(
    'prompt', 'After another policy: Dark Room',
    'The better the policy whose history it is given, the faster AD improves '
    'on it; expert distillation improves a little and stays there.',
    'Ten episodes of a policy that earns 5 to 95 % of the optimum (optimal, '
    'but for a share of random actions) are in the context of a model that '
    'then goes on alone. In the paper these policies are stages of the source.',
    (_ours('AD'), _ours('ED'), _theirs('AD'), _theirs('ED')), 2,
    (*(_improves(method, share) for method in _CELLS for share in (5, 25, 50)),
     claims.better(
         'AD is faster after a policy of 75 than of 25 %', 'at once and later: '
         '.75 to .99 against .25 to .96', _pick('AD', 75), _pick('AD', 25),
         claims.SEEDS_EARLY, measure.at(1, 10))))
