"""A registered version as MLflow loads it: `mlflow.pyfunc.load_model("models:/NAME@champion")`, and
`mlflow models serve` with it.

The version holds the adapter; its model is loaded by reference, from the hub at its commit or from
the folder that the adapter names or `SAFEREACT_BASE`, and refused where its digest or its chat
template is another one than was evaluated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError, ModelError
from components.core.paths import find_root
from components.core.storage import read_json
from components.lm.adapters import attach_adapter
from components.lm.chat import opens_thought, prompt_contract, render_prompt, split_completion
from components.lm.engines.protocol import Request, collect
from components.lm.generation import engine_of
from components.lm.loading import context_length, fetch, load_model, load_tokenizer
from components.lm.references import ModelRef
from components.lm.weights import ADAPTER_SETTINGS, digest_checkpoint
from components.models.result import Models
from components.registry.mlflow_registry import EVIDENCE
from components.registry.verification import verify_files

if TYPE_CHECKING:
    import pandas as pd

BASE = "SAFEREACT_BASE"
PROMPT = "prompt"  # the column of the input
_BATCH = 8


def _load_pyfunc(folder: str) -> Served:
    """Return the version in `folder`, as MLflow's loader asks for it."""
    return Served(Path(folder))


class Served:
    """A version on its model, in memory."""

    def __init__(self, folder: Path) -> None:
        """Load it. Raises `EvidenceError` for files that do not hold together, and `ModelError` for
        a model that is not to be had or is another one."""
        verified = verify_files(folder)
        model = Models.load(folder / EVIDENCE).post_trained
        place = _model_folder(verified.adapter, model)
        if (found := digest_checkpoint(place)) != model.digest:
            raise ModelError(
                f"{place} is the checkpoint {found:.12}, and this adapter was evaluated on "
                f"{model.digest:.12}; name the folder of that one as {BASE}"
            )
        self._tokenizer = load_tokenizer(place)
        if prompt_contract(self._tokenizer) != model.contract:
            raise ModelError(f"the chat template in {place} is not the one that was evaluated")
        self._system = verified.evidence.system
        self._context = context_length(place)
        self._model: Any = attach_adapter(load_model(place), verified.adapter)

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Return the answer to each prompt of the column `prompt`, without its thought.

        `params` are `max_new_tokens`, of which the model's context may leave fewer, and
        `temperature`; at 0 the likeliest tokens are written. Raises `ModelError` for a prompt that
        leaves none, and `ConfigError` for parameters that are not allowed.
        """
        given = {"max_new_tokens": 256, "temperature": 0.0, **(params or {})}
        requests = [self._request(str(prompt), **given) for prompt in model_input[PROMPT]]
        engine = engine_of(self._model, self._tokenizer, batch=_BATCH)
        opened = opens_thought(self._tokenizer)
        return [
            split_completion(
                self._tokenizer, "", list(samples[0]), ends=engine.ends, opened=opened
            ).answer
            for samples in collect(engine, requests, label="answers")
        ]

    def _request(self, prompt: str, *, max_new_tokens: int, temperature: float) -> Request:
        ids = render_prompt(self._tokenizer, prompt, system=self._system)
        left = self._context - len(ids)
        if left < 1:
            raise ModelError(
                f"a prompt has {len(ids)} tokens, and the model reads {self._context} with its "
                "answer; shorten it"
            )
        return Request(tuple(ids), min(max_new_tokens, left), temperature=temperature)


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
