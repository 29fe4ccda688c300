"""Environments of gymnax 1.0; a Config makes a TaskDistribution."""
