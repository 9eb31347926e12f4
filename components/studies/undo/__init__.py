"""Stage `undo`: a fine-tune on harmless rows, on top of the restored model."""
