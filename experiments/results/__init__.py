"""Published figures, each from a small JSON in rows/, and their tables."""
