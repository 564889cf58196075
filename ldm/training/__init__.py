"""Training the model: data, losses, schedules of learning rates, callbacks, checkpoints."""
