"""A registered version as MLflow loads it: `mlflow.pyfunc.load_model("models:/NAME@champion")`, and
`mlflow models serve` with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError
from components.core.section import Sampling
from components.registry.answering import Answering, open_version

if TYPE_CHECKING:
    import pandas as pd

PROMPT = "prompt"  # the column of the input


def _load_pyfunc(folder: str) -> Served:
    """Return the version in `folder`, as MLflow's loader asks for it."""
    return Served(Path(folder))


class Served:
    """A version on its model, in memory."""

    def __init__(self, folder: Path) -> None:
        """Load it. Raises as `open_version` does."""
        self._answering = Answering(open_version(folder))

    def predict(
        self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Return the answer to each prompt of the column `prompt`, without its thought.

        `params` are `max_new_tokens`, of which the model's context may leave fewer, and
        `temperature`; at 0 the likeliest tokens are written. Raises `ModelError` for a prompt that
        leaves none, and `ConfigError` for parameters that are not allowed.
        """
        given = {"max_new_tokens": 256, "temperature": 0.0, **(params or {})}
        limit = given.pop("max_new_tokens")
        prompts = [str(prompt) for prompt in model_input[PROMPT]]
        completions = self._answering.answer(prompts, limit, _sampling(**given))
        return [completion.answer for completion in completions]


def _sampling(*, temperature: float) -> Sampling:
    if temperature < 0:
        raise ConfigError(f"temperature must be 0 or more, not {temperature}")
    return Sampling.model_construct(temperature=temperature)
