"""Stage `evaluate`: the pair, its adapters and the champion on the same test prompts."""
