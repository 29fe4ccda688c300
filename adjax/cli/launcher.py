"""What all launchers do alike at their outermost.

Only what --help needs is imported at the top: jax and gymnax take seconds.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import functools
import hashlib
import os
import platform
import re
import sys
from typing import TYPE_CHECKING

from absl import app
from absl import flags

from adjax.cli import own

if TYPE_CHECKING:
  from adjax.experiment import specification

_EXPERIMENT = flags.DEFINE_string(
    'experiment', 'quick', 'What to run: a preset, as --list shows them, '
    'path/to/file.py[:NAME], or module:NAME; NAME is `experiment` by default.')
_SIZE = flags.DEFINE_enum(
    'size', 'cpu', ('cpu', 'gpu'),
    'A preset\'s size: cpu is minutes on two cores, gpu has a wider model, '
    'larger batches and five seeds.')
_SET = flags.DEFINE_multi_string(
    'set', [], 'Replaces a field of the experiment, as in '
    '--set method.batch_size=64, or a component, as in --set source=tabular_q '
    'or --set tasks=file.py:Tasks. May be repeated.')
_CACHE = flags.DEFINE_string(
    'compilation_cache', os.path.join('~', '.cache', 'adjax'),
    'Where compiled programs are kept for the next start; "" for nowhere. '
    'JAX_COMPILATION_CACHE_DIR, if set, is used instead.')
_DEVICES = flags.DEFINE_integer(
    'cpu_devices', None, 'As how many devices the cores of a machine without '
    'accelerator are used; each has its own copy of the histories. Default: '
    'JAX_NUM_CPU_DEVICES, or one for each core, up to 8.', 1)
_DISTRIBUTED = flags.DEFINE_bool(
    'distributed', False, 'This is one of several processes of one run; Slurm, '
    'Open MPI, Kubernetes and TPU pods tell which.')
_COORDINATOR = flags.DEFINE_string(
    'coordinator_address', None, 'With --distributed where nothing tells: '
    'HOST:PORT of process 0.')
_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', None, 'Beside --coordinator_address: how many.', 1)
_PROCESS_ID = flags.DEFINE_integer(
    'process_id', None, 'Beside --coordinator_address: which, from 0.', 0)

# The exit code when another process is lost, which jax itself uses, too: unlike
# an error of one's own it is worth another try.
LOST = 134


def start(
    body: Callable[[], int | None], argv: Sequence[str] | None = None
) -> None:
  """Runs a program to its exit code.

  Args:
    body: the program, after its flags have been read.
    argv: its name and arguments; those of the process by default.
  """
  own.start(_prepared(body), argv, _parse, (__name__,), _exit_code)


def _parse(argv: list[str]) -> list[str]:
  """The arguments that are no flags; of an unknown flag, what is meant."""
  try:
    return flags.FLAGS(argv)
  except flags.UnrecognizedFlagError as error:
    value = error.flagvalue.partition('=')[2] or 'VALUE'
    for path in _fields_called(error.flagname):
      print(f'error: --{error.flagname}: is no flag, but a field; set it with '
            f'--set {path}={value}', file=sys.stderr)
  except flags.Error:
    pass
  return app.parse_flags_with_usage(argv)  # Says what is wrong, and exits.


def _fields_called(name: str) -> list[str]:
  """The fields of that name of the experiment that the flags tell."""
  from adjax import config
  flags.FLAGS.mark_as_parsed()  # All but the unknown one.
  with contextlib.suppress(Exception):
    return [path for path in config.flatten(experiment())
            if path.rpartition('.')[2] == name]
  return []


def _prepared(
    body: Callable[[], int | None]
) -> Callable[[list[str]], int | None]:
  """The program after jax was set up; it takes flags alone."""
  @functools.wraps(body)
  def prepared(arguments: list[str]) -> int | None:
    if arguments:
      raise ValueError(f'unexpected argument {arguments[0]!r}; fields are set '
                       'with --set name=value')
    prepare()
    try:
      return body()
    except ValueError as error:
      text = re.sub(
          r'^(?=(tasks|source|data|model|method|evaluate)\.\w+=)', '--set ',
          str(error))
      raise ValueError(text) from error

  return prepared


def _exit_code(error: Exception) -> int:
  return LOST if is_lost(error) else 1


def is_lost(error: Exception) -> bool:
  """Whether another process of this run was lost."""
  return bool(_DISTRIBUTED.value) and _is_of_peers(error)


def _is_of_peers(error: Exception) -> bool:
  """Whether it comes of processes that cannot reach each other."""
  return any(name in str(error) for name in (
      'Gloo', 'NCCL', 'coordination service', 'Connection reset'))


def experiment(
    name: str | None = None, more: Sequence[str] = ()
) -> 'specification.Experiment':
  """The experiment that --experiment, --size and --set tell.

  Args:
    name: in the place of --experiment.
    more: assignments after those of --set.

  Raises:
    ValueError: naming the flag.
  """
  from adjax import presets
  from adjax.experiment import specification
  name = name or _EXPERIMENT.value
  with _naming('--'):
    if '.py' in name or ':' in name:
      if _SIZE.value != 'cpu':
        raise ValueError(f'size={_SIZE.value}: is for presets; a file has the '
                         'sizes that it gives')
      found = specification.load('experiment', name)
      if not isinstance(found, specification.Experiment):
        raise ValueError(f'experiment={name}: must be an adjax.Experiment; it '
                         f'is a {type(found).__name__}')
    elif name not in presets.PRESETS and (
        os.path.dirname(name) or os.path.isfile(f'{name}.py')):
      raise ValueError(f'experiment={name}: must be a preset, as --list shows '
                       'them, path/to/file.py[:NAME] or module:NAME; did you '
                       f'mean {name}.py')
    else:
      found = presets.get(name, _SIZE.value)
  with _naming('--set '):
    return specification.override(found, [*_SET.value, *more])


@contextlib.contextmanager
def _naming(flag: str) -> Iterator[None]:
  """Tells where a field that an error names was given."""
  try:
    yield
  except ValueError as error:
    if own.line_of(error):
      raise
    raise ValueError(flag + str(error)) from error


def prepare() -> None:
  """Sets jax up; before anything else, since importing gymnax starts it."""
  if _DISTRIBUTED.value:
    join()
  import jax

  from adjax.storage import files
  told = 'JAX_NUM_CPU_DEVICES' in os.environ or (
      'xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', ''))
  if _DEVICES.value or not told:
    # Of several processes, each uses its cores as one device: with more, what
    # they tell each other can be told in another order, and they wait forever.
    jax.config.update('jax_num_cpu_devices', _DEVICES.value or (
        1 if _DISTRIBUTED.value else cpu_devices()))
  cache = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
  if cache is None and _CACHE.value:
    jax.config.update('jax_compilation_cache_dir', os.path.join(
        files.expand(_CACHE.value), processor()))
    # The many small programs of a start are worth keeping, too.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)


def join() -> None:
  """Joins the other processes of this run.

  Raises:
    ValueError: if nothing tells which they are.
  """
  # Else it takes SIGTERM for itself, and nobody else hears of it.
  os.environ['JAX_ENABLE_PREEMPTION_SERVICE'] = 'false'
  import jax
  told = _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
  if any(x is not None for x in told) and None in told:
    raise ValueError('--coordinator_address, --num_processes, --process_id: '
                     f'must be given together; given {told}')
  try:
    jax.distributed.initialize(*told)
  except ValueError as error:
    raise ValueError(
        f'--distributed: nothing here tells which processes there are ({error})'
        '; give --coordinator_address, --num_processes and --process_id'
    ) from None


def cpu_devices() -> int:
  """One for each core, as a power of two up to 8, so that batches divide.

  Small steps, as learners and decoding take them, fill one core at best; two
  devices on two cores take them 1.5 to 2 times as fast.
  """
  from adjax.experiment import cgroups
  return 2 ** min(3, cgroups.cores().bit_length() - 1)


def processor() -> str:
  """A name for what compiled programs may rely on of this processor."""
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as file:
      said = next(line for line in file if line.startswith(('flags', 'Feat')))
  except (OSError, StopIteration):
    said = platform.processor() + platform.machine()
  return hashlib.sha256(said.encode()).hexdigest()[:8]
