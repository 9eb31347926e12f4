"""Where a result comes from: commit, versions, hardware, and what a stage cost."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from components.storage import write_json

PACKAGES = ("torch", "transformers", "peft", "mlflow", "prefect", "dvc", "great-expectations")


def git_commit(root: Path) -> tuple[str | None, bool]:
    """Return the commit of the checkout at `root` and whether tracked files differ from it.

    The commit is None outside a git checkout or before the first commit.
    """

    def git(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return answer.stdout.strip()

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return commit, bool(changed)


def versions() -> dict[str, str]:
    """Return the installed versions of the libraries that shape a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@contextmanager
def run_record(path: Path) -> Iterator[None]:
    """Write seconds, peak memory, machine and versions of the block to `path` when it succeeds."""
    start, processor = time.perf_counter(), time.process_time()
    yield
    record = {
        "seconds": round(time.perf_counter() - start, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        # Linux counts kilobytes, macOS bytes.
        "peak_memory_mib": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            / (1024 if platform.system() == "Linux" else 1024**2)
        ),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": versions(),
    }
    write_json(path, record)
