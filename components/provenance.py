"""Where a result comes from: commit, versions, hardware, and what a stage cost."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from components.storage import read_json, write_json

PACKAGES = ("torch", "transformers", "peft", "mlflow", "prefect", "dvc", "great-expectations")


def git_commit(root: Path) -> tuple[str | None, bool]:
    """Return the commit of the checkout at `root` and whether tracked files differ from it.

    The commit is None outside a git checkout or before the first commit.
    """
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit, bool(changed)


def untracked(root: Path, paths: Iterable[str]) -> list[str]:
    """Return what a clone of the checkout at `root` lacks of `paths`, which are relative to it: the
    topmost files and folders at, below or around them of which git tracks nothing.

    What does not exist or lies outside of `root` is left out.
    """
    names = (_git(root, "ls-files", "-z") or "").split("\0")
    tracked = [PurePosixPath(name) for name in names if name]
    known = {place for file in tracked for place in (file, *file.parents)}
    lost: dict[str, None] = {}
    for path in paths:
        place = PurePosixPath(os.path.relpath(root / path, root))
        if ".." not in place.parts and (root / place).exists():
            lost |= dict.fromkeys(_untracked(root, place, known))
    return list(lost)


def _untracked(root: Path, place: PurePosixPath, known: Set[PurePosixPath]) -> list[str]:
    if place not in known:
        above = [folder for folder in place.parents[:-1] if folder not in known]
        return [str(above[-1] if above else place)]
    if not (root / place).is_dir():
        return []
    inside = sorted(child.name for child in (root / place).iterdir())
    return [lost for name in inside for lost in _untracked(root, place / name, known)]


def _git(root: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def versions() -> dict[str, str]:
    """Return the installed versions of the libraries that shape a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@dataclass(slots=True)
class _Costs:
    """What a run has cost so far."""

    peak: int = 0  # MiB, before the system was told to forget it
    parts: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(slots=True)
class _Part:
    """A part that is being measured."""

    start: float
    seconds: float = 0.0  # that killed runs spent on it
    peak: int = 0  # MiB, of those


_costs: ContextVar[_Costs | None] = ContextVar("costs", default=None)
_part: ContextVar[_Part | None] = ContextVar("part", default=None)


@contextmanager
def run_record(path: Path) -> Iterator[None]:
    """Write seconds, peak memory, machine and versions of the block to `path` when it succeeds.

    What the block measured by `part` goes with it, by name.
    """
    start, processor = time.perf_counter(), time.process_time()
    with _measured() as costs:
        yield
    record = {
        "seconds": round(time.perf_counter() - start, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        # Under a launcher the work is done in child processes.
        "peak_memory_mib": max(costs.peak, _peak_memory(), _peak_memory(resource.RUSAGE_CHILDREN)),
        "parts": costs.parts,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
    }
    write_json(path, record)


@contextmanager
def parts_record(path: Path) -> Iterator[None]:
    """Write what the block measured by `part` to `path` when it succeeds, for the process that
    started this one and calls `take_parts`."""
    with _measured() as costs:
        yield
    write_json(path, costs.parts)


def take_parts(path: Path) -> None:
    """Add the parts that a child process left in `path` to this run's record; nothing where it
    left none."""
    costs = _costs.get()
    if costs is not None and path.is_file():
        costs.parts |= read_json(path)


@contextmanager
def _measured() -> Iterator[_Costs]:
    costs = _Costs()
    outer = _costs.set(costs)
    try:
        yield costs
    finally:
        _costs.reset(outer)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Measure the block's seconds and peak memory for the run record, under `name`.

    What `spent_before` says of killed runs is counted, too. Parts do not nest. Where the system
    cannot forget an earlier peak, as Linux can, a part's peak is the process's. Outside of a run
    record nothing is kept.
    """
    costs = _costs.get() or _Costs()
    costs.peak = max(costs.peak, _peak_memory())
    # See proc(5): 5 resets the peak resident set size of the process.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    outer = _part.set(_Part(time.perf_counter()))
    try:
        yield
        seconds, peak = spent()
    finally:
        _part.reset(outer)
    costs.parts[name] = {"seconds": seconds, "peak_memory_mib": peak}
    costs.peak = max(costs.peak, peak)


def spent() -> tuple[float, int]:
    """Return the seconds and the peak memory in MiB of the part so far, with those of killed runs;
    zeros outside of a part."""
    own = _part.get()
    if own is None:
        return 0.0, 0
    seconds = own.seconds + time.perf_counter() - own.start
    return round(seconds, 2), max(own.peak, _peak_memory())


def spent_before(seconds: float, peak: int) -> None:
    """Count what a killed run had `spent` on this part when it left what now goes on."""
    own = _part.get()
    if own is not None:
        own.seconds += seconds
        own.peak = max(own.peak, peak)


def _peak_memory(whose: int = resource.RUSAGE_SELF) -> int:
    """Return the peak resident memory in MiB, of this process or of its largest child."""
    peak = resource.getrusage(whose).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return round(peak / (1024 if platform.system() == "Linux" else 1024**2))
