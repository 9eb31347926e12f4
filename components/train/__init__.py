"""Stage `train`: the SafeReAct adapter and its baseline."""
