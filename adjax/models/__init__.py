"""Sequence models: a full pass to train, and an equal cached step to act."""
