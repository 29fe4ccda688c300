"""Launchers: the only place with absl flags."""
