"""Figure 9: contexts that begin with what somebody else did."""

from experiments.reproduce import cells
from experiments.reproduce import figure
from experiments.reproduce import measure
from experiments.reproduce import prompt

# {share of the optimum that the policy before earns: its set of tasks}.
_SETS = {share: prompt.name_of(share) for share in prompt.SHARES}
CELLS = {'AD': cells.cell('dark_room_q'), 'ED': cells.cell('dark_room_ed')}
_FROM = {'AD': 'AD, from tabular Q', 'ED': 'ED, from the end of posterior '
         'sampling'}


def _pick(method: str, share: int) -> measure.Pick:
  return measure.Pick(CELLS[method], tasks=_SETS[share])


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
  pick, improves = _pick(method, share), method == 'AD'
  theirs = {'AD': {5: '.05 to .82', 25: '.25 to .96', 50: '.45 to .98'},
            'ED': {5: '.01 to .10', 25: '.22 to .40', 50: '.54 to .69'}}
  return figure.Claim(
      f'{method} {"improves" if improves else "does not improve"} after a '
      f'policy of {share} %', theirs[method][share],
      'late minus the first episode' + ('' if improves else ', less than .1'),
      lambda results: measure.difference(
          results, pick, pick, measure.late, measure.first),
      *((0.0,) if improves else (-float('inf'), 0.1)))


FIGURE = figure.Figure(
    'prompt', 'After another policy: Dark Room',
    'The better the policy whose history it is given, the faster AD improves '
    'on it; expert distillation stays near what it is given.',
    'Ten episodes of a policy that earns 5 to 95 % of the optimum (optimal, '
    'but for a share of random actions) are in the context of a model that '
    'then goes on alone. In the paper these policies are stages of the source.',
    (_ours('AD'), _ours('ED'), _theirs('AD'), _theirs('ED')), 2,
    (*(_improves(method, share) for method in CELLS for share in (5, 25, 50)),
     figure.Claim(
         'AD is faster after a better policy', 'at once and later: .75 to '
         '.99 against .25 to .96', 'difference after 75 and 25 %, ten episodes',
         lambda results: measure.difference(
             results, _pick('AD', 75), _pick('AD', 25), measure.at(1, 10)))))
