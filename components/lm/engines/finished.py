"""Finished requests on disk, so that a killed evaluation repeats none of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.journal import Journal
from components.core.storage import digest_bytes
from components.lm.engines.protocol import Completions, Engine, Request

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

    def add(self, finished: Mapping[str, Completions]) -> None:
        """Put finished requests on the disk before returning.

        Raises `InterruptionError` where there is no room, and then leaves the file as it was.
        """
        self.append({"key": key, "samples": samples} for key, samples in finished.items())
        self.known.update(finished)

    def resume(self, engine: Engine, of: str) -> Resumed:
        """Return `engine` so that it writes only what is not finished and notes what it writes.

        `of` is a digest of all that its completions depend on beside the request: checkpoint,
        adapter, prompt contract.
        """
        return Resumed(engine, self, digest_bytes(f"{engine.name}\n{of}".encode()))


@dataclass(frozen=True, slots=True)
class Resumed:
    """An engine that asks another one only for what no earlier process has finished."""

    engine: Engine
    finished: FinishedRequests
    key: str

    @property
    def name(self) -> str:
        """The name of the engine that writes."""
        return self.engine.name

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a completion."""
        return self.engine.ends

    def write(self, requests: Sequence[Request]) -> Iterator[dict[int, Completions]]:
        """Yield the finished requests by their index, those known already first."""
        keys = [digest_bytes(f"{self.key}\n{request.key}".encode()) for request in requests]
        known = {
            i: samples for i, key in enumerate(keys) if (samples := self.finished.known.get(key))
        }
        if known:
            yield known
        rest = [i for i in range(len(requests)) if i not in known]
        for group in self.engine.write([requests[i] for i in rest]):
            written = {rest[i]: samples for i, samples in group.items()}
            self.finished.add({keys[i]: samples for i, samples in written.items()})
            yield written
