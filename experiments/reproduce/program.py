"""What `python -m experiments.reproduce` does."""

import os
from typing import NamedTuple

from adjax import config
from adjax.storage import files
from experiments.reproduce import cells
from experiments.reproduce import documents
from experiments.reproduce import figures
from experiments.reproduce import page
from experiments.reproduce import plan
from experiments.reproduce import write
from experiments.results import row as row_lib


class Asked(NamedTuple):
  """What the flags say; each is called as they are."""
  figure: str = 'all'
  budget: str = 'cpu'
  workdir: str | None = None
  train: bool = True
  list: bool = False
  dry_run: bool = False
  commit: bool = False
  allow_dirty: bool = False
  check: bool = False


def main(asked: Asked) -> int:
  """Draws figures, or says what they are; returns the exit code."""
  if asked.check:
    wrong = documents.wrong(cells.everything(None))
    print('\n'.join(wrong) or f'{len(documents.committed())} figures, and all '
          'as they should be')
    return int(bool(wrong))
  config.check('--figure', asked.figure,
               asked.figure in ('all', *figures.FIGURES),
               f'all, or one of {", ".join(figures.FIGURES)}')
  chosen = {name: figure for name, figure in figures.FIGURES.items()
            if asked.figure in ('all', name)}
  size, workdir = asked.budget, None
  if asked.workdir:
    workdir = files.folder('--workdir', asked.workdir)
  there = lambda: cells.everything(None if asked.commit else workdir)
  if asked.list or asked.dry_run:
    print(plan.text(chosen, size, there(), missing_only=asked.dry_run))
    return 0
  if workdir is None:
    raise ValueError(f'--workdir={asked.workdir}: must be a folder')
  try:
    os.makedirs(workdir, exist_ok=True)
  except OSError as error:
    raise ValueError(f'--workdir={workdir!r}: must be a folder that can be '
                     f'written ({error.strerror})') from error
  failed: dict[str, str] = {}
  missing = plan.missing(chosen, size, there())
  if asked.train and missing:
    from experiments.reproduce import train
    print(plan.text(chosen, size, there(), missing_only=True), flush=True)
    commit = row_lib.clean_commit(asked.allow_dirty) if asked.commit else ''
    failed = train.train(missing, size, workdir, commit)
  for told in write.figures(chosen, size, workdir, there(), asked.commit):
    print(page.verdicts(told), flush=True)
  print(write.page(workdir))
  if failed:
    raise RuntimeError(f'{len(failed)} of {len(missing)} runs failed: '
                       + '; '.join(f'{name}: {text}'
                                   for name, text in failed.items()))
  return 0
