"""What is released: the files of the package, its name and its citation."""

import configparser
import fnmatch
import pathlib
import re

import yaml

import adjax
from adjax.experiment import tracking

ROOT = pathlib.Path(__file__).parents[1]


def setup():
  parser = configparser.ConfigParser()
  parser.read(ROOT / 'setup.cfg')
  return parser


def test_every_file_of_the_package_is_installed():
  patterns = {package: text.replace(',', ' ').split()
              for package, text in setup()['options.package_data'].items()}
  for path in (ROOT / 'adjax').rglob('*'):
    if path.suffix in ('', '.py') or '__pycache__' in path.parts:
      continue
    package = '.'.join(path.relative_to(ROOT).parent.parts)
    assert any(fnmatch.fnmatch(path.name, pattern)
               for pattern in patterns.get(package, [])), path


def test_its_name_is_free_and_its_version_the_packages():
  name = setup()['metadata']['name']
  assert name != 'adjax'  # Another project's, on the index.
  assert setup()['metadata']['version'] == 'attr: adjax.__version__'
  for path in (ROOT / 'adjax').rglob('*.py'):
    text = path.read_text()
    assert not re.search(r"metadata\.version\('adjax", text), path
    # What is told to be installed can be.
    for named, extra in re.findall(r"install '([\w-]+)\[(\{?\w+)", text):
      assert named == name
      assert extra == '{name' or extra in setup()['options.extras_require']
  assert tracking._TRACKERS.keys() <= setup()['options.extras_require'].keys()


def test_the_citation_is_of_this_version():
  cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  assert cited['version'] == adjax.__version__
  assert cited['license'] == setup()['metadata']['license']
  [paper] = cited['references']
  [identifier] = paper['identifiers']
  assert identifier['value'] == 'arXiv:2210.14215'
  assert paper['authors'][0]['family-names'] == 'Laskin'
