"""Reinforcement learners: sources that are distilled, and references."""
