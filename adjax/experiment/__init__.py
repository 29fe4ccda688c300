"""Whole runs: an experiment as a value, and all that a run of it does."""
