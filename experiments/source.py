"""adjax.cli.source as `python -m experiments.source`, from a clone."""

from adjax.cli import source

if __name__ == '__main__':
  source.start()
