"""Stage `models`: the pair of an aligned base model and its post-trained descendant."""
