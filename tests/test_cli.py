"""The command line: what it lists, how fast it helps, what it refuses."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

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
  assert found.stderr == 'error: adjax fly: must be one of run, source\n'
  listed = run('adjax.cli', 'run', '--list', folder=tmp_path).stdout
  lines = listed.splitlines()
  assert lines[0].split() == [
      'quick', 'dark_room', 'tasks,', 'posterior', 'source,', 'distill,',
      'transformer,', '1', 'seed']
  assert 30 < len(lines) < 60


# In one process, as none gets as far as to a run: {arguments: message}.
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
    (['--set=model.window=301'],
     '--set method.length=300: must be at least model.window=301'),
    (['quick'], "unexpected argument 'quick'"),
]
PROGRAM = '''
import os, sys
from absl import flags
from adjax.cli import launcher, run
for line in sys.stdin.read().splitlines():
  flags.FLAGS.unparse_flags()
  for flag in flags.FLAGS._flags().values():
    flag.unparse()
  left = flags.FLAGS(['run', *line.split('|')])
  print('exit', launcher._wrap(run.main)(left), file=sys.stderr, flush=True)
'''


def test_bad_input_is_one_clear_line(tmp_path):
  lines = ['|'.join([f'--workdir={tmp_path}/run', *arguments])
           for arguments, _ in REFUSED]
  found = subprocess.run(
      [sys.executable, '-c', PROGRAM], input='\n'.join(lines), cwd=ROOT,
      capture_output=True, text=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu'})
  said = found.stderr.splitlines()
  assert len(said) == 2 * len(REFUSED), found.stderr
  for (_, message), line, code in zip(REFUSED, said[::2], said[1::2]):
    assert line.startswith(f'error: {message}') and code == 'exit 1', line
  assert not (tmp_path / 'run').exists()


def test_a_wrong_flag_is_a_failure(tmp_path):
  found = run('experiments.run', '--expriment=quick', folder=tmp_path)
  assert found.returncode != 0 and 'experiment' in found.stderr
