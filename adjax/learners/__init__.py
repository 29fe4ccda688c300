"""Reinforcement learners: sources that are distilled, and references."""

from adjax import lazily

__getattr__ = lazily(__name__)
