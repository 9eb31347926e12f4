"""The teacher: the model whose hidden states on harmful prompts are the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.errors import TrainingError
from components.lm.chat import render_prompt
from components.lm.loading import checkpoint_folder, load_model, load_tokenizer
from components.results import ModelRef, Models, Probe
from components.workspace import MASKS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Reader:
    """A model with its tokenizer and the way it is given prompts."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    reminder: str | None = None  # put before every prompt

    def render(self, text: str) -> list[int]:
        """Return the token ids of a prompt as this reader reads it."""
        return render_prompt(self.tokenizer, text, reminder=self.reminder)


def open_reader(models: Models, ref: ModelRef, reminder: str | None = None) -> Reader:
    """Return a checkpoint of the pair, loaded, with its tokenizer."""
    folder = checkpoint_folder(models, ref)
    return Reader(load_model(folder), load_tokenizer(folder), reminder)
