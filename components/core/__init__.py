"""What every room may use; nothing here loads a heavy library."""
