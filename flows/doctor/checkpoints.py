"""Checkpoints on this machine: where they are and how large, without loading or fetching them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import ModelError, StageError
from components.core.storage import read_json
from components.models.settings import Checkpoints, PostTrain, Shape, TinyModels
from components.profile import Profile

# Owners whose models the hub gives only to people who accepted their licence.
_GATED = ("meta-llama",)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TINY_VOCABULARY = 300  # words of the embedded world, about


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checkpoint that a profile names under `models.<key>`."""

    key: str
    name: str  # a path, or owner/name on the hub
    revision: str | None
    root: Path

    @property
    def path(self) -> Path:
        """The file or folder, if the name is one."""
        return self.root / self.name

    @property
    def on_hub(self) -> bool:
        """Whether the stage `models` would take the name for a hub repository's.

        A path that exists comes first, and one beside which something lies is a mistyped path
        unless it has a revision.
        """
        if self.path.exists() or not HUB_ID.fullmatch(self.name):
            return False
        return self.revision is not None or not self.path.parent.is_dir()

    @property
    def gated(self) -> bool:
        """Whether the hub wants a token for it."""
        return self.on_hub and self.name.partition("/")[0] in _GATED

    def folder(self) -> Path | None:
        """Return the file or folder of the checkpoint, perhaps in the hub cache; None for none."""
        if not self.on_hub:
            return self.path if self.path.exists() else None
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            place = snapshot_download(self.name, revision=self.revision, local_files_only=True)
        except (LocalEntryNotFoundError, OSError, ValueError):
            return None
        return Path(place)


def wanted_checkpoints(profile: Profile, root: Path) -> list[Wanted]:
    """Return the checkpoints that a profile starts from; none where it builds them."""
    models = profile.models
    if isinstance(models, Checkpoints):
        return [
            Wanted("base", models.base, models.base_revision, root),
            Wanted("post_trained", models.post_trained, models.post_trained_revision, root),
        ]
    if isinstance(models, PostTrain):
        return [Wanted("source", models.source, models.source_revision, root)]
    return []


def complaint(place: Path) -> str | None:
    """Return what is wrong with a checkpoint that is there; None where it can be used."""
    if place.is_file() and place.suffix != ".gguf":
        return f"{place.name} is not a folder"
    from components.models.checkpoints import check_complete
    from components.models.gguf import check_gguf

    try:
        if place.is_file():
            check_gguf(place)
        else:
            check_complete(place)
    except (ModelError, StageError) as error:
        return str(error)
    except OSError as error:
        return f"{place} cannot be read: {error.strerror}"
    return None


def find_shape(profile: Profile, wanted: list[Wanted]) -> Shape | None:
    """Return the shape of the model that is trained; None where nothing here tells it.

    That of the checkpoint comes before the one that the profile declares.
    """
    models = profile.models
    if isinstance(models, TinyModels):
        return Shape(
            layers=models.layers,
            hidden=models.hidden,
            feed_forward=models.feed_forward,
            heads=models.heads,
            kv_heads=models.kv_heads,
            head_width=models.hidden // models.heads,
            vocabulary=_TINY_VOCABULARY,
            tied=True,
        )
    place = wanted[-1].folder()
    found = None if place is None else read_shape(place)
    return found or (models.shape if isinstance(models, Checkpoints) else None)


def read_shape(place: Path) -> Shape | None:
    """Return the shape that a checkpoint's folder or GGUF file tells; None where it does not."""
    if place.is_file():
        return _shape_of_gguf(place)
    try:
        return shape_from_config(read_json(place / "config.json"))
    except (StageError, OSError):
        return None


def shape_from_config(document: Any) -> Shape | None:
    """Return the shape in a config.json; None where it lacks a size."""
    if not isinstance(document, dict):
        return None
    heads = document.get("num_attention_heads")
    try:
        return Shape(
            layers=document["num_hidden_layers"],
            hidden=document["hidden_size"],
            feed_forward=document["intermediate_size"],
            heads=document["num_attention_heads"],
            kv_heads=document.get("num_key_value_heads") or heads,
            head_width=document.get("head_dim") or document["hidden_size"] // heads,
            vocabulary=document["vocab_size"],
            tied=document.get("tie_word_embeddings", False),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _shape_of_gguf(path: Path) -> Shape | None:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (OSError, ValueError, IndexError):
        return None

    def value(key: str) -> Any:
        field = reader.get_field(key)
        return None if field is None else field.contents()

    name = value("general.architecture")
    heads = value(f"{name}.attention.head_count")
    names = {tensor.name: tensor for tensor in reader.tensors}
    return shape_from_config(
        {
            "num_hidden_layers": value(f"{name}.block_count"),
            "hidden_size": value(f"{name}.embedding_length"),
            "intermediate_size": value(f"{name}.feed_forward_length"),
            "num_attention_heads": heads,
            "num_key_value_heads": value(f"{name}.attention.head_count_kv"),
            "head_dim": value(f"{name}.attention.key_length"),
            "vocab_size": len(value("tokenizer.ggml.tokens") or ()),
            "tie_word_embeddings": "output.weight" not in names,
        }
    )
