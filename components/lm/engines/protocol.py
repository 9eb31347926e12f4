"""What an engine is asked and what it gives back: token ids in, token ids out.

An engine says where completions are written: in this process, by vLLM, by a server, over Ray. What
is asked is the same everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from components.core.errors import ConfigError
from components.core.progress import Progress
from components.core.storage import digest_bytes

# Positions that the engine in memory caches at most, rows times width, padding included, where no
# GPU tells what it has free: 4 to 17 GB with models of 7 to 32 billion parameters.
CACHED_TOKENS = 65_536

# Those of one request; of each the token ids, with its end token last where it has one.
Completions = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and how it is to be completed; temperature 0 is greedy."""

    prompt: tuple[int, ...]
    max_new_tokens: int
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all tokens
    seed: int = 0

    def __post_init__(self) -> None:
        for field, holds, allowed in (
            ("prompt", len(self.prompt) > 0, "at least one token"),
            ("max_new_tokens", self.max_new_tokens > 0, "1 or more"),
            ("samples", self.samples > 0, "1 or more"),
            ("temperature", self.temperature >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("samples", self.samples == 1 or self.temperature > 0, "1 at temperature 0"),
        ):
            if not holds:
                raise ConfigError(
                    f"{field} of a request must be {allowed}, not {getattr(self, field)}"
                )

    @property
    def key(self) -> str:
        """SHA-256 over everything that is asked."""
        return digest_bytes(json.dumps(asdict(self), sort_keys=True).encode())

    def sample_seed(self, sample: int) -> int:
        """Return the seed of one sample, 63 bits, of the request's seed, its prompt and the
        sample's number alone; so a longer limit continues a completion that a shorter one cut."""
        parts = json.dumps([self.seed, self.prompt, sample]).encode()
        return int(digest_bytes(parts)[:16], 16) >> 1


Groups = Iterator[dict[int, Completions]]


@dataclass(frozen=True, slots=True)
class Engine:
    """What writes the completions of one model, with its adapter if it has one.

    `name` is the kind of engine, as evidence records it; `ends` are the tokens that end a
    completion. `write` yields the finished requests by their index, as soon as they are finished,
    each once.
    """

    name: str
    ends: frozenset[int]
    write: Callable[[Sequence[Request]], Groups]


class Host(Protocol):
    """What holds one checkpoint and lends engines of it, one at a time."""

    def engine(self, arm: str, adapter: Path | None) -> Engine:
        """Return the engine of the checkpoint with the adapter in a folder, or without one.

        The engine lent before is not to be used any more. `arm` is what a server calls the model.
        """

    def close(self) -> None:
        """Give back the memory that the checkpoint takes."""


def collect(engine: Engine, requests: Sequence[Request], *, label: str) -> list[Completions]:
    """Return the completions of every request, in the requests' order; progress goes to the log."""
    written: dict[int, Completions] = {}
    for finished in with_progress(engine, requests, label=label):
        written |= finished
    return [written[i] for i in range(len(requests))]


def with_progress(engine: Engine, requests: Sequence[Request], *, label: str) -> Groups:
    """Yield what the engine yields; every tenth of the requests is logged."""
    progress = Progress(label, len(requests))
    for group in engine.write(requests):
        yield group
        progress.add(len(group))
