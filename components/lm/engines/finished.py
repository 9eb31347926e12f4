"""Finished requests on disk, so that a killed evaluation repeats none of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from components.core.journal import Journal
from components.core.storage import digest_bytes
from components.lm.engines.protocol import Completions, Engine, Groups, Request

log = logging.getLogger(__name__)


class FinishedRequests(Journal):
    """What was written so far, each request under its key."""

    def __init__(self, path: Path) -> None:
        self.known: dict[str, Completions] = {}
        super().__init__(path)
        if self.known:
            log.info("going on after %d finished requests", len(self.known))

    def take(self, line: dict[str, Any]) -> None:
        """Take in a request that an earlier process finished."""
        self.known[line["key"]] = tuple(tuple(ids) for ids in line["samples"])

    def resume(self, engine: Engine, of: str) -> Engine:
        """Return `engine` so that it writes only what is not finished and notes what it writes.

        `of` is a digest of all that its completions depend on beside the request: checkpoint,
        adapter, prompt contract. What is known already comes first.
        """
        key = digest_bytes(f"{engine.name}\n{of}".encode())
        return Engine(engine.name, engine.ends, partial(self._write, engine, key))

    def _write(self, engine: Engine, of: str, requests: Sequence[Request]) -> Groups:
        keys = [digest_bytes(f"{of}\n{request.key}".encode()) for request in requests]
        known = {i: samples for i, key in enumerate(keys) if (samples := self.known.get(key))}
        if known:
            yield known
        rest = [i for i in range(len(requests)) if i not in known]
        for group in engine.write([requests[i] for i in rest]):
            written = {rest[i]: samples for i, samples in group.items()}
            self.append({"key": keys[i], "samples": samples} for i, samples in written.items())
            self.known |= {keys[i]: samples for i, samples in written.items()}
            yield written
