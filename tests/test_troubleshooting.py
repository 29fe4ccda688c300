"""docs/troubleshooting.md has an entry for each message, and no other."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'troubleshooting.md').read_text()
# Of other programs, or as an example.
NOT_OURS = {'RESOURCE_EXHAUSTED: …', 'file.py:12: …', '--set …'}
# What is called with a message that a user reads; and with the beginning of
# one, an error after it, as its second argument.
SAYING, BEGINNING = {'say', '_say', 'warn'}, {'_optional'}
# Another message, passed on; and Python's own of a name that is not there.
PASSED_ON = re.compile(r'(error: )?[…:\s]*|module \S+ has no attribute …')


def template(node, names):
  """A text as it is written, with '…' for what is put into it.

  Args:
    node: of the syntax tree.
    names: {variable: its value, a node} of the function around it.
  """
  text = lambda x: template(x, names)
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return node.value
  if isinstance(node, ast.JoinedStr):
    return ''.join(map(text, node.values))
  if isinstance(node, ast.FormattedValue):
    return text(node.value) if isinstance(node.value, ast.Name) else '…'
  if isinstance(node, ast.BinOp):
    right = text(node.right) if isinstance(node.op, ast.Add) else ''
    return text(node.left) + right
  if isinstance(node, ast.Call) and getattr(
      node.func, 'attr', '') == 'format':
    return text(node.func.value).replace('{}', '…')
  if isinstance(node, ast.Name) and node.id in names:
    return template(names[node.id], {})
  return '…'


def messages(source):
  """(line, message) of all that is raised or said."""
  tree = ast.parse(source)
  functions = [x for x in ast.walk(tree) if isinstance(x, ast.FunctionDef)]
  for function in [tree, *functions]:
    names = {
        node.targets[0].id: node.value for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, (ast.JoinedStr, ast.BinOp))}
    for node in ast.walk(function) if function is not tree else tree.body:
      if isinstance(node, ast.Call) and node.args and says(node):
        text = (template(node.args[0], names) if name_of(node) not in BEGINNING
                else template(node.args[1], names) + ': …')
        yield node.lineno, re.sub(r'…+', '…', text.replace('\n', ' ')).strip()


def name_of(call):
  return getattr(call.func, 'id', getattr(call.func, 'attr', ''))


def says(call):
  """Whether a user is told an argument of it."""
  name = name_of(call)
  to_stderr = name == 'print' and any(x.arg == 'file' for x in call.keywords)
  return name in SAYING | BEGINNING or name.endswith('Error') or to_stderr


def entries():
  """The messages in the first column of the page's tables."""
  return [span for row in re.findall(r'^\| (.*)', PAGE, re.MULTILINE)
          for span in re.findall('`([^`]+)`', row.split(' | ')[0])]


def is_of(entry, message):
  """Whether a message is what an entry shows."""
  parts = re.escape(entry).split('…')
  return re.search('.*'.join(parts), message) is not None


# {message: where it is from}
FOUND = {
    message: f'{path.relative_to(ROOT)}:{line}'
    for path in sorted((ROOT / 'adjax').rglob('*.py'))
    for line, message in messages(path.read_text())
    if not PASSED_ON.fullmatch(message)}


def test_each_message_has_an_entry():
  shown = entries()
  left = {where: message for message, where in FOUND.items()
          if not any(is_of(entry, message) for entry in shown)}
  assert not left


def test_no_entry_is_of_a_message_that_is_gone():
  # Some are put together before they are said.
  parts = {node.value for path in (ROOT / 'adjax').rglob('*.py')
           for node in ast.walk(ast.parse(path.read_text()))
           if isinstance(node, ast.Constant) and isinstance(node.value, str)}
  gone = [
      entry for entry in entries() if entry not in NOT_OURS
      and not any(is_of(entry, message) for message in FOUND)
      and not any(max(entry.split('…'), key=len).strip(': ') in part
                  for part in parts)]
  assert not gone


def test_messages_are_read_as_they_are_written():
  source = (
      'def f(x):\n  line = f"needs {x:.2f} GB"\n'
      '  raise ValueError(f"{line}; lower {x}" + " or " + str(x)) from x\n'
      'def g(say):\n  say(f"all of {len(say)} " f"are \\"there\\"")\n'
      '  raise ValueError\n'
      '  raise OSError("{}: full".format(x))\n'
      '  with _optional(x, "no picture"):\n    pass\n')
  assert sorted(text for _, text in messages(source)) == [
      'all of … are "there"', 'needs … GB; lower … or …', 'no picture: …',
      '…: full']
