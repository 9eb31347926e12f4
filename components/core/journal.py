"""Finished work on disk, line by line, so that a killed process repeats none of it."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from components.core.disk import disk_trouble
from components.core.errors import InterruptionError, StageError
from components.core.storage import discard


class Journal(ABC):
    """A file of JSON objects, one a line, that only grows; a kind of it says what they mean.

    A last line that a killed process left torn is cut off. The file is discarded when the block
    that it is opened for ends well, since it is no result, and stays when it does not. Raises
    `StageError` where another line is broken.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = self._replay()
        self._stream = path.open("ab", buffering=0)
        self._stream.truncate(self._size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stream.close()
        if kind is None:
            discard(self._path)

    @abstractmethod
    def take(self, line: dict[str, Any]) -> None:
        """Take in what an earlier process appended; a `ValueError`, `TypeError` or `KeyError` says
        that it is broken."""

    def append(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Put the objects on the disk before returning.

        Raises `InterruptionError` where there is no room, and then leaves the file as it was.
        """
        content = memoryview("".join(json.dumps(line) + "\n" for line in lines).encode())
        size = self._size + len(content)
        try:
            while content:
                content = content[self._stream.write(content) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            self._stream.truncate(self._size)
            error.filename = error.filename or str(self._path)
            if trouble := disk_trouble(error):
                raise InterruptionError(trouble) from error
            raise
        self._size = size

    def _replay(self) -> int:
        """Take in every whole line and return the file's size without a torn last one."""
        content = self._path.read_bytes() if self._path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self.take(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise StageError(
                    f"line {number} of {self._path} is broken ({error}), which no interruption "
                    "does: delete the file, and what it holds is done anew"
                ) from error
        return len(whole)
