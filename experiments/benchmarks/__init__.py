"""How fast each stage is, beside what else one could use."""
