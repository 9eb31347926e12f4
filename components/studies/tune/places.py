"""Where a search runs what it tries: in this process, one after the other, or in Ray workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, TypeVar

from components.core.errors import ConfigError, SafeReActError
from components.core.paths import Workspace
from components.core.result import RateFigure
from components.core.vocabulary import Arm
from components.lm.engines.hosts import in_worker
from components.lm.engines.ray_workers import ADDRESS, RayWorkers
from components.profile import Profile
from components.studies.tune.trials import REFERENCES, Bench, Setting, open_bench

Item = TypeVar("Item")
Done = TypeVar("Done")


class Place(Protocol):
    """What lends a bench to work, `at_once` times at once."""

    at_once: int

    def map(self, work: Callable[[Bench, Item], Done], items: Sequence[Item]) -> Iterator[Done]:
        """Yield what `work` returns of every item, in the items' order."""


class InProcess:
    """The bench of this process."""

    at_once = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def map(self, work: Callable[[Bench, Item], Done], items: Sequence[Item]) -> Iterator[Done]:
        """Yield what `work` returns of every item, in the items' order."""
        return (work(self._bench, item) for item in items)


@contextmanager
def open_place(bench: Bench) -> Iterator[Place]:
    """Yield where the work on a bench is done, as the environment says.

    A Ray worker opens the bench itself from the repository's folders, with the judges, so that this
    process holds no model. Raises what `RayWorkers` raises.
    """
    if not os.environ.get(ADDRESS):
        yield InProcess(bench)
        return
    load = partial(_open_alike, bench.profile, bench.workspace, bench.settings, bench.inputs)
    with closing(RayWorkers(in_worker(load))) as workers:
        yield workers


def _open_alike(profile: Profile, workspace: Workspace, settings: Any, inputs: str) -> Bench:
    """Return the bench in a Ray worker; raises `ConfigError` where its `inputs` are others."""
    os.chdir(workspace.root)  # from where local checkpoints are named
    bench = open_bench(profile, workspace, settings)
    if bench.inputs != inputs:
        raise ConfigError(
            f"a Ray worker finds other results in {workspace.root}, or has other code, than the "
            "process that asks it; let every machine see the same repository there, and install "
            "the same version on all of them"
        )
    return bench


def measure_references(bench: Bench, place: Place) -> dict[Arm, dict[str, RateFigure]]:
    """Return the figures of the models that the adapter is to be compared with."""
    left = [arm for arm in REFERENCES if arm not in bench.measured]
    bench.measured.update(zip(left, place.map(Bench.measure, left), strict=True))
    return dict(bench.measured)


class Tried(NamedTuple):
    """What became of a trial, and when, in seconds of the epoch."""

    rates: dict[str, RateFigure]  # none where it failed
    failure: str | None
    begin: float
    end: float


def run_trial(scratch: Path, bench: Bench, setting: Setting) -> Tried:
    """Return what became of a setting, tried in a folder of its own below `scratch`; a failure that
    a user can mend is kept with its reason."""
    begin, rates, failure = time.time(), dict[str, RateFigure](), None
    with TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as own:
        try:
            rates = bench.run(setting, Path(own))
        except SafeReActError as error:
            failure = str(error)
    return Tried(rates, failure, begin, time.time())
