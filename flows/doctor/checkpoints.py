"""Checkpoints and data sets: where they are and how large, without loading or fetching them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import ModelError, StageError
from components.core.paths import SUITES
from components.judges.settings import GuardSettings
from components.models.settings import HUB_ID, Checkpoints, Shape, TinyModels
from components.prepare.hub import fetch_command, find_snapshot
from components.prepare.suites import Suite
from components.profile import Profile
from flows.doctor.findings import Finding, missing, warning

# Owners whose models the hub gives only to people who accepted their licence.
_GATED = ("meta-llama",)
_TINY_VOCABULARY = 300  # words of the embedded world, about


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checkpoint or data set that a profile names, and the key that pins it to a commit."""

    subject: str
    name: str  # a path, or owner/name on the hub
    revision: str | None
    pin: str
    root: Path
    dataset: bool = False
    terms: bool = False  # the hub gives it only to those who accepted its terms
    weights_only: bool = False  # it writes nothing, so it may lack a chat template

    @property
    def path(self) -> Path:
        """The file or folder, if the name is one."""
        return self.root / self.name

    @property
    def on_hub(self) -> bool:
        """Whether the stage would take the name for a hub repository's.

        A path that exists comes first, and one beside which something lies is a mistyped path
        unless it has a revision.
        """
        if self.dataset:
            return True
        if self.path.exists() or not HUB_ID.fullmatch(self.name):
            return False
        return self.revision is not None or not self.path.parent.is_dir()

    def place(self) -> Path | None:
        """Return its file or folder, perhaps in the hub cache; None for none, and for a name on the
        hub without its commit."""
        from huggingface_hub import snapshot_download

        if not self.on_hub:
            return self.path if self.path.exists() else None
        if not self.revision:
            return None
        if self.dataset:
            return find_snapshot(self.name, self.revision)
        with suppress(OSError, ValueError):
            return Path(snapshot_download(self.name, revision=self.revision, local_files_only=True))
        return None

    def absent(self) -> Finding:
        """Return what to do about it where it is not here."""
        from huggingface_hub import get_token

        subject, kind = self.subject, "datasets" if self.dataset else "models"
        if not self.on_hub:
            return missing(subject, f"{self.name} is not there", "put it there")
        if self.revision is None:
            remedy = f"`hf {kind} info {self.name}` shows its sha: write {self.pin}"
            return missing(subject, f"{self.name} is not pinned", remedy)
        fetch = f"hf download {self.name} --revision {self.revision}"
        fetch = fetch_command(self.name, self.revision) if self.dataset else fetch
        if (self.terms or self.name.partition("/")[0] in _GATED) and not get_token():
            remedy = "accept its terms on the hub, then set HF_TOKEN or `hf auth login`"
            return missing(subject, f"{self.name} is gated, and no token is set", remedy)
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
            return missing(subject, f"{self.name} is not here, and HF_HUB_OFFLINE is set", fetch)
        return warning(subject, f"{self.name} is fetched by the first run", fetch)


def wanted_checkpoints(profile: Profile, root: Path) -> list[Wanted]:
    """Return the checkpoints that a profile starts from, the one that is trained last; none where
    it builds them."""
    found, named = [], profile.models.model_dump()
    for key in ("base", "ancestor", "post_trained", "source"):
        if name := named.get(key):
            pin = f"{key}_revision"
            place = (f"models.{key}", name, named[pin], f"models.{pin}", root)
            found.append(Wanted(*place, weights_only=key == "ancestor"))
    return found


def wanted_guard(name: str, guard: GuardSettings, root: Path) -> Wanted:
    """Return the checkpoint of the judge `name`."""
    pin = f"evaluate.judges.{name}.revision"
    return Wanted(f"judge {name}", guard.model, guard.revision, pin, root)


def wanted_suite(suite: Suite, root: Path) -> Wanted | None:
    """Return the hub data set of a suite; None where its prompts are a file."""
    if (hub := suite.source.hub) is None:
        return None
    name, pin = f"suite {suite.name}", f"source.revision of {SUITES}/{suite.name}.yaml"
    return Wanted(name, hub, suite.source.revision, pin, root, dataset=True, terms=suite.gated)


def complaint(place: Path, *, weights_only: bool = False) -> str | None:
    """Return what is wrong with a checkpoint that is there; None where it can be used."""
    if place.is_file() and place.suffix != ".gguf":
        return f"{place.name} is not a folder"
    from components.lm.architecture import outline
    from components.models.checkpoints import check_complete, check_gguf

    try:
        (outline if weights_only else check_gguf if place.is_file() else check_complete)(place)
    except (ModelError, StageError) as error:
        return str(error)
    except OSError as error:
        return f"{place} cannot be read: {error.strerror}"
    return None


def find_shape(profile: Profile, wanted: Sequence[Wanted]) -> Shape | None:
    """Return the shape of the model that is trained; None where nothing here tells it.

    That of the checkpoint comes before the one that the profile declares.
    """
    models = profile.models
    if isinstance(models, TinyModels):
        sizes = models.model_dump(include={"layers", "hidden", "feed_forward", "heads", "kv_heads"})
        width = models.hidden // models.heads
        return Shape(**sizes, head_width=width, vocabulary=_TINY_VOCABULARY, tied=True)
    place = wanted[-1].place()
    found = None if place is None else read_shape(place)
    return found or (models.shape if isinstance(models, Checkpoints) else None)


def read_shape(place: Path) -> Shape | None:
    """Return the shape that a checkpoint's folder or GGUF file tells; None where it does not."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    from components.lm.configuration import CONFIG, read_document, refusing

    with suppress(ModelError), refusing(str(place)):
        gguf = place.is_file()
        return shape_from_config(
            load_gguf_checkpoint(place)["config"] if gguf else read_document(place / CONFIG)
        )
    return None


def shape_from_config(document: dict[str, Any]) -> Shape:
    """Return the shape in a config.json; raises whatever the lack of a size makes of it."""
    heads = document["num_attention_heads"]
    return Shape(
        layers=document["num_hidden_layers"],
        hidden=document["hidden_size"],
        feed_forward=document["intermediate_size"],
        heads=heads,
        kv_heads=document.get("num_key_value_heads") or heads,
        head_width=document.get("head_dim") or document["hidden_size"] // heads,
        vocabulary=document["vocab_size"],
        tied=document.get("tie_word_embeddings", False),
    )
