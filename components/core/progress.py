"""How far a long piece of work is, in the log."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Progress:
    """Logs `label` with how much of `total` is done, a line for every tenth of it."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self._done = self._logged = 0

    def add(self, done: int) -> None:
        """Count `done` more."""
        self._done += done
        if (tenths := 10 * self._done // self._total) > self._logged:
            self._logged = tenths
            log.info("%s %d/%d", self._label, self._done, self._total)
