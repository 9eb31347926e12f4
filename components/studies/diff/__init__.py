"""Two evaluations' logs compared by prompt: those that another harness wrote, and nothing else."""
