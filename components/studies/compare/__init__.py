"""Stage `compare`: other methods on the same prompts."""
