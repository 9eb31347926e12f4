"""A registered version that answers: verified, and on the model that it was evaluated on.

The version holds the adapter; its model is found by reference, on the hub at its commit or in the
folder that the adapter names or `SAFEREACT_BASE`, and refused where its digest or its chat template
is another one than was evaluated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components.core.errors import ConfigError, ModelError
from components.core.paths import find_root
from components.core.section import Sampling
from components.core.storage import CHECKPOINT_FILES, read_json
from components.core.vocabulary import Completion
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.lm.adapters import attach_adapter
from components.lm.chat import opens_thought, prompt_contract, render_prompt, split_completion
from components.lm.engines.protocol import Request, collect
from components.lm.generation import engine_of
from components.lm.loading import context_length, fetch, free_memory, load_model, load_tokenizer
from components.lm.references import ModelRef
from components.lm.weights import ADAPTER_SETTINGS, ADAPTER_WEIGHTS, digest_checkpoint
from components.models.result import Models
from components.registry.delivery import find_version
from components.registry.mlflow_registry import EVIDENCE, Registry
from components.registry.verification import Verified, verify_files, verify_version

BASE = "SAFEREACT_BASE"
_BATCH = 8


class Usable(NamedTuple):
    """A verified version and the folder of its own model."""

    number: str  # empty: of files whose number is not known
    adapter: Path
    model: Path
    models: Models  # its pair, as it was evaluated
    evidence: Evidence
    decision: Decision


def bring_version(registry: Registry, name: str, alias: str, folder: Path) -> Usable:
    """Return the version that `alias` (or a version's number) names, after bringing its files into
    `folder`.

    Raises as `find_version` and `verify_version` do, and `ModelError` for a model that is not to be
    had or is another one than was evaluated.
    """
    version = find_version(registry, name, alias)
    folder.mkdir(parents=True, exist_ok=True)
    return _on_its_model(verify_version(registry, version, folder), folder, version.number)


def open_version(folder: Path) -> Usable:
    """Return the version whose files lie in `folder`. Raises `EvidenceError` for files that do not
    hold together, and `ModelError` as `bring_version` does."""
    return _on_its_model(verify_files(folder), folder, "")


def _on_its_model(verified: Verified, folder: Path, number: str) -> Usable:
    models = Models.load(folder / EVIDENCE)
    model = models.post_trained
    place = _model_folder(verified.adapter, model)
    if (found := digest_checkpoint(place)) != model.digest:
        raise ModelError(
            f"{place} is the checkpoint {found:.12}, and this adapter was evaluated on "
            f"{model.digest:.12}; name the folder of that one as {BASE}"
        )
    if prompt_contract(load_tokenizer(place)) != model.contract:
        raise ModelError(f"the chat template in {place} is not the one that was evaluated")
    return Usable(number, verified.adapter, place, models, verified.evidence, verified.decision)


def _model_folder(adapter: Path, model: ModelRef) -> Path:
    """Return where the model of an adapter lies, fetching a hub revision that is not there yet."""
    named = os.environ.get(BASE, "")
    if not named and model.where == "hub":
        return fetch(model.location, model.revision)
    place = Path(named) if named else _place_in_repository(adapter)
    if not place.is_dir():
        raise ModelError(
            f"the adapter's model {model.location!r} ({model.digest:.12}) is not at {place}; name "
            f"its folder as {BASE}"
        )
    return place


def _place_in_repository(adapter: Path) -> Path:
    """Return where the adapter's file says that its model lies, from the repository's root."""
    stored = read_json(adapter / ADAPTER_SETTINGS)
    named = str(stored.get("base_model_name_or_path")) if isinstance(stored, dict) else ""
    try:
        return find_root() / named
    except ConfigError:
        return Path(named)


def embed_adapter(model: Path, adapter: Path, folder: Path) -> None:
    """Write a `folder` that transformers loads as the model with the adapter on it.

    It holds links to both, so it takes no room; nothing is merged.
    """
    folder.mkdir()
    own = {ADAPTER_SETTINGS, ADAPTER_WEIGHTS}
    files = [p for p in model.iterdir() if p.suffix in CHECKPOINT_FILES and p.name not in own]
    for file in (*files, *(adapter / name for name in own)):
        (folder / file.name).symlink_to(file.absolute())


class Answering:
    """A version on its model, in memory, asked as in the evaluation."""

    version: Usable
    _model: Any  # PEFT's

    def __init__(self, version: Usable) -> None:
        """Load it."""
        self._load(version)

    def become(self, version: Usable) -> None:
        """Load another version in its place; a model that both are on is not loaded again."""
        if version.model == self.version.model:
            self._model = attach_adapter(self._model.unload(), version.adapter)
            self.version = version
        else:
            self._model = None
            free_memory()
            self._load(version)

    def _load(self, version: Usable) -> None:
        self.version = version
        self._tokenizer = load_tokenizer(version.model)
        self._context = context_length(version.model)
        self._model = attach_adapter(load_model(version.model), version.adapter)

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Let the post-trained model answer, as it is without the adapter, within the block."""
        with self._model.disable_adapter():
            yield

    def answer(
        self, prompts: Sequence[str], max_new_tokens: int, sampling: Sampling
    ) -> list[Completion]:
        """Return what is written to each prompt, once, whatever `sampling` says of samples.

        The model's context may leave fewer than `max_new_tokens`. Raises `ModelError` for a prompt
        that leaves none, and `ConfigError` for numbers that are not allowed.
        """
        requests = [self._request(prompt, max_new_tokens, sampling) for prompt in prompts]
        engine = engine_of(self._model, self._tokenizer, batch=_BATCH)
        opened = opens_thought(self._tokenizer)
        return [
            split_completion(self._tokenizer, "", list(samples[0]), ends=engine.ends, opened=opened)
            for samples in collect(engine, requests, label="answers")
        ]

    def _request(self, prompt: str, max_new_tokens: int, sampling: Sampling) -> Request:
        ids = render_prompt(self._tokenizer, prompt, system=self.version.evidence.system)
        left = self._context - len(ids)
        if left < 1:
            raise ModelError(
                f"a prompt has {len(ids)} tokens, and the model reads {self._context} with its "
                "answer; shorten it"
            )
        return Request(
            tuple(ids),
            min(max_new_tokens, left),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
        )
