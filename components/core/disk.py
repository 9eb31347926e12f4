"""What a disk has against being written to, as one message: no room, no permission, no answer.

Libraries tell it in many ways: as an `OSError`, as an error of their own around one, or in words
alone, as SQLite and safetensors do.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.core.errors import InterruptionError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EROFS, errno.EACCES, errno.EPERM}
_TROUBLES = NO_ROOM | _NO_PERMISSION | {errno.EIO, errno.ESTALE, errno.ENOLCK}
# What SQLite says, whose errors carry no number; and the number where it stands in the words.
_WORDS = {
    "database or disk is full": errno.ENOSPC,
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "attempt to write a readonly database": errno.EROFS,
    "Read-only file system": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "Permission denied": errno.EACCES,
    "disk I/O error": errno.EIO,
}
_NUMBER = re.compile(r"(?:\[Errno |\bos error )(\d+)", re.IGNORECASE)
_NEEDED = 16 << 20  # bytes; the databases of Prefect and MLflow take some of them at once


def disk_trouble(error: BaseException) -> str | None:
    """Return one message where a disk is behind `error`, or behind what caused it, else None."""
    for one in _chain(error):
        number = one.errno if isinstance(one, OSError) and one.errno else _number_in(str(one))
        if number in _TROUBLES:
            return _message(number, getattr(one, "filename", None), str(one))
    return None


def trouble_told(text: str) -> str | None:
    """Return one message where what a program printed tells of a disk, else None."""
    lines = (line for line in text.splitlines() if _number_in(line) in _TROUBLES)
    line = next(lines, None)
    return None if line is None else _message(_number_in(line), None, line.strip())


def check_writable(folders: Iterable[Path], *, needed: int = _NEEDED) -> None:
    """Raise `InterruptionError` unless a file of `needed` bytes can be put into each folder, or
    into the nearest that there is above it; nothing is left there."""
    for folder in folders:
        there = next(place for place in (folder, *folder.parents) if place.is_dir())
        try:
            with tempfile.TemporaryFile(dir=there) as stream:
                stream.write(b"\0")
                stream.flush()
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(stream.fileno(), 0, needed)
        except OSError as error:
            raise InterruptionError(_message(error.errno, str(folder), str(error))) from error


def check_temporary() -> None:
    """Raise `InterruptionError` unless there is a folder for temporary files that can be written
    to."""
    try:
        place = tempfile.gettempdir()
    except OSError as error:
        raise InterruptionError(
            f"no folder takes temporary files ({error.strerror or error}); free some space there, "
            "or name another in TMPDIR"
        ) from error
    check_writable([Path(place)], needed=1 << 20)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _number_in(text: str) -> int | None:
    found = _NUMBER.search(text)
    if found and int(found[1]) in _TROUBLES:
        return int(found[1])
    return next((number for words, number in _WORDS.items() if words in text), None)


def _message(number: int | None, path: str | None, said: str) -> str:
    where = path or f"what was to be written ({_first_line(said)})"
    why = f" ({os.strerror(number)})" if path and number else ""
    if number in NO_ROOM:
        told, remedy = "there is no room for", "free some space or raise the quota there"
    elif number in _NO_PERMISSION:
        told = "there is no permission to write"
        remedy = "make it writable for this user, or work in a copy that is"
    else:
        told, remedy = "the disk has failed at", "see to the disk or the file server"
    return f"{told} {where}{why}; {remedy}, and run this again: what was finished is kept"


def _first_line(said: str) -> str:
    return next((line.strip() for line in said.splitlines() if line.strip()), "no words")[:240]
