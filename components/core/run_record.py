"""Where a result comes from: commit, versions, hardware, and what a stage cost."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import resource
import subprocess
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from components.core.paths import DECIDING
from components.core.storage import read_json, write_json

# What tells git of another repository than the one it is asked about; a git hook sets some.
OF_GIT = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_PREFIX"),
    *("GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
)
_COMPILED = "__pycache__"
PACKAGES = ("torch", "transformers", "peft", "mlflow", "prefect", "dvc", "great-expectations")


def git_commit(root: Path) -> tuple[str | None, bool]:
    """Return the commit of the checkout at `root`, and whether something that decides results may
    differ from it: a tracked file that does, or one that git does not track.

    The commit is None outside a git checkout or before the first commit.
    """
    if (commit := _git(root, "rev-parse", "HEAD")) is None:
        return None, False
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit, changed != "" or bool(untracked(root, DECIDING))


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


def beside_commit(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the files at or below `paths` that a clone of the commit of the checkout at `root`
    lacks or has otherwise; what git is told to ignore is left out."""
    places = ("--", *paths)
    changed = _git(root, "diff", "--relative", "--name-only", "-z", "HEAD", *places)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z", *places)
    names = {*(changed or "").split("\0"), *(new or "").split("\0")}
    return sorted(name for name in names if name and (root / name).is_file())


def differing(root: Path, commit: str, paths: Iterable[str]) -> list[str] | None:
    """Return the files at or below `paths` that differ between another commit and the one of the
    checkout at `root`; None where git does not know that commit."""
    found = _git(root, "diff", "--relative", "--name-only", "HEAD", commit, "--", *paths)
    return None if found is None else found.splitlines()


def _untracked(root: Path, place: PurePosixPath, known: Set[PurePosixPath]) -> list[str]:
    if place not in known:
        above = [folder for folder in place.parents[:-1] if folder not in known]
        return [str(above[-1] if above else place)]
    if not (root / place).is_dir() or (root / place).is_symlink():  # git tracks the link
        return []
    inside = sorted(child.name for child in (root / place).iterdir() if child.name != _COMPILED)
    return [lost for name in inside for lost in _untracked(root, place / name, known)]


def _git(root: Path, *words: str) -> str | None:
    settings = {name: value for name, value in os.environ.items() if name not in OF_GIT}
    command = ["git", "-C", str(root), *words]
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, env=settings
        ).strip()
    return None


def versions() -> dict[str, str]:
    """Return the installed versions of the libraries that shape a result."""
    found = {"python": platform.python_version(), **dict.fromkeys(PACKAGES, "not installed")}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@dataclass(slots=True)
class _Costs:
    """What a run has cost so far, and the part that is being measured."""

    peak: int = 0  # MiB, before the system was told to forget it
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    start: float | None = None  # of the part
    seconds_before: float = 0.0  # that killed runs spent on it
    peak_before: int = 0  # MiB, of those


_costs: ContextVar[_Costs | None] = ContextVar("costs", default=None)


@contextmanager
def run_record(path: Path) -> Iterator[dict[str, str | None]]:
    """Write seconds, peak memory, machine and versions of the block to `path` when it succeeds.

    What the block measured by `part` goes with it, by name, and what it puts into the mapping that
    it is given.
    """
    start, processor = time.perf_counter(), _processor_seconds()
    costs = _Costs()
    outer = _costs.set(costs)
    about: dict[str, str | None] = {}
    try:
        yield about
    finally:
        _costs.reset(outer)
    record = {
        **about,
        "seconds": round(time.perf_counter() - start, 2),
        "processor_seconds": round(_processor_seconds() - processor, 2),
        "peak_memory_mib": max(costs.peak, peak_memory()),
        "parts": costs.parts,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
    }
    write_json(path, record)


def take_parts(paths: Iterable[Path]) -> None:
    """Add the parts in the run records of child processes, `paths`, to this run's record.

    They worked at the same time: a part took as long as the slowest, and the memory of all.
    """
    costs = _costs.get()
    if costs is None:
        return
    taken: dict[str, dict[str, float]] = {}
    for path in paths:
        for name, cost in read_json(path)["parts"].items():
            total = taken.setdefault(name, {"seconds": 0.0, "peak_memory_mib": 0})
            total["seconds"] = max(total["seconds"], cost["seconds"])
            total["peak_memory_mib"] += cost["peak_memory_mib"]
            costs.peak = max(costs.peak, int(total["peak_memory_mib"]))
    costs.parts |= taken


@contextmanager
def part(name: str) -> Iterator[None]:
    """Measure the block's seconds and peak memory for the run record, under `name`.

    The peak is the process's while the block runs: with its libraries and whatever it still holds,
    without what earlier parts have freed. What `spent_before` says of killed runs is counted, too.
    Parts do not nest. Outside of a run record nothing is kept.
    """
    costs = _costs.get() or _Costs()
    outer = _costs.set(costs)
    costs.peak = max(costs.peak, peak_memory())
    _forget_peak()
    costs.start, costs.seconds_before, costs.peak_before = time.perf_counter(), 0.0, 0
    try:
        yield
        seconds, peak = spent()
    finally:
        costs.start = None
        _costs.reset(outer)
    costs.parts[name] = {"seconds": seconds, "peak_memory_mib": peak}
    costs.peak = max(costs.peak, peak)


def spent() -> tuple[float, int]:
    """Return the seconds and the peak memory in MiB of the part so far, with those of killed runs;
    zeros outside of a part."""
    costs = _costs.get()
    if costs is None or costs.start is None:
        return 0.0, 0
    seconds = costs.seconds_before + time.perf_counter() - costs.start
    return round(seconds, 2), max(costs.peak_before, peak_memory())


def spent_before(seconds: float, peak: int) -> None:
    """Count what a killed run had `spent` on this part when it left what now goes on."""
    costs = _costs.get()
    if costs is not None and costs.start is not None:
        costs.seconds_before += seconds
        costs.peak_before = max(costs.peak_before, peak)


def _processor_seconds() -> float:
    return sum(os.times()[:4])  # this process and its ended children


def _forget_peak() -> None:
    """Give back what was freed, and let the peak begin anew, where the system can: Linux with
    glibc, whose heap keeps freed memory (components/core/environment.py). Elsewhere a later peak
    may hold an earlier one."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    # See proc(5): 5 resets the peak resident set size of the process.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """Return the peak resident memory of this process in MiB.

    The kernel's own line is taken where there is one: `getrusage` begins with the memory of the
    process that started this one.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
            return round(int(found[1]) / 1024)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return round(peak / (1024 if platform.system() == "Linux" else 1024**2))
