"""What a run does when it is asked to stop."""

import pathlib
import signal
import subprocess
import sys
import time

import pytest

from adjax.experiment import stopping

ROOT = pathlib.Path(__file__).parents[1]

# Works through the stages that it is given, as a run would.
PROGRAM = '''
import sys, time
from adjax.experiment import stopping
stopping.GRACE = 1.0

def work(stop):
  for stage in sys.argv[1:]:
    name, seconds = stage.split(':')
    stop.check()
    if name == 'epoch':
      with stop.epoch():
        print('begun', flush=True)
        time.sleep(float(seconds))
        with stop.saving():
          print('saved', flush=True)
    elif name == 'raise':
      raise ValueError('of its own')
    else:
      print('begun', flush=True)
      time.sleep(float(seconds))
      print('ended', flush=True)
  stop.check()

try:
  sys.exit(stopping.run(work))
except ValueError as error:
  sys.exit(str(error))
'''


def run(*stages, send=(), ignored=()):
  """Signals a program that has begun: (exit code, lines, errors, seconds)."""
  process = subprocess.Popen(
      [sys.executable, '-c', PROGRAM, *stages], cwd=ROOT, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
      preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN)
                          for number in ignored])
  lines = []
  if send:
    lines.append(process.stdout.readline())
  begin = time.monotonic()
  for number in send:
    process.send_signal(number)
    time.sleep(0.1)
  rest, errors = process.communicate(timeout=60)
  said = ''.join(lines) + rest
  return (process.returncode, said.split(), errors,
          time.monotonic() - begin)


@pytest.mark.parametrize('send, code', [
    ([signal.SIGTERM], 143), ([signal.SIGINT], 130),
    ([signal.SIGTERM, signal.SIGINT, signal.SIGTERM], 143)])
def test_an_epoch_is_saved_and_no_other_begun(send, code):
  found, lines, errors, _ = run('epoch:0.6', 'epoch:0.6', send=send)
  assert (found, lines) == (code, ['begun', 'saved'])
  assert 'the same command goes on' in errors


def test_a_signal_that_was_ignored_on_entry_is_heard():
  """As of nohup, and of jobs in the background of a script."""
  found, lines, _, _ = run('epoch:0.6', send=[signal.SIGINT],
                           ignored=[signal.SIGINT])
  assert (found, lines) == (130, ['begun', 'saved'])


def test_an_epoch_that_takes_too_long_is_left():
  code, lines, _, seconds = run('epoch:50', send=[signal.SIGTERM])
  assert (code, lines) == (143, ['begun']) and seconds < 10


def test_what_is_no_epoch_is_left_at_once():
  code, lines, _, seconds = run('evaluate:50', send=[signal.SIGTERM])
  assert (code, lines) == (143, ['begun']) and seconds < 10


def test_work_ends_or_raises_as_it_would_alone():
  assert run('epoch:0')[:2] == (0, ['begun', 'saved'])
  code, _, errors, _ = run('raise:0')
  assert code == 1 and errors.strip() == 'of its own'


def test_a_signal_is_heard_between_epochs():
  stop = stopping.Stop()
  stop.check()
  stop.signal = signal.SIGTERM
  with pytest.raises(stopping.Stopped):
    stop.check()
