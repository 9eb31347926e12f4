"""Disks that are full or read-only, as the system has them: small mounts, and limits on files."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*words: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting takes root: {done.stderr.strip()}")


@contextmanager
def full(folder: Path, *, kilobytes: int = 16) -> Iterator[None]:
    """Put a disk of this size in place of `folder`, which is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k,nr_inodes=1000", "tmpfs", folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write into `folder`, root included; what is in it stays."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,ro,bind", folder)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
