"""Figures on a page and in tables: no scripts, and nothing from anywhere."""

import base64
import html
import pathlib
from typing import Any

from adjax.experiment import markdown as markdown_lib
from experiments.reproduce import draw

JSON = dict[str, Any]
_STYLE = pathlib.Path(__file__).parent / 'page.css'
_WORDS = {True: 'holds', False: 'does not hold', None: 'cannot tell'}


def number(x: float | None, digits: int = 3) -> str:
  """A share, or how many times; '' of nothing."""
  if x is None:
    return ''
  return f'{x:.{digits if abs(x) < 10 else 1}f}'


def with_interval(x: float | None, interval: list[float | None] | None) -> str:
  """As '.912 (.880 to .934)'; an interval may have no end."""
  if x is None or interval is None:
    return number(x)
  low, high = map(number, interval)
  return f'{number(x)} ({low} {f"to {high}" if high else "or more"})'


def effect(claim: JSON) -> str:
  """A claim's, with what its interval is over."""
  found = with_interval(claim['effect'], claim['interval'])
  return found and f'{found} over {claim["over"]}'


def claims(told: JSON) -> list[list[str]]:
  """Rows of a table of claims, its head first."""
  head = ['claim', 'the paper', 'measured here', 'effect (95 %)', 'verdict']
  return [head, *(
      [x['claim'], x['paper'],
       x['measured'] + (f' ({x["missing"]})' if 'missing' in x else ''),
       effect(x), _WORDS[x['holds']]]
      for x in told['claims'])]


def numbers(told: JSON) -> list[list[str]]:
  """Rows of the table paper / ours / command, its head first."""
  return [['panel', 'what', 'paper', 'ours (95 %)', 'episodes', 'command'], *(
      [x['panel'], x['label'], number(x['paper']),
       x.get('missing') or with_interval(x['ours'], x.get('interval')),
       x.get('episodes', '').removeprefix('episodes '), x['command']]
      for x in told['table'])]


def markdown(rows: list[list[str]]) -> str:
  """A table; what is a command is code."""
  head, *rest = rows
  code = head.index('command') if 'command' in head else -1
  return markdown_lib.table([head, *(
      [f'`{x}`' if i == code else x for i, x in enumerate(row)]
      for row in rest)])


def verdicts(told: JSON) -> str:
  """A figure's claims, a line each, for a terminal."""
  return '\n'.join([
      f'{told["name"]}: {told["title"]}', *(
          f'  {_WORDS[x["holds"]]}: {x["claim"]}' + (
              f' ({x["missing"]})' if 'missing' in x else
              f': {effect(x)}; the paper: {x["paper"]}')
          for x in told['claims']), *(
              f'  missing: {name}' for name in told['missing'])])


def table(told: JSON) -> str:
  """What is beside a picture, as Markdown."""
  return (f'# {told["title"]}\n\nThe paper: {told["paper"]}\n\n'
          f'{markdown(claims(told))}\n\n{markdown(numbers(told))}\n')


def page(figures: list[tuple[JSON, bytes]]) -> str:
  """One page of all figures.

  Args:
    figures: what evaluate.evaluate tells of each, and its picture.
  """
  text = html.escape
  parts = ['<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
           '<meta name="viewport" content="width=device-width, '
           'initial-scale=1">\n<meta http-equiv="Content-Security-Policy" '
           'content="default-src \'none\'; style-src \'unsafe-inline\'; '
           'img-src data:">\n<title>adjax: the figures of Algorithm '
           'Distillation</title>\n<style>\n',
           _STYLE.read_text(encoding='utf-8'),
           '</style>\n</head>\n<body>\n<h1>The figures of Algorithm '
           'Distillation</h1>\n<p>Each made of runs of adjax, beside the paper '
           '(Laskin et al. 2022, arXiv:2210.14215). What is claimed, and '
           'whether it holds here.</p>\n<nav>',
           ' '.join(f'<a href="#{told["name"]}">{text(told["title"])}</a>'
                    for told, _ in figures), '</nav>\n']
  for told, picture in figures:
    data = base64.b64encode(picture).decode()
    parts += [
        f'<section id="{told["name"]}">\n<h2>{text(told["title"])}</h2>\n'
        f'<p>The paper: {text(told["paper"])}</p>\n'
        f'<img alt="{text(draw.caption(told))}" '
        f'src="data:image/png;base64,{data}">\n',
        _html(claims(told)), '<details><summary>Numbers, and the commands of '
        'the runs</summary>\n', _html(numbers(told)),
        '</details>\n</section>\n']
  return ''.join([*parts, '</body>\n</html>\n'])


def _html(rows: list[list[str]]) -> str:
  head, *rest = rows
  cells = lambda row, tag: ''.join(
      f'<{tag}{_kind(x)}>{html.escape(x)}</{tag}>' for x in row)
  return ('<div><table>\n<tr>' + cells(head, 'th') + '</tr>\n' + ''.join(
      f'<tr>{cells(row, "td")}</tr>\n' for row in rest) + '</table></div>\n')


def _kind(x: str) -> str:
  """A verdict has its colour, and a command its letters."""
  if x in _WORDS.values():
    return f' class="{x.replace(" ", "-")}"'
  return ' class="code"' if x.startswith('adjax run') else ''
