"""The launch examples: they parse, start the program, and know its exit codes.

Schedulers are stood in for by small scripts of the same names, which write down
how they were called and answer as they are told to.
"""

import ast
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[1]
LAUNCH = ROOT / 'experiments' / 'launch'
SCRIPTS = sorted(path.name for path in LAUNCH.glob('*.sh'))
# Stands in for a program: writes its call down, and runs the next of the lines
# it was given as answers, the last one for ever.
STAND_IN = r'''#!/usr/bin/env bash
here=$(dirname "$0"); name=$(basename "$0"); answers=$here/$name.answers
printf '%s\0' "$name" "$@" end >> "$here/calls"
answer=$(head -n 1 "$answers")
(($(wc -l < "$answers") > 1)) && sed -i 1d "$answers"
. <(echo "$answer")
'''


def stand_in(folder, name, *answers):
  (folder / name).write_text(STAND_IN)
  (folder / name).chmod(0o755)
  (folder / f'{name}.answers').write_text('\n'.join(answers) + '\n')


@pytest.fixture(params=['default', 'ignored'])
def launch(request, tmp_path):
  """Starts a script with the stand-ins of tmp_path.

  SIGINT is as in the foreground, or ignored on entry, as it is by what a script
  or nohup has started in the background.
  """
  disposition = {'default': signal.SIG_DFL, 'ignored': signal.SIG_IGN}[
      request.param]

  def start(script, *flags, **env):
    return subprocess.Popen(
        ['bash', str(LAUNCH / script), *flags], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, disposition),
        env=os.environ | env | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'})

  return start


def end(process):
  """Its exit code; it is not left behind if it does not end."""
  try:
    process.communicate(timeout=30)
  finally:
    process.kill()
  return process.returncode


def calls(folder, name):
  """How a stand-in was called: its arguments, for each time."""
  path = folder / 'calls'
  every = path.read_text().split('end\0')[:-1] if path.exists() else []
  every = [call.split('\0')[:-1] for call in every]
  return [words for first, *words in every if first == name]


def wait_for(condition):
  latest = time.monotonic() + 20
  while not condition():
    assert time.monotonic() < latest
    time.sleep(0.02)


def defined_flags(module='run'):
  """The flags of a program in adjax/cli/ and of what it imports at first."""
  tree = ast.parse((ROOT / 'adjax' / 'cli' / f'{module}.py').read_text())
  found = {node.args[0].value for node in ast.walk(tree)
           if isinstance(node, ast.Call)
           and isinstance(node.func, ast.Attribute)
           and node.func.attr.startswith('DEFINE_')}
  for node in tree.body:
    if isinstance(node, ast.ImportFrom) and node.module == 'adjax.cli':
      for alias in node.names:
        found |= defined_flags(alias.name)
  return found


def jobset():
  """{kind: object} of jobset.yaml."""
  text = (LAUNCH / 'jobset.yaml').read_text()
  return {each['kind']: each for each in yaml.safe_load_all(text)}


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_script_parses(script):
  subprocess.run(['bash', '-n', str(LAUNCH / script)], check=True)


def test_the_readme_names_every_file():
  text = (LAUNCH / 'README.md').read_text()
  for path in LAUNCH.iterdir():
    assert path.name == 'README.md' or f'`{path.name}`' in text


@pytest.mark.parametrize(
    'name', ['README.md', 'jobset.yaml', 'skypilot.yaml', *SCRIPTS])
def test_flags_are_the_programs(name):
  """All that come after it, up to those which are passed on."""
  code = re.sub('^#.*', '', (LAUNCH / name).read_text(), flags=re.MULTILINE)
  _, program = re.split(
      r'experiments\.run|adjax\s+(?:- )?run', code, maxsplit=1)
  if name in SCRIPTS:
    program = program.partition('"$@"')[0]
  given = set(re.findall(r'(?<=[\s`]--)\w+', program))
  # The cells of an array are runs of one process.
  assert ('distributed' in given) != (name == 'slurm_array.sh')
  assert given <= defined_flags()


@pytest.mark.parametrize('code, state, restarts, again', [
    (143, 'RUNNING', 0, True),
    (137, 'RUNNING', 0, True),
    (134, 'RUNNING', 3, True),
    (143, 'RUNNING', 100, False),
    (143, 'COMPLETING', 0, False),
    (130, 'RUNNING', 0, False),
    (1, 'RUNNING', 0, False),
    (0, 'RUNNING', 0, False),
])
def test_slurm_queues_again_what_was_stopped_and_nothing_else(
    launch, tmp_path, code, state, restarts, again):
  stand_in(tmp_path, 'srun', f'exit {code}')
  stand_in(tmp_path, 'squeue', f'echo {state}')
  stand_in(tmp_path, 'scontrol', 'exit 0')
  process = launch(
      'slurm.sh', '--experiment=bandit', '--set', 'seed=1',
      SLURM_JOB_ID='7', SLURM_JOB_NAME='two arms',
      SLURM_RESTART_COUNT=str(restarts))
  assert end(process) == code
  assert calls(tmp_path, 'scontrol') == ([['requeue', '7']] if again else [])
  [words] = calls(tmp_path, 'srun')
  start = words.index('python')
  assert words[start:start + 3] == ['python', '-m', 'experiments.run']
  assert words[-3:] == ['--experiment=bandit', '--set', 'seed=1']
  assert '--workdir=/shared/adjax/runs/two arms' in words


def test_a_cell_of_an_array_is_queued_again_by_its_number(launch, tmp_path):
  stand_in(tmp_path, 'srun', 'exit 143')
  stand_in(tmp_path, 'squeue', 'echo RUNNING')
  stand_in(tmp_path, 'scontrol', 'exit 0')
  # The id of the last of an array is that of the whole array.
  process = launch(
      'slurm_array.sh', '--sweep=seed=0..3', SLURM_JOB_ID='7',
      SLURM_ARRAY_JOB_ID='7', SLURM_ARRAY_TASK_ID='3', SLURM_JOB_NAME='a b')
  assert end(process) == 143
  assert calls(tmp_path, 'scontrol') == [['requeue', '7_3']]
  assert '--jobs=7_3' in calls(tmp_path, 'squeue')[0]
  assert calls(tmp_path, 'srun') == [[
      'python', '-m', 'experiments.run',
      '--workdir=/shared/adjax/runs/a b', '--sweep=seed=0..3']]


def test_slurms_shell_stays_until_the_processes_have_saved(launch, tmp_path):
  stand_in(tmp_path, 'srun', 'sleep 0.5; exit 143')
  stand_in(tmp_path, 'squeue', 'echo RUNNING')
  stand_in(tmp_path, 'scontrol', 'exit 0')
  process = launch('slurm.sh', SLURM_JOB_ID='7', SLURM_JOB_NAME='a')
  wait_for(lambda: calls(tmp_path, 'srun'))
  process.send_signal(signal.SIGTERM)
  assert end(process) == 143 and calls(tmp_path, 'scontrol')


@pytest.mark.parametrize('name', ['slurm.sh', 'slurm_array.sh'])
def test_slurm_warns_the_processes_before_the_time_limit_and_requeues(name):
  text = (LAUNCH / name).read_text()
  options = re.findall(r'^#SBATCH (.*)$', text, re.MULTILINE)
  # To the processes: with B: it would be for the shell alone.
  assert '--signal=TERM@60' in options and '--requeue' in options


def test_local_processes_differ_in_their_number_alone(launch, tmp_path):
  stand_in(tmp_path, 'python', '[[ "$*" == *id=1* ]] && exit 3; exit 1')
  process = launch('local.sh', '--experiment=bandit', PROCESSES='3')
  assert end(process) == 3
  found = calls(tmp_path, 'python')
  assert len(found) == 3
  numbers = {word for words in found for word in words
             if word.startswith('--process_id=')}
  assert numbers == {f'--process_id={i}' for i in range(3)}
  rest = {tuple(word for word in words if word not in numbers)
          for words in found}
  assert len(rest) == 1


SAVES = """
import os, pathlib, signal, sys, time
def save(number, _):
  time.sleep(0.3)
  pathlib.Path(f'saved{os.getpid()}').touch()
  sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
pathlib.Path(f'ready{os.getpid()}').touch()
time.sleep(30)
"""


@pytest.mark.parametrize('env', ['as it is', 'without --default-signal'])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_local_passes_signals_on_and_waits(launch, tmp_path, number, env):
  if env == 'without --default-signal':
    stand_in(tmp_path, 'env', 'exit 125')
    # As itself: what stands before it, as pyenv does, may change PATH.
    stand_in(tmp_path, 'python3', f'exec {sys.executable} "$@"')
  (tmp_path / 'saves.py').write_text(SAVES)
  stand_in(tmp_path, 'python', f'cd "$here"; exec {sys.executable} saves.py')
  process = launch('local.sh', PROCESSES='2')
  wait_for(lambda: len(list(tmp_path.glob('ready*'))) == 2)
  process.send_signal(number)
  assert end(process) == 128 + number
  assert len(list(tmp_path.glob('saved*'))) == 2


READY, GONE, DONE = 'echo READY', 'exit 1', 'echo ended with 0.'


@pytest.mark.parametrize('answers, code, verbs', [
    ([READY, DONE], 0, 'describe ssh'),
    ([READY, 'echo ended with 134.; echo ended with 1.'], 1, 'describe ssh'),
    ([GONE, 'exit 0', READY, DONE], 0,
     'describe create describe ssh'),
    ([GONE, 'exit 1', GONE, 'exit 0', READY, DONE], 0,
     'describe create describe create describe ssh'),
    # It is preempted, with time to save and without.
    ([READY, 'echo ended with 143.', 'echo PREEMPTED', 'echo PREEMPTED',
      'exit 0', GONE, 'exit 0', READY, DONE], 0,
     'describe ssh describe describe delete describe create describe ssh'),
    ([READY, 'echo ended with 134.', READY, DONE], 0,
     'describe ssh describe ssh'),
    # Somebody stopped it.
    ([READY, 'echo ended with 143.', READY], 143, 'describe ssh describe'),
])
def test_a_tpu_slice_is_made_again_until_the_run_is_done(
    launch, tmp_path, answers, code, verbs):
  stand_in(tmp_path, 'gcloud', *answers)
  stand_in(tmp_path, 'sleep', 'exit 0')
  assert end(launch('tpu_vm.sh', '--experiment=bandit')) == code
  found = calls(tmp_path, 'gcloud')
  assert ' '.join(words[3] for words in found) == verbs


def test_a_worker_is_given_the_flags_and_says_how_its_program_ended(
    launch, tmp_path):
  stand_in(tmp_path, 'gcloud', READY, DONE)
  end(launch('tpu_vm.sh', '--set', 'name=two arms'))
  [command] = [word.removeprefix('--command=')
               for words in calls(tmp_path, 'gcloud') for word in words
               if word.startswith('--command=')]
  assert '--set name=two\\ arms' in command
  # Mounted; but the project is not there.
  stand_in(tmp_path, 'mountpoint', 'exit 0')
  env = os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
  found = subprocess.run(['bash', '-c', command], env=env, text=True,
                         stdout=subprocess.PIPE)
  assert found.stdout == 'ended with 1.\n'


def test_jobset_starts_the_program_as_the_first_process():
  [hosts] = jobset()['JobSet']['spec']['replicatedJobs']
  [container] = hosts['template']['spec']['template']['spec']['containers']
  assert container['command'][:2] == ['adjax', 'run']


def test_the_image_of_jobset_is_the_dockerfiles():
  lines = (ROOT / 'Dockerfile').read_text().splitlines()
  last = lines[max(i for i, line in enumerate(lines) if 'FROM' in line[:4]):]
  assert last[-1] == 'ENTRYPOINT ["adjax"]'
  [argument] = [line for line in last if line.startswith('ARG ')]
  name = argument.removeprefix('ARG ').partition('=')[0]
  assert f'--build-arg {name}=' in (LAUNCH / 'jobset.yaml').read_text()
  # Its user is not root, and can write where Kubernetes mounts a claim.
  [number] = [int(line.partition('--uid=')[2].split()[0])
              for line in last if line.startswith('RUN useradd')]
  assert number > 0 and 'USER adjax' in last
  [hosts] = jobset()['JobSet']['spec']['replicatedJobs']
  pod = hosts['template']['spec']['template']['spec']
  assert pod['securityContext']['fsGroup'] == number
  # All that is copied is there, and what setup.cfg reads is copied.
  copied = {word for line in lines if re.match('COPY (?!--from)', line)
            for word in line.split()[1:-1]}
  assert all((ROOT / name).exists() for name in copied)
  assert {'adjax', 'README.md', 'LICENSE'} <= copied


def test_skypilot_starts_a_process_on_each_node(tmp_path):
  task = yaml.safe_load((LAUNCH / 'skypilot.yaml').read_text())
  assert task['num_nodes'] > 1
  [shared] = task['volumes']
  stand_in(tmp_path, 'adjax', 'exit 143')
  env = os.environ | {
      'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SKYPILOT_NODE_RANK': '1',
      'SKYPILOT_NODE_IPS': '10.0.0.1\n10.0.0.2', 'SKYPILOT_NUM_NODES': '2'}
  found = subprocess.run(['bash', '-c', task['run']], env=env, check=False)
  assert found.returncode == 143
  [words] = calls(tmp_path, 'adjax')
  assert {'--coordinator_address=10.0.0.1:12355', '--num_processes=2',
          '--process_id=1'} <= set(words)
  [workdir] = [word for word in words if word.startswith('--workdir=')]
  assert workdir.startswith(f'--workdir={shared}/')


def test_jobset_has_what_jax_needs_to_find_its_peers():
  """As jax's own detection of Kubernetes reads it."""
  objects = jobset()
  [hosts] = objects['JobSet']['spec']['replicatedJobs']
  job = hosts['template']['spec']
  assert job['parallelism'] == job['completions'] > 1
  assert job['completionMode'] == 'Indexed'
  allowed = {(resource, verb) for rule in objects['Role']['rules']
             for resource in rule['resources'] for verb in rule['verbs']}
  assert allowed == {('pods', 'list'), ('jobs', 'get')}
  account = objects['ServiceAccount']['metadata']['name']
  assert job['template']['spec']['serviceAccountName'] == account
  assert objects['RoleBinding']['subjects'][0]['name'] == account
  assert objects['RoleBinding']['roleRef']['name'] == (
      objects['Role']['metadata']['name'])


def test_jobset_tries_again_unless_the_run_itself_failed():
  spec = jobset()['JobSet']['spec']
  [hosts] = spec['replicatedJobs']
  job = hosts['template']['spec']
  pod = job['template']['spec']
  assert spec['failurePolicy']['maxRestarts'] > 0
  [rule] = spec['failurePolicy']['rules']
  assert rule['action'] == 'FailJobSet'
  assert rule['onJobFailureReasons'] == ['PodFailurePolicy']
  [policy] = job['podFailurePolicy']['rules']
  assert policy['action'] == 'FailJob'
  assert policy['onExitCodes']['values'] == [1]
  assert policy['onExitCodes']['containerName'] == pod['containers'][0]['name']
  # Kubernetes takes such a policy with this alone.
  assert pod['restartPolicy'] == 'Never' and job['backoffLimit'] == 0
  assert pod['terminationGracePeriodSeconds'] > 30
