"""Errors that a user can mend. The command line shows their text without a traceback."""

from __future__ import annotations


class SafeReActError(Exception):
    """Something a user can mend; the message names the thing, the value and the remedy."""

    exit_code = 1


class InterruptionError(SafeReActError):
    """Work was stopped from outside: a full disk, a server that is gone; the next run goes on."""


class ConfigError(SafeReActError):
    """A profile, policy or command is wrong."""

    exit_code = 2


class DataError(SafeReActError):
    """A source, row or set of prompts is wrong."""


class ModelError(SafeReActError):
    """A checkpoint, tokenizer or adapter is missing, broken or of another model."""


class TeacherError(SafeReActError):
    """No candidate teacher passed its check."""


class TrainingError(SafeReActError):
    """Training cannot go on."""


class EvidenceError(SafeReActError):
    """Evidence is missing, stale or about something else."""


class StageError(SafeReActError):
    """A stage failed, or its inputs are not there."""


class RegistryError(SafeReActError):
    """The MLflow registry refused or does not hold what was asked for."""


class BusyError(SafeReActError):
    """Another run works in this repository."""
