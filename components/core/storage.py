"""Bytes on disk: atomic writes, digests, JSON, JSON lines, Parquet."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from components.core.errors import ConfigError, StageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# The files of a checkpoint that decide what it does.
CHECKPOINT_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt")
# Permissions: completions are nobody else's to read; what git tracks is for everybody.
OWNER, EVERYBODY = 0o600, 0o644
# In the scratch of a resumable folder: what it belongs to, the results on their way, the old ones.
_KEY, _WHOLE, _OLD = ".key", ".whole", ".old"
_SURROGATE = re.compile("[\ud800-\udfff]")


@contextmanager
def atomic_path(path: Path, *, mode: int = OWNER) -> Iterator[Path]:
    """Yield a scratch path beside `path` that becomes `path` on success and vanishes on failure.

    The file is its owner's alone unless `mode` says otherwise.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(mode)
        scratch.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write does not name its file
        raise
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty scratch folder that replaces `folder` on success and vanishes on failure.

    What a killed process left of an earlier scratch folder is removed first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(0o700)
    try:
        yield scratch
        shutil.rmtree(folder, ignore_errors=True)
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def resumable_folder(folder: Path, key: str, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a scratch folder that replaces `folder` on success and outlives a killed process.

    It lies beside `folder`, or at `scratch`, in the same file system.

    It is empty, unless an earlier process ended without success under the same `key`: then it is
    that process's. What a user mends in settings, inputs or code changes the key, and begins anew;
    what is mended elsewhere, such as an address or a full disk, goes on.

    What is hidden or discarded in it does not come into `folder` and is removed last, so a process
    that is killed before the results are in place leaves all that they came from.
    """
    scratch = scratch or folder.with_name(f".{folder.name}.partial")
    for place in (folder, scratch):
        place.parent.mkdir(parents=True, exist_ok=True)
    mark = scratch / _KEY
    _take_back(scratch, folder)
    if not mark.is_file() or mark.read_text(encoding="utf-8") != key:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(0o700)
        write_text(mark, key)
    for torn in scratch.glob(".*"):
        if torn != mark and torn.is_file():  # what a killed process was about to write
            torn.unlink()
    yield scratch
    _put_in_place(scratch, folder)


def keep_private(folder: Path) -> None:
    """Make `folder` with whatever is below it its owner's alone.

    One that was made before and that everybody may read is closed, too; one that its owner has
    opened to a group alone stays so.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(0o700, exist_ok=True)
    about = folder.stat()
    if about.st_uid == os.getuid() and stat.S_IMODE(about.st_mode) & 0o007:
        with suppress(PermissionError):  # of a file system that knows no permissions
            folder.chmod(0o700)


def discard(path: Path) -> None:
    """Remove a file that is no result: in a resumable folder with its end, elsewhere at once."""
    if (path.parent / _KEY).is_file():
        _discarded(path).touch()
    else:
        path.unlink()


def _discarded(path: Path) -> Path:
    return path.with_name(f".{path.name}.discarded")


def _put_in_place(scratch: Path, folder: Path) -> None:
    """Replace `folder`, never there in part, by the results in `scratch`, and remove the rest."""
    whole = scratch / _WHOLE
    whole.mkdir(0o700)
    for path in list(scratch.iterdir()):
        if not path.name.startswith(".") and not _discarded(path).exists():
            path.replace(whole / path.name)
    if folder.exists():
        folder.replace(scratch / _OLD)
    whole.replace(folder)
    (scratch / _KEY).unlink()
    shutil.rmtree(scratch, ignore_errors=True)


def _take_back(scratch: Path, folder: Path) -> None:
    """Undo what a process that was killed in `_put_in_place` has moved."""
    whole, old = scratch / _WHOLE, scratch / _OLD
    if whole.is_dir():
        for path in list(whole.iterdir()):
            path.replace(scratch / path.name)
        whole.rmdir()
    if old.is_dir() and not folder.exists():
        old.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str, *, mode: int = OWNER) -> None:
    """Write `text` to `path`, wholly or not at all."""
    with atomic_path(path, mode=mode) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:
    """Write `document` as indented JSON with sorted keys; NaN and infinity are errors."""
    write_text(path, json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n")


def missing(path: Path) -> StageError:
    """Return the error of a stage's file that is not there."""
    return StageError(
        f"{path} is missing: the stage that writes it has not run here; `safereact run` with its "
        "--profile runs it"
    )


def read_json(path: Path) -> Any:
    """Return the JSON document in `path`; raises `StageError` naming a missing or broken file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except FileNotFoundError as error:
        raise missing(path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path} cannot be read as JSON: {error}") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; raises `ValueError` for a key that is given twice, of which
    the first value would be lost without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.80} is given twice")
    return found


def replace_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which no encoding can write, as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def write_rows(path: Path, rows: Iterable[DataclassInstance], kind: type) -> None:
    """Write dataclass rows of one kind as Parquet, one column a field, no timestamps.

    Lone surrogates, which UTF-8 has no place for, become U+FFFD.
    """
    import pandas as pd

    names = [field.name for field in fields(kind)]
    values = ([getattr(row, name) for name in names] for row in rows)
    plain = [[replace_surrogates(v) if type(v) is str else v for v in row] for row in values]
    frame = pd.DataFrame(plain, columns=names)
    with atomic_path(path) as scratch:
        frame.to_parquet(scratch, index=False)


def read_rows(
    source: Path | IO[bytes], columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file as mappings, of all columns or of some; missing values are
    None. Raises `StageError` for what cannot be read so, a folder too."""
    from pyarrow import ArrowException, parquet

    try:
        if isinstance(source, Path) and source.is_dir():  # whose files pyarrow would put together
            raise IsADirectoryError(f"{source} is a folder")
        table = parquet.read_table(source, columns=columns, partitioning=None)
        rows: list[dict[str, Any]] = table.to_pylist()
    except (OSError, ValueError, OverflowError, ArrowException) as error:
        raise StageError(f"{source} cannot be read as Parquet: {error}") from error
    return rows


def write_json_lines(path: Path, documents: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON objects, a line each, wholly or not at all."""
    write_text(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in documents))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file; raises `StageError` naming a line that is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read: {error}") from error
    documents = []
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line, object_pairs_hook=_each_once) if line.strip() else None
        except (ValueError, RecursionError) as error:
            raise StageError(f"{path}, line {number}, is not JSON: {error}") from error
        if isinstance(document, dict):
            documents.append(document)
        elif line.strip():
            raise StageError(f"{path}, line {number}, is no JSON object")
    return documents


def digest_bytes(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def records_in(folder: Path, ending: str) -> list[Path]:
    """Return the files in `folder` that end so, by name; none where it is not there.

    Raises `ConfigError` for one of another name, which nobody would miss: hidden files, pages
    (`.md`) and DVC's pointers alone may lie beside. So it does for a folder and a link to nothing.
    """
    if not folder.is_dir():
        if folder.exists() or folder.is_symlink():
            raise ConfigError(f"{folder} is no folder: move it away, or put the folder there")
        return []
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in found:
        if not path.is_file():
            what = "a link to nothing" if path.is_symlink() else "no file"
            raise ConfigError(
                f"{path} is {what}, so that nothing of it is read: put the file there, or move it "
                "away"
            )
        if path.suffix not in (ending, ".md", ".dvc"):
            raise ConfigError(
                f"{path} is not read, since files there end in {ending}: rename it, or move it away"
            )
    return [path for path in found if path.suffix == ending]


def digest_folder(
    folder: Path, *, suffixes: tuple[str, ...] | None = None, without: Collection[Path] = ()
) -> str:
    """Return one SHA-256 over the names and contents of a folder's files.

    Hidden files and those in `without` do not count; with `suffixes`, only files that end so do.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        left_out = hidden or path in without or (suffixes and path.suffix not in suffixes)
        if left_out or not path.is_file():
            continue
        digest.update(name.as_posix().encode() + b"\0" + digest_file(path).encode() + b"\n")
    return digest.hexdigest()
