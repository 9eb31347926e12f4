"""Logs of Inspect (`.eval` or `.json`). Its package is an extra."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.core.errors import DataError
from components.evaluate.exports.inspect_log import check_inspect
from components.studies.diff.inspect_process import MEMORY, PROCESS, Header, Sample
from components.studies.diff.logs import MOST_BYTES, Log, Scored, shown

HARNESS = "Inspect"
MOST_JSON = 512 << 20  # bytes; Inspect reads a .json log in one piece
# A packed log that unpacks to more than this, and to so many times its size, is none.
_UNSUSPICIOUS, _MOST_PACKED = 64 << 20, 200


def read_inspect(path: Path, files: Iterable[Path]) -> Log:
    """Return the log that lies at `path` in `files`, of each task the newest.

    Raises `ConfigError` without the extra, and `DataError` for logs of several models, for one that
    is too large or that cannot be read, and for one that did not come to its end.
    """
    check_inspect()
    log = Log(HARNESS, path)
    headers: dict[Path, Header] = {file: _ask("header", file) for file in files}
    models = sorted({header["model"] for header in headers.values()})
    if len(models) > 1:
        raise DataError(
            f"{shown(path)} holds logs of more than one model: {', '.join(map(shown, models))}; "
            "name one file, or put those of each model into a folder of its own"
        )
    for task, (file, *older) in _newest(headers).items():
        if older:
            log.notes.append(
                f"of task {shown(task)} the newest run counts, {shown(file.name)}; "
                f"{len(older)} older not read"
            )
        _add(log, file, headers[file], _ask("samples", file))
    return log


def _newest(headers: dict[Path, Header]) -> dict[str, list[Path]]:
    """Return the files of each task, the newest first."""
    runs: dict[str, list[Path]] = {}
    for file in sorted(headers, key=lambda file: headers[file]["created"], reverse=True):
        runs.setdefault(headers[file]["task"], []).append(file)
    return runs


def _ask(what: str, file: Path) -> Any:
    """Return what the reader's process finds in a log; raises `DataError` where it cannot."""
    try:
        _check_size(file)
        found = PROCESS.ask([what, str(file.absolute())])
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        found = f"{type(error).__name__}: {error}"
    except subprocess.CalledProcessError:
        found = (
            f"its reader gave up, over too much time or more than {MEMORY >> 30} GiB; split the "
            "task, or convert the log to .eval, which takes less (`inspect log convert`)"
        )
    if isinstance(found, str):
        raise DataError(f"{shown(file)} cannot be read as a log of Inspect: {shown(found)}")
    return found


def _check_size(file: Path) -> None:
    """Raise `DataError` for a log that is too large, or is packed as no log is."""
    size, most = file.stat().st_size, MOST_JSON
    if file.suffix == ".eval":
        most = min(MOST_BYTES, max(_UNSUSPICIOUS, _MOST_PACKED * size))
        with zipfile.ZipFile(file) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
    if size > most:
        raise DataError(f"{shown(file)} has more than {most >> 20} MiB, unpacked; split the task")


def _add(log: Log, file: Path, header: Header, samples: list[Sample]) -> None:
    task = header["task"]
    seen: set[tuple[str, int]] = set()
    for sample in samples:
        key = (sample["id"], sample["epoch"])
        if key in seen:
            raise DataError(f"{shown(file)} has sample {shown(key[0])}, epoch {key[1]}, twice")
        seen.add(key)
        if reason := sample["left_out"]:
            log.left_out[f"samples of task {shown(task)} {reason}"] += 1
            continue
        values = sample["values"]
        for metric in (metric for metric, value in values.items() if value is None):
            log.left_out[f"values of {shown(metric)} of task {shown(task)} that are no number"] += 1
        known = {metric: value for metric, value in values.items() if value is not None}
        log.add(task, key[0], Scored(content=sample["content"], form=""), known)
    if header["status"] != "success" and not _is_complete(header, seen):
        raise DataError(
            f"{shown(file)} has the status {shown(header['status'])} and not all of its samples; "
            "finish it with `inspect eval-retry`"
        )
    if task not in log.tasks:
        raise DataError(f"{shown(file)} holds no sample with a score; score it, or run it again")


def _is_complete(header: Header, seen: set[tuple[str, int]]) -> bool:
    planned, epochs = header["planned"], header["epochs"]
    if not planned or len(planned) * epochs > len(seen):
        return False
    return seen >= {(name, epoch) for name in planned for epoch in range(1, epochs + 1)}
