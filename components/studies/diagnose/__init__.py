"""A pair of checkpoints asked the same prompts and compared, without training anything."""
