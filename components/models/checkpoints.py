"""Checkpoints that exist already: where they lie, and whether they can be used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from components.core.errors import ConfigError, ModelError
from components.lm.architecture import check_supported, outline
from components.lm.configuration import read_document
from components.lm.loading import describe_checkpoint, fetch, load_tokenizer
from components.lm.references import ModelRef
from components.lm.weights import header, read_weights, stored_weights, weight_files

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


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
    """Return the reference of the checkpoint `name`; nothing of it is copied.

    Raises as `locate` does, and `ModelError` where the checkpoint is incomplete.
    """
    place = locate(name, revision, key=key)
    check_complete(place.folder)
    return describe_checkpoint(
        place.folder, location=place.name, where=place.where, revision=place.revision
    )


def check_complete(folder: Path) -> None:
    """Raise `ModelError` unless `folder` holds a whole model of a supported architecture.

    Only its settings and the headers of its files are read: it takes seconds and little memory.
    """
    model = outline(folder)
    check_supported(model)
    _check_tokenizer(folder, rows=model.config.vocab_size)


def same_weights(one: Path, other: Path) -> bool:
    """Return whether two checkpoints hold equal weights, however they are divided into files.

    It reads no further than to the first that differs.
    """
    files = {name: path for path in weight_files(other) for name, _ in header(path)}
    if stored_weights(one).keys() != files.keys():
        return False
    for name, tensor in read_weights(one):
        with safe_open(files[name], framework="pt", backend="pread") as weights:
            if not torch.equal(tensor.float(), weights.get_tensor(name).float()):
                return False
    return True


def _check_tokenizer(folder: Path, *, rows: int) -> None:
    """Raise `ModelError` where more tokens are defined than the model has embeddings for."""
    path = folder / "tokenizer.json"
    if path.exists() or path.is_symlink():
        read_document(path)
    # As it is read, since other files beside this one add tokens.
    highest = max(load_tokenizer(folder).get_vocab().values(), default=-1)
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
