"""DVC stages in child processes, one run at a time."""
