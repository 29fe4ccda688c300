"""Tables in Markdown."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
  """A table of texts, its head first."""
  head, *body = ['| ' + ' | '.join(x.replace('|', r'\|') for x in row) + ' |'
                 for row in rows]
  return '\n'.join([head, '|' + '---|' * len(rows[0]), *body])
