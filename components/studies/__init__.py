"""Experiments on a finished chain."""
