"""The judge `rules`: how refusals and answers are worded."""
