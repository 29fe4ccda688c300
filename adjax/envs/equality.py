"""What is the same environment to jit and to types.cached."""

from typing import Any


class EqualByConfig:
  """An environment made from its config alone: equal if class and config are.

  Attributes:
    config: what it was made from.
  """
  config: Any

  def __eq__(self, other: object) -> bool:
    return (isinstance(other, EqualByConfig) and type(self) is type(other)
            and self.config == other.config)

  def __hash__(self) -> int:
    return hash((type(self), self.config))
