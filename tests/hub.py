"""Commits of hub data sets in a hub cache on disk, as huggingface_hub lays them out."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from hashlib import sha1
from pathlib import Path


def write_commit(
    cache: Path,
    name: str,
    commit: str,
    files: Mapping[str, str],
    *,
    missing: Collection[str] = (),
    listed: bool = True,
) -> Path:
    """Put a commit of a data set into a hub cache and return its snapshot's folder.

    Of `files` those in `missing` were not fetched. With `listed` false the list of the commit's
    files was not kept.
    """
    repository = cache / f"datasets--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    entries = {}
    for path, text in files.items():
        blob = repository / "blobs" / sha1(text.encode()).hexdigest()
        entries[path] = {"size": len(text.encode()), "blob_id": blob.name}
        if path in missing:
            continue
        place = snapshot / path
        for folder in (blob.parent, place.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_text(text, encoding="utf-8")
        place.symlink_to(blob)
    if listed:
        trees = repository / "trees"
        trees.mkdir(exist_ok=True)
        document = {"format_version": 1, "files": entries}
        (trees / f"{commit}.json").write_text(json.dumps(document), encoding="utf-8")
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    return snapshot
