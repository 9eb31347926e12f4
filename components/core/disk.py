"""A disk that cannot be written to, as one message: no room, no permission, no answer.

Libraries report it as an `OSError`, as an error of their own around one, or, as SQLite and
safetensors do, in the text of a message.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from components.core.errors import InterruptionError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EROFS, errno.EACCES, errno.EPERM}
_TROUBLES = _NO_ROOM | _NO_PERMISSION | {errno.EIO, errno.ESTALE, errno.ENOLCK}
_NUMBERS = {os.strerror(number): number for number in (*_NO_ROOM, errno.EROFS, errno.EACCES)} | {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}
_NUMBER = re.compile(r"(?:\[Errno |\bos error )(\d+)", re.IGNORECASE)
_NEEDED = 16 << 20  # bytes; the databases of Prefect and MLflow take some of them at once


def disk_trouble(error: BaseException | None) -> str | None:
    """Return one message where a disk is behind `error`, or behind what caused it, else None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        number = error.errno if isinstance(error, OSError) and error.errno else None
        number = number or _number_in(str(error))
        if number in _TROUBLES:
            return _message(number, getattr(error, "filename", None), str(error))
        error = error.__cause__ or error.__context__
    return None


def printed_disk_trouble(text: str) -> str | None:
    """Return one message where a line of what a program printed reports a disk, else None."""
    numbered = ((_number_in(line), line.strip()) for line in text.splitlines())
    return next((_message(number, None, line) for number, line in numbered if number), None)


def check_writable(folders: Iterable[Path], *, needed: int = _NEEDED) -> None:
    """Raise `InterruptionError` unless a file of `needed` bytes can be put into each folder, or
    into the nearest that there is above it; nothing is left there."""
    for folder in folders:
        nearest = next(place for place in (folder, *folder.parents) if place.is_dir())
        try:
            with tempfile.TemporaryFile(dir=nearest) as stream:
                stream.write(b"\0")
                stream.flush()
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(stream.fileno(), 0, needed)
        except OSError as error:
            raise InterruptionError(_message(error.errno, str(folder), str(error))) from error


def check_temporary() -> None:
    """Raise `InterruptionError` unless there is a writable folder for temporary files."""
    try:
        place = tempfile.gettempdir()
    except OSError as error:
        raise InterruptionError(
            f"no folder takes temporary files ({error.strerror or error}); free some space there, "
            "or name another in TMPDIR"
        ) from error
    check_writable([Path(place)], needed=1 << 20)


def _number_in(text: str) -> int | None:
    found = _NUMBER.search(text)
    if found and int(found[1]) in _TROUBLES:
        return int(found[1])
    return next((number for words, number in _NUMBERS.items() if words in text), None)


def _message(number: int | None, path: str | None, text: str) -> str:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no words")[:240]
    where = path or f"what was to be written ({first})"
    why = f" ({os.strerror(number)})" if path and number else ""
    if number in _NO_ROOM:
        problem, remedy = "there is no room for", "free some space or raise the quota there"
    elif number in _NO_PERMISSION:
        problem = "there is no permission to write"
        remedy = "make it writable for this user, or work in a copy that is"
    else:
        problem, remedy = "the disk has failed at", "see to the disk or the file server"
    return f"{problem} {where}{why}; {remedy}, and run this again: what was finished is kept"
