"""The MLflow registry: register, promote, roll back, pull, verify."""
