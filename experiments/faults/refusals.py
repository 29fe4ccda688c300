"""Runs that must not go on as they are told to, and files of others' making."""

import functools
import json
import signal

from experiments.faults import harness as harness_lib
from experiments.faults.harness import EPOCHS
from experiments.faults.harness import Harness
from experiments.faults.table import Jobs
from experiments.faults.table import Trial


def other_config(harness: Harness, quick: bool) -> Jobs:
  """A run is resumed with another configuration."""
  changes = {'method.learning_rate': 0.1, 'model.width': 32, 'seed': 7,
             'seeds': 3, 'tasks.num_validation': 3, 'data.episodes': 7}
  for name in list(changes)[:1 if quick else None]:
    yield functools.partial(
        harness_lib.refuse, harness, 'another config on resume', (f'{name}: ',),
        lambda workdir: None, settings={name: changes[name]})


# Files that are no JSON, or not what a run writes.
_CRAFTED = [
    ('metrics.jsonl', bytes(range(256)) + b'\n'),
    ('config.json', b'[' * 100_000 + b']' * 100_000),
    ('config.json', b'{"config": {"__reduce__": "os.system"}}'),
    ('result.json', b'{"format": 1, "held_out": 1e999}'),
    ('result.json', b'\x80\x04\x95\x00'),
    ('metrics.jsonl', b'{"epoch": ' + b'9' * 10_000 + b'}\n')]


def crafted(harness: Harness, quick: bool) -> Jobs:
  """A workdir with a file of another's making."""
  for name, data in _CRAFTED[:1 if quick else None]:
    yield functools.partial(
        harness_lib.refuse, harness, 'crafted JSON in a workdir', (name,),
        lambda workdir, name=name, data=data: (
            workdir / name).write_bytes(data))


def other_versions(harness: Harness, quick: bool) -> Jobs:
  """A run is resumed with other versions, refused and allowed."""
  for name in ('jax',) if quick else ('jax', 'jaxlib', 'adjax'):
    said = f"{name}: '0.0.1'"
    change = functools.partial(_age, name)
    yield functools.partial(
        harness_lib.refuse, harness, 'other versions on resume',
        ('--allow_version_change', said), change)
    yield functools.partial(
        harness_lib.resume, harness, 'other versions, allowed', said, change,
        args=['--allow_version_change'],
        kept=lambda workdir, name=name: {'recorded': [
            change['from'] for change in json.loads(
                (workdir / 'config.json').read_text())['version_changes']
        ] == [{name: '0.0.1'}]})


def _age(name, workdir):
  path = workdir / 'config.json'
  config = json.loads(path.read_text())
  config['versions'][name] = '0.0.1'
  path.write_text(json.dumps(config))


def lines_ahead(harness: Harness, quick: bool) -> Jobs:
  """metrics.jsonl has more than the checkpoints, its last line cut short."""
  for number in (1,) if quick else range(4):
    yield functools.partial(
        harness_lib.resume, harness, 'lines ahead of the checkpoint', '',
        functools.partial(_add_lines, number))


def _add_lines(number, workdir):
  path = workdir / 'metrics.jsonl'
  last = json.loads(path.read_text().splitlines()[-1])
  with open(path, 'a', encoding='utf-8') as file:
    for epoch in range(EPOCHS + 1, EPOCHS + 1 + number):
      file.write(json.dumps(last | {'epoch': epoch}) + '\n')
    file.write('{"epoch": ')  # As if killed in the middle of it.


def two_runs(harness: Harness, quick: bool) -> Jobs:
  """A second run on the workdir of one that is under way."""
  for stage in ('train',) if quick else ('generate', 'train', 'evaluate'):
    yield functools.partial(_two_runs, harness, stage)


def _two_runs(harness, stage):
  workdir = harness.unfinished(back=2)
  first = harness.start(workdir)
  first.wait(f'@begin {stage}')
  # The first is held, so that the second has time to do it harm.
  first.send(signal.SIGSTOP)
  second = harness.run(workdir)
  first.send(signal.SIGCONT)
  first.end()
  return [Trial(
      'two runs on one workdir', survived=first.code == 0,
      same=harness.same(first, workdir), detected='in use' in second.error,
      kept={'the second exits 1': second.code == 1})]


def names(harness: Harness, quick: bool) -> Jobs:
  """Experiments and fields that lead out of a folder."""
  given = ('--set=name=../../x', '--experiment=../../x', '--experiment=/tmp/x',
           '--set=name=/tmp/x', '--set=name=..', '--set=../../x=1')
  for flag in given[:1 if quick else None]:
    yield functools.partial(_name, harness, flag)


def _name(harness, flag):
  top = harness.new_folder()
  inner = top / 'a' / 'b' / 'c'
  inner.mkdir(parents=True)
  before = harness_lib.contents(top)
  process = harness.process('experiments.run', flag, cwd=inner)
  process.end()
  name = flag.removeprefix('--set=').removesuffix('=1').rpartition('=')[2]
  return [Trial('names such as ../../x', detected=name in process.error, kept={
      f'{flag} exits 1': process.code == 1,
      f'{flag} makes nothing': harness_lib.contents(top) == before})]
