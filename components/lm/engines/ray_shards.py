"""In-process engines in several Ray workers; the rows are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from components.lm.batches import by_length
from components.lm.engines.protocol import Engine, Groups, Host, Request
from components.lm.engines.ray_workers import PATIENCE, RayWorkers

_CHUNKS = 4  # a worker, so that the last ones to finish are not far apart


class RayHost(RayWorkers[Host]):
    """Workers that each hold one checkpoint, which `load` loads.

    `ends` are the tokens that end a completion.
    """

    def __init__(
        self, load: Callable[[], Host], ends: frozenset[int], *, patience: float = PATIENCE
    ) -> None:
        super().__init__(load, patience=patience)
        self._ends = ends

    def engine(self, arm: str, adapter: Path | None) -> Engine:
        """Return the engine of the checkpoint with the adapter in a folder, or without one."""
        return Engine("transformers", self._ends, partial(self._write, arm, adapter))

    def _write(self, arm: str, adapter: Path | None, requests: Sequence[Request]) -> Groups:
        work = partial(_written, arm, adapter)
        return self.spread(work, requests, _chunks(requests, self.at_once))


def _written(arm: str, adapter: Path | None, host: Host, requests: Sequence[Request]) -> Groups:
    return host.engine(arm, adapter).write(requests)


def _chunks(requests: Sequence[Request], workers: int) -> list[list[int]]:
    """Return the requests' indices in chunks of similar prompts, the longest first."""
    size = max(1, -(-len(requests) // (workers * _CHUNKS)))
    return list(by_length([request.prompt for request in requests], size))
