"""Training: data, losses, learning-rate schedules, callbacks, checkpoints."""
