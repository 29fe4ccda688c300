"""Runs the script of a page under node, if it is there."""

import json
import pathlib
import shutil
import subprocess

import pytest

import adjax.page

MODEL_JS = pathlib.Path(adjax.page.__file__).with_name('model.js')
_SCRIPT = pathlib.Path(__file__).with_name('page_model.mjs')

needs_node = pytest.mark.skipif(
    shutil.which('node') is None, reason='node is not installed')


def ask(jobs):
  """The answers to named jobs of page_model.mjs, of one process."""
  answer = subprocess.run(
      ['node', _SCRIPT, MODEL_JS], input=json.dumps(list(jobs.values())),
      capture_output=True, text=True, check=False)
  assert answer.returncode == 0, answer.stderr
  return dict(zip(jobs, json.loads(answer.stdout), strict=True))
