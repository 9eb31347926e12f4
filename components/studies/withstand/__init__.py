"""Stage `withstand`: what is left of the restored safety when somebody undoes it."""
