"""The command line: what it lists, how fast it helps, what it refuses."""

import os
import pathlib
import socket
import subprocess
import sys
import time

import jax
import pytest

from adjax import devices
from adjax.cli import launcher
from adjax.cli import own
from adjax.cli import processes
from adjax.experiment import specification

ROOT = pathlib.Path(__file__).parents[1]


def run(*command, folder=ROOT):
  return subprocess.run(
      [sys.executable, '-m', *command], cwd=folder, capture_output=True,
      text=True, stdin=subprocess.DEVNULL,
      env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)})


@pytest.mark.parametrize('command', ['experiments.run', 'adjax.cli.run'])
def test_help_does_not_pay_for_jax(command):
  start = time.process_time()
  found = run(command, '--help')
  assert time.process_time() - start < 1
  for flag in ('--experiment', '--set', '--workdir', '--mesh', '--[no]list'):
    assert flag in found.stdout
  code = (f'import sys; import {command}; '
          'sys.exit("jax" in sys.modules or "gymnax" in sys.modules)')
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def test_the_console_script_says_what_there_is(tmp_path):
  found = run('adjax.cli', folder=tmp_path)
  assert found.returncode == 0 and 'adjax run --list' in found.stdout
  found = run('adjax.cli', 'fly', folder=tmp_path)
  assert found.returncode == 1
  assert found.stderr == ('error: adjax fly: must be one of run, source, play, '
                          'report, export\n')
  listed = run('adjax.cli', 'run', '--list', folder=tmp_path).stdout
  lines = listed.splitlines()
  assert lines[0].split() == [
      'quick', 'dark_room', 'tasks,', 'posterior', 'source,', 'distill,',
      'transformer,', '1', 'seed']
  assert 30 < len(lines) < 60


OWN_TASKS = '''
import dataclasses
import adjax
from adjax.envs import dark_room

@dataclasses.dataclass(frozen=True)
class Tasks:
  size: int = 9
  def make(self):
    1 // (self.size - 5)
    return dark_room.tasks(dark_room.Config(size=self.size))

@dataclasses.dataclass(frozen=True)
class Overlap:
  def make(self):
    made = dark_room.tasks(dark_room.Config())
    return dataclasses.replace(made, held_out=made.train)
'''
# In one process, as none gets as far as to a run: {arguments: message}; FOLDER
# has own.py.
REFUSED = [
    (['--experiment=dark'],
     '--experiment=dark: must be one of quick, dark_room'),
    (['--experiment=nowhere.py'], '--experiment=nowhere.py: cannot be import'),
    (['--experiment=adjax.envs.dark_room:DARK_ROOM'],
     '--experiment=adjax.envs.dark_room:DARK_ROOM: must be an adjax.Experim'),
    (['--set=model.widht=3'], '--set model.widht: no such field; allowed her'),
    (['--set=model.width=wide'], '--set model.width=wide: must be an integer'),
    (['--set=model.width=30', '--set=model.heads=4'],
     '--set model.width=30: must be a multiple of twice heads=4'),
    (['--set=distill.length=5'],
     '--set distill.length: is now method.length'),
    (['--set=data.episodes=2'],
     '--set method.length=300: must be at most 40, the steps'),
    (['--set=model.channels=0'],
     '--set model.channels=(0,): must be a tuple of widths of at least 1'),
    (['--seeds=0'], 'seeds=0: must be at least 1'),
    (['--mesh=data:x'], '--mesh=data:x: must look like data:8'),
    (['--workdir=/proc/nowhere'],
     '--workdir=/proc/nowhere: must be a folder that can be written'),
    (['--workdir='], "--workdir='': must be the path of a folder"),
    (['--workdir=gs://a/b'], "--workdir='gs://a/b': must be a folder of a fi"),
    (['--set=data.store=s3://a/b'],
     "--set data.store='s3://a/b': must be a folder of a file system"),
    (['--set=tasks=adapters'],
     '--set tasks=adapters: must be given with --set tasks.env_id=NAME'),
    (['--set=tasks=adapters', '--set=tasks.env_id=Cart'],
     "--set tasks.env_id='Cart': must be one of CartPole-v1"),
    (['--experiment=examples/own_environment'],
     '--experiment=examples/own_environment: must be a preset, as --list shows '
     'them, path/to/file.py[:NAME] or module:NAME; did you mean '
     'examples/own_environment.py'),
    (['--log=tensorbord'],
     '--log=tensorbord: must be of tensorboard, wandb, with commas between'),
    (['--log=tensorboard,nowhere'], '--log=tensorboard,nowhere: must be of'),
    (['--set=model.window=301'],
     '--set method.length=300: must be at least model.window=301'),
    (['--set=tasks=FOLDER/own.py:Tasks', '--set=tasks.size=5'],
     'FOLDER/own.py:10: ZeroDivisionError: integer division or modulo by zero'),
    (['--set=tasks=FOLDER/own.py:Tasks', '--set=tasks.size=4'],
     'FOLDER/own.py:11: --set tasks.size=4: must be an odd number from 3 to'),
    (['--set=tasks=FOLDER/own.py:Overlap'],
     'held_out: must have no task of train; 65 of its 65 tasks are in both'),
    (['source', '--set=tasks=FOLDER/own.py:Overlap'],
     'held_out: must have no task of train; 65 of its 65 tasks are in both'),
    (['source', '--set=tasks=FOLDER/own.py:Tasks', '--set=tasks.size=4'],
     'FOLDER/own.py:11: --set tasks.size=4: must be an odd number from 3 to'),
    (['--set=method=rl2', '--set=data=none', '--trials=3'],
     '--trials: is no flag, but a field; set it with --set method.trials=3'),
    (['--seed=3'], '--seed: is no flag, but a field; set it with --set seed=3'),
    (['quick'], "unexpected argument 'quick'"),
]
PROGRAM = '''
import os, sys
from absl import flags
from adjax.cli import launcher, own, run, source
for line in sys.stdin.read().splitlines():
  flags.FLAGS.unparse_flags()
  for flag in flags.FLAGS._flags().values():
    flag.unparse()
  words = ['run', *line.split('|')]
  body = source.main if 'source' in words else run.main
  try:
    code = own.wrap(launcher._prepared(body), launcher._exit_code)(
        launcher._parse(
            [word for word in words if word != 'source']))
  except SystemExit as error:
    code = error.code
  print('exit', code, file=sys.stderr, flush=True)
'''


def test_bad_input_is_one_clear_line(tmp_path):
  (tmp_path / 'own.py').write_text(OWN_TASKS)
  lines = ['|'.join([f'--workdir={tmp_path}/run', *arguments])
           for arguments, _ in REFUSED]
  found = subprocess.run(
      [sys.executable, '-c', PROGRAM], cwd=ROOT, capture_output=True, text=True,
      input='\n'.join(lines).replace('FOLDER', str(tmp_path)),
      # Devices can be counted once in a process, and these are many starts.
      env=os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '2'})
  *said, rest = found.stderr.split('exit 1\n')
  assert len(said) == len(REFUSED) and not rest, found.stderr
  for (_, message), text in zip(REFUSED, said):
    line, *more = text.splitlines()
    assert line.startswith(
        f'error: {message}'.replace('FOLDER', str(tmp_path))), text
    # Of an unknown flag absl has its own to say.
    assert not more or more[0].startswith('FATAL Flags parsing error'), text
  assert not (tmp_path / 'run').exists()
  # What was refused by a run itself, at its start.
  assert set(found.stdout.splitlines()) == {
      'process 0 of 1 (from 0), 2 devices here, 2 in all, backend cpu'}


@pytest.mark.four_devices
def test_devices_add_up_what_each_has():
  assert processes.check().startswith(
      'the sum of 1 to 4, a number from each device, is 10, as it must be; ')
  assert processes.describe().startswith(
      'process 0 of 1 (from 0), 4 devices here, 4 in all, backend ')


def test_a_sum_that_is_wrong_is_an_error(monkeypatch):
  fetch, number = devices.fetch, jax.device_count()
  monkeypatch.setattr(devices, 'fetch', lambda x: fetch(x) - 1)
  right = number * (number + 1) // 2
  with pytest.raises(RuntimeError, match=f' {right}; it is {right - 1}$'
                    ) as caught:
    processes.check()
  assert '\n' not in str(caught.value)
  # So that it ends with 1, and is not tried again.
  assert isinstance(caught.value, own.SAID)
  assert not launcher._is_of_peers(caught.value)


@pytest.mark.long
def test_two_processes_add_up_what_each_has():
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{free.getsockname()[1]}'
  environment = {name: value for name, value in os.environ.items()
                 if name != 'JAX_NUM_CPU_DEVICES'} | {'JAX_PLATFORMS': 'cpu'}
  pair = [subprocess.Popen(
      [sys.executable, '-m', 'adjax.cli', 'run', '--check_devices',
       '--distributed', f'--coordinator_address={address}',
       '--num_processes=2', f'--process_id={process}'],
      cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
      stderr=subprocess.PIPE) for process in range(2)]
  for number, process in enumerate(pair):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    first, *rest = [line for line in out.splitlines() if 'Gloo' not in line]
    assert first == (f'process {number} of 2 (from 0), 1 device here, 2 in '
                     'all, backend cpu')
    assert number or rest.pop(0).startswith(
        'the sum of 1 to 2, a number from each device, is 3, as it must be; ')
    assert not rest


# What is in the file: what is said of it, and where.
OWN = {
    'import adjax\nadjax.Evaluate(episodes=0)':
        'own.py:2: episodes=0: must be at least 1',
    '\nimport nowhere_at_all':
        "own.py:2: ModuleNotFoundError: No module named 'nowhere_at_all'",
    'x = (': "own.py:1: SyntaxError: '(' was never closed",
    'def f():\n  return {}[3]\n\nf()': 'own.py:2: KeyError: 3',
    'open("nowhere")': 'own.py:1: FileNotFoundError: ',
    'raise ValueError("two\\nlines")': 'own.py:1: two',
    'import json\njson.loads("{")': 'own.py:2: Expecting property name'}


def raised(action):
  with pytest.raises(Exception) as caught:
    action()
  return caught.value


@pytest.mark.parametrize('text', OWN)
def test_an_error_in_ones_own_file_is_told_by_its_line(
    tmp_path, monkeypatch, text):
  monkeypatch.chdir(tmp_path)
  monkeypatch.delitem(sys.modules, 'own', raising=False)
  (tmp_path / 'own.py').write_text(text)
  found = own.line_of(raised(
      lambda: specification.load('experiment', 'own.py')))
  assert found.startswith(OWN[text]) and '\n' not in found


@pytest.mark.parametrize('text', [
    'nowhere.py', 'nowhere:X', 'nowhere.deep:X', 'adjax.types.deep:X', ':X',
    '.x:X', 'adjax.envs.dark_room:X'])
def test_what_is_not_there_is_no_error_of_ones_own(text):
  error = raised(lambda: specification.load('experiment', text))
  assert isinstance(error, ValueError) and not own.line_of(error, __file__)
  assert str(error).startswith(f'experiment={text}: ')


CONSOLE = '''
import sys
from adjax.cli import console
shown = console.Console()
line = {'epoch': 1, 'loss': 1.0, 'skipped': [0], 'transitions_per_s': 1.0,
        'validation': {'last_10_per_task': [1.0], 'optimum': None}}
with shown.epochs(0, 3000):
  for _ in range(3000):
    shown.say('läuft')
    shown.epoch(line, 3000, 1.0)
print('done', file=sys.stderr)
'''


@pytest.mark.parametrize('output', [
    'closed pipe', 'full disk', 'none', 'terminal', 'ASCII'])
def test_output_that_nobody_takes_ends_nothing(output):
  environment = {'JAX_PLATFORMS': 'cpu'}
  if output == 'closed pipe':
    given = ['sh', '-c', '"$0" -c "$1" | head -1', sys.executable, CONSOLE]
  elif output == 'full disk':
    given = ['sh', '-c', '"$0" -c "$1" > /dev/full', sys.executable, CONSOLE]
  elif output == 'none':
    given = ['sh', '-c', '"$0" -c "$1" >&-', sys.executable, CONSOLE]
  else:
    given = [sys.executable, '-c', CONSOLE]
    environment |= ({'PYTHONIOENCODING': 'ascii'} if output == 'ASCII' else
                    {'TTY_COMPATIBLE': '1', 'FORCE_COLOR': '1'})
  found = subprocess.run(given, cwd=ROOT, capture_output=True, text=True,
                         env=os.environ | environment)
  assert (found.returncode, found.stderr) == (0, 'done\n')
  if output == 'ASCII':
    assert found.stdout.count('l\\xe4uft\n') == 3000


def test_a_wrong_flag_is_a_failure(tmp_path):
  found = run('experiments.run', '--expriment=quick', folder=tmp_path)
  assert found.returncode != 0
  assert 'Did you mean: experiment' in found.stderr
