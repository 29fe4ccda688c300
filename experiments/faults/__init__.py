"""What happens to a run that something happens to: faults, and promises."""
