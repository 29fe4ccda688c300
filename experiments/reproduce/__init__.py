"""The paper's figures, each made of rows of experiments.results."""
