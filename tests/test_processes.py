"""One process alone: what is agreed on is what it has."""

import pytest

from adjax import processes


def test_one_process_agrees_with_itself():
  assert processes.together(lambda: 'done') == 'done'
  assert processes.together(lambda: None) is None
  assert processes.largest(3) == 3 and processes.largest(-2) == -2
  assert processes.as_first([4, 5]) == [4, 5] and processes.as_first([]) == []
  with processes.meeting() as barrier:
    assert barrier('here') is None
  with pytest.raises(OSError, match='of its own'), processes.meeting():
    raise OSError('of its own')


def test_what_an_action_raised_is_raised():
  error = OSError('the disk is full')

  def action():
    raise error

  with pytest.raises(OSError) as raised:
    processes.together(action)
  assert raised.value is error


def test_an_interruption_is_not_held_back():
  def action():
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    processes.together(action)
