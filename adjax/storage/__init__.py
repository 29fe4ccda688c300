"""What is kept on disk: checkpoints, and histories larger than memory."""
