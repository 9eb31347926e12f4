"""Checkpoints that exist already: where they lie, and whether they can be used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from components.errors import ConfigError, ModelError
from components.lm.loading import describe_checkpoint, fetch
from components.results import ModelRef
from components.storage import read_json

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_SHARDS = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a checkpoint was found."""

    name: str  # a path relative to the working folder where it lies below it, or a hub id
    where: str  # local or hub
    folder: Path
    revision: str | None


def locate(name: str, revision: str | None, *, key: str) -> Location:
    """Return where the checkpoint `name` of the profile's key `models.<key>` is.

    A local folder, or a hub repository at a full commit, which is fetched. Raises `ConfigError`
    where the name and the revision do not fit together, `ModelError` where there is nothing.
    """
    path = Path(name)
    if path.exists():
        if revision is not None:
            raise ConfigError(
                f"models.{key}_revision: {name!r} is a local folder, which has no revision; "
                "remove the key"
            )
        if not path.is_dir():
            raise ModelError(
                f"models.{key}: {name!r} is a file, not a folder with a checkpoint; a .gguf file "
                "can be the `source` of `kind: post-train`"
            )
        return Location(_relative(path), "local", path, None)
    if not _HUB_ID.fullmatch(name) or (revision is None and path.parent.is_dir()):
        raise ModelError(f"models.{key}: the folder {name!r} does not exist")
    if revision is None or not _COMMIT.fullmatch(revision):
        raise ConfigError(
            f"models.{key}: there is no folder {name!r}, and a hub checkpoint needs "
            f"models.{key}_revision, a commit of 40 hex digits (received {revision!r})"
        )
    return Location(name, "hub", fetch(name, revision), revision)


def describe(name: str, revision: str | None, *, key: str) -> ModelRef:
    """Return what there is to know of the checkpoint `name`; nothing of it is copied.

    Raises as `locate` does, and `ModelError` where the checkpoint is incomplete.
    """
    place = locate(name, revision, key=key)
    check_complete(place.folder)
    return describe_checkpoint(
        place.folder, location=place.name, where=place.where, revision=place.revision
    )


def check_complete(folder: Path) -> None:
    """Raise `ModelError` unless `folder` holds a whole model with safetensors weights."""
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds an adapter; merge it into its model and save that")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no checkpoint: config.json is missing")
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
        found = f" (only {', '.join(pickled)}, and pickled weights are not read)" if pickled else ""
        raise ModelError(
            f"{folder} has no .safetensors weights{found}; save the model with save_pretrained"
        )
    if (folder / _SHARDS).is_file():
        shards = set(read_json(folder / _SHARDS)["weight_map"].values())
        missing = sorted(shard for shard in shards if not (folder / shard).is_file())
        if missing:
            raise ModelError(f"{folder} lacks shards that its index names: {', '.join(missing)}")
    _check_tokenizer(folder)


def _check_tokenizer(folder: Path) -> None:
    """Raise `ModelError` where more tokens are defined than the model has embeddings for."""
    path = folder / "tokenizer.json"
    rows = read_json(folder / "config.json").get("vocab_size")
    if not path.is_file() or rows is None:
        return
    added = read_json(path).get("added_tokens", [])
    highest = max((token["id"] for token in added), default=-1)
    if highest >= rows:
        raise ModelError(
            f"{folder}: the tokenizer's token {highest} has no embedding (the model has {rows}); "
            "this tokenizer belongs to another model, or its embeddings were not resized"
        )


def _relative(path: Path) -> str:
    """Return `path` relative to the working folder where it lies below it, else as it is."""
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        return path.relative_to(Path.cwd()).as_posix()
    return path.as_posix()
