"""Stage `baselines`: other methods' adapters."""
