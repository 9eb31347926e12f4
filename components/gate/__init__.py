"""Stage `gate`: the decision on one adapter, from files alone."""
