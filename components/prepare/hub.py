"""Hub data sets as numbered rows, read from the pinned commit's own files.

A data set is fetched as the snapshot of one commit, and read from that folder alone.
`load_dataset(name, revision=…)` is not used: where the hub fails, it reads what another revision
left in its own cache, with a warning (datasets 5.2, `CachedDatasetModuleFactory`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.errors import DataError
from components.prepare.files import Row, as_written
from components.prepare.settings import Source

_OWN_FILE = "download it once and give its file as `path`"


def read_hub(source: Source) -> list[Row]:
    """Return the numbered rows of a source's hub data set at its commit.

    Raises `DataError` where the whole commit is neither in the hub cache nor can be fetched, does
    not hold the subset and split, needs its own code, or names files that are not its own.
    """
    name, revision = source.hub or "", source.revision or ""
    what = f"source {source.name!r}: hub data set {name!r} at {revision[:12]}"
    folder = _fetch(name, revision, what)
    script = folder / f"{name.rpartition('/')[2]}.py"
    if script.is_file():
        raise DataError(
            f"{what} is loaded by a script of its own ({script.name}), and no code of a data set "
            "is run; write its rows to a .jsonl, .csv or .parquet file and give that as `path`"
        )
    table = _load(folder, source.subset, source.hub_split, what)
    if not len(table):
        raise DataError(f"{what} holds no rows in {source.hub_split!r}")
    kinds = {field.name: field.type for field in table.features.arrow_schema}
    return [
        (number, {column: as_written(cell, kinds[column]) for column, cell in row.items()})
        for number, row in enumerate(table, start=1)
    ]


def find_snapshot(name: str, revision: str) -> Path | None:
    """Return the folder of a hub data set at a commit; None unless all of it is in the hub cache.

    Nothing is fetched.
    """
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return _snapshot(name, revision, fetch=False)
    except (OSError, ValueError, CachedRepoTreeNotFoundError):
        return None


def fetch_command(name: str, revision: str) -> str:
    """Return the command that puts a commit of a hub data set into the hub cache."""
    return f"hf download {name} --repo-type dataset --revision {revision}"


def _snapshot(name: str, revision: str, *, fetch: bool) -> Path:
    from huggingface_hub import get_cached_repo_tree, snapshot_download

    folder = snapshot_download(
        name, repo_type="dataset", revision=revision, local_files_only=not fetch
    )
    # Of a commit whose list of files is not there, the line above returns whatever part the cache
    # holds. This one raises.
    get_cached_repo_tree(name, repo_type="dataset", revision=revision)
    return Path(folder).resolve()


def _fetch(name: str, revision: str, what: str) -> Path:
    from huggingface_hub import errors as hub

    log_in = "log in (`hf auth login`, or set HF_TOKEN)"
    run = f"run `{fetch_command(name, revision)}` where the hub can be reached, or {_OWN_FILE}"
    page = f"https://huggingface.co/datasets/{name}"
    newest = f"`hf datasets info {name}` shows the newest"
    messages = {
        hub.GatedRepoError: f"is gated; accept its licence on {page}, then {log_in}, "
        f"or {_OWN_FILE}",
        hub.RevisionNotFoundError: f"is not on the hub; check `revision` ({newest})",
        hub.RepositoryNotFoundError: f"is not on the hub, or is private; check `hub`, or {log_in}",
        hub.CachedRepoTreeNotFoundError: "is in the hub cache without the list of its files, and "
        f"may be there only in part; {run}",
    }
    try:
        return _snapshot(name, revision, fetch=True)
    except (hub.CachedRepoTreeNotFoundError, OSError, ValueError) as error:
        fallback = (
            f"is not in the hub cache, or only in part, and cannot be fetched ({_why(error)}); "
            f"check `hub`, `revision` and the network, {run}"
        )
        known = (message for kind, message in messages.items() if isinstance(error, kind))
        raise DataError(f"{what} {next(known, fallback)}") from error


def _load(folder: Path, subset: str | None, split: str, what: str) -> Any:
    """Return the split as a table in memory, read from the files of `folder` and no other.

    What datasets prepares from them goes into a folder that is thrown away: the key of its cache
    would tell two commits apart by the folder's name alone, and a part from the whole not at all.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        try:
            builder = datasets.load_dataset_builder(str(folder), subset, cache_dir=cache)
            _refuse_foreign(builder.config.data_files or {}, folder, what)
            builder.download_and_prepare()
            return builder.as_dataset(split=split, in_memory=True)
        except (OSError, ValueError, RuntimeError, TypeError, KeyError, DatasetsError) as error:
            check = f"check `subset` and `hub_split`, or {_OWN_FILE}"
            raise DataError(f"{what} cannot be loaded ({_why(error)}); {check}") from error


def _refuse_foreign(data_files: Mapping[str, Sequence[str]], folder: Path, what: str) -> None:
    """Raise `DataError` for a file outside `folder`, which a data set's card may name."""
    for file in (file for files in data_files.values() for file in files):
        # A file within an archive is written as `zip://inner.csv::archive.zip`.
        place = file.rpartition("::")[2]
        if not Path(os.path.normpath(place)).is_relative_to(folder):
            raise DataError(
                f"{what} names a file that is not its own ({file}), which its commit does not pin; "
                "download the rows and give their file as `path`"
            )


def _why(error: BaseException) -> str:
    causes = ": ".join(str(one) for one in (error, error.__cause__) if one is not None)
    return f"{' '.join(causes.split()):.300}"
