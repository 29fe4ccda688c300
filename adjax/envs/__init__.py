"""Environments of gymnax 1.0; a Config makes a TaskDistribution."""

from adjax import lazily

__getattr__ = lazily(__name__)
