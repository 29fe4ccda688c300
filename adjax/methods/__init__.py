"""How a model is trained, and on what; a Config makes a Trainer."""

from adjax import lazily

__getattr__ = lazily(__name__)
