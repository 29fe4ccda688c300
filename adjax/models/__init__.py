"""Sequence models: a full pass to train, and an equal cached step to act."""

from adjax import lazily

__getattr__ = lazily(__name__)
