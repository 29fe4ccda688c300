"""Runs that must not go on as they are told to, and files of others' making."""

import functools
import json
import pathlib
import shutil
import signal

from experiments import faults_runs
from experiments.faults_runs import Bench
from experiments.faults_runs import EPOCHS
from experiments.faults_table import Jobs
from experiments.faults_table import Trial


def other_config(bench: Bench, quick: bool) -> Jobs:
  changes = {'distill.learning_rate': 0.1, 'model.width': 32, 'seed': 7,
             'seeds': 3, 'tasks.num_validation': 8, 'data.episodes': 5}
  for name in list(changes)[:1 if quick else None]:
    yield functools.partial(
        _refused, bench, 'another config on resume', (f'{name}: ',),
        settings={name: changes[name]})


def _refused(bench, case, named, *args, change=lambda workdir: None, **kwargs):
  """A run that must exit with 1, name these, and change nothing."""
  workdir = bench.unfinished(back=1)
  change(workdir)
  before = faults_runs.contents(workdir)
  process = bench.run(workdir, *args, **kwargs)
  return [Trial(case, detected=all(name in process.error for name in named),
                kept={'exits 1': process.code == 1, 'nothing is changed':
                      faults_runs.contents(workdir) == before})]


# Versions.


def other_versions(bench: Bench, quick: bool) -> Jobs:
  for names in [('jax', 'adjax')] if quick else [
      ('jax',), ('adjax',), ('jaxlib', 'numpy')]:
    change = functools.partial(_age, names)
    yield functools.partial(
        _refused, bench, 'other versions on resume',
        ('--allow_version_change', *(f"{name}: '0.0.1'" for name in names)),
        change=change)
    yield functools.partial(_allowed, bench, names)


def _age(names, workdir):
  path = workdir / 'config.json'
  config = json.loads(path.read_text())
  config['versions'] |= dict.fromkeys(names, '0.0.1')
  path.write_text(json.dumps(config))


def _allowed(bench, names):
  workdir = bench.unfinished(back=1)
  _age(names, workdir)
  process = bench.run(workdir, '--allow_version_change')
  changes = json.loads(
      (workdir / 'config.json').read_text()).get('version_changes', [])
  return [Trial(
      'other versions, allowed', survived=process.code == 0,
      same=bench.same(process, workdir), seconds=process.at_work(),
      detected=any('0.0.1' in line and all(name in line for name in names)
                   for _, line in process.lines),
      kept={'recorded': [change['from'] for change in changes]
                        == [dict.fromkeys(names, '0.0.1')]})]


# The workdir.


def lines_ahead(bench: Bench, quick: bool) -> Jobs:
  for number in range(1 if quick else 4):
    yield functools.partial(_lines_ahead, bench, number)


def _lines_ahead(bench, number):
  workdir = bench.unfinished(back=1)
  path = workdir / 'metrics.jsonl'
  last = json.loads(path.read_text().splitlines()[-1])
  with open(path, 'a', encoding='utf-8') as file:
    for epoch in range(EPOCHS + 1, EPOCHS + 1 + number):
      file.write(json.dumps(last | {'epoch': epoch}) + '\n')
    file.write('{"epoch": ')  # As if killed in the middle of it.
  process = bench.run(workdir)
  return [Trial('lines ahead of the checkpoint', survived=process.code == 0,
                same=bench.same(process, workdir), seconds=process.at_work(),
                lost=EPOCHS - process.taken_up)]


def two_runs(bench: Bench, quick: bool) -> Jobs:
  for stage in ('train',) if quick else ('generate', 'train', 'evaluate'):
    yield functools.partial(_two_runs, bench, stage)


def _two_runs(bench, stage):
  workdir = bench.fresh()
  first = bench.start(workdir)
  first.wait(f'@begin {stage}')
  second = bench.start(workdir)
  # The first is held, so that the second has time to do it harm.
  first.send(signal.SIGSTOP)
  code = second.end()
  first.send(signal.SIGCONT)
  first.end()
  return [Trial(
      'two runs on one workdir', survived=first.code == 0,
      same=bench.same(first, workdir), detected='in use' in second.error,
      kept={'the second exits 1': code == 1})]


# Names that lead out of a folder.


def names(bench: Bench, quick: bool) -> Jobs:
  given = ('--experiment=../../x', '--set=name=../../x', '--experiment=/tmp/x',
           '--set=name=/tmp/x', '--set=name=..', '--set=../../x=1')
  for flag in given[:2 if quick else None]:
    yield functools.partial(_name, bench, flag)


def _name(bench, flag):
  top = bench.fresh()
  inner = top / 'a' / 'b' / 'c'
  inner.mkdir(parents=True)
  before = faults_runs.contents(top)
  process = bench.process(
      'experiments.run', *bench.flags({'distill.epochs': 1}), flag, cwd=inner)
  process.end()
  name = flag.removeprefix('--set=').removesuffix('=1').rpartition('=')[2]
  return [Trial('names such as ../../x', detected=name in process.error, kept={
      f'{flag} exits 1': process.code == 1,
      f'{flag} makes nothing': faults_runs.contents(top) == before})]


# Crafted files.

_DEEP = '[' * 100_000 + ']' * 100_000


def _link(name, workdir, canary):
  """A file or folder of the workdir is a link to one outside of it."""
  path, outside = workdir / name, canary / pathlib.Path(name).name
  if path.exists():
    shutil.move(path, outside)
  else:
    outside.write_text('{}')
  path.symlink_to(outside)


def _write(name, data, workdir, canary):
  del canary
  (workdir / name).write_bytes(data)


def _seal(change, workdir, canary):
  path = faults_runs.steps(workdir)[-1] / 'seal'
  seal = json.loads(path.read_text())
  change(seal, canary)
  path.write_text(json.dumps(seal))


def _escape(seal, canary):
  """A file of the seal lies outside."""
  name = next(iter(seal['files']))
  seal['files'][f'../../../../{canary.name}/precious'] = seal['files'][name]


# {what the answer names: how the workdir is changed}.
_CRAFTED = {
    'checkpoints': functools.partial(_link, 'checkpoints'),
    'config.json': functools.partial(_write, 'config.json', _DEEP.encode()),
    f'checkpoint {EPOCHS - 1}': functools.partial(_seal, _escape),
    'metrics.jsonl': functools.partial(
        _write, 'metrics.jsonl', bytes(range(256)) + b'\n'),
    'result.json': functools.partial(
        _write, 'result.json', b'{"heldout": 1e999}'),
    f'{EPOCHS - 1}': functools.partial(_link, f'checkpoints/{EPOCHS - 1}'),
    'config.json ': functools.partial(_link, 'config.json'),
    'metrics.jsonl ': functools.partial(_link, 'metrics.jsonl'),
    'config.json.new': functools.partial(_link, 'config.json.new'),
    'metrics.jsonl.new': functools.partial(_link, 'metrics.jsonl.new'),
    'lock': functools.partial(_link, 'lock'),
    'curve.png': functools.partial(_link, 'curve.png'),
    'config.json  ': functools.partial(
        _write, 'config.json', b'{"config": {"__reduce__": "os.system"}}'),
    'result.json ': functools.partial(
        _write, 'result.json', b'\x80\x04\x95\x00'),
    'metrics.jsonl  ': functools.partial(
        _write, 'metrics.jsonl', b'{"epoch": ' + b'9' * 10_000 + b'}\n'),
}


def crafted(bench: Bench, quick: bool) -> Jobs:
  for named in list(_CRAFTED)[:3 if quick else None]:
    yield functools.partial(_crafted, bench, named)


def _crafted(bench, named):
  workdir = bench.unfinished(back=1)
  canary = bench.fresh()
  (canary / 'precious').write_text('as it was')
  _CRAFTED[named](workdir, canary)
  before = faults_runs.contents(canary)
  process = bench.run(workdir)
  passed_over = process.code == 0 and 'passed over' in process.said
  return [Trial(
      'crafted files in a workdir', detected=named.strip() in process.said,
      same=bench.same(process, workdir) if passed_over else None,
      kept={'refused or passed over': process.code == 1 or passed_over,
            'one line of error': len(process.error.strip().splitlines()) <= 1,
            'nothing outside is touched':
                faults_runs.contents(canary) == before})]
