"""adjax.cli.run as `python -m experiments.run`, from a clone."""

from adjax.cli import run

if __name__ == '__main__':
  run.start()
