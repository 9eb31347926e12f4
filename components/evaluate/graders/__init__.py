"""Whether an answer is the reference answer."""
