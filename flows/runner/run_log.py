"""The log of a Prefect run: whoever approves there reads no terminal of a worker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

_TOLD_BY = ("components", "flows.runner")


class _RunLog(logging.Handler):
    """Hands on to the run, or to the task of it, in which a warning is given."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a warning; outside of a run there is no log that it belongs to."""
        try:
            get_run_logger().log(record.levelno, "%s", record.getMessage())
        except MissingContextError:
            return


@contextmanager
def warnings_in_run_log() -> Iterator[None]:
    """Put what is warned of within the block, such as a damaged signature, into the run's log."""
    handler = _RunLog(logging.WARNING)
    for name in _TOLD_BY:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in _TOLD_BY:
            logging.getLogger(name).removeHandler(handler)
