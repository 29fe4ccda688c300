"""How a model is trained, and on what; a Config makes a Trainer."""
