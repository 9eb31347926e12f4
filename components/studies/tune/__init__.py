"""The search for a better setting of the training."""
