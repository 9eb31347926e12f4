"""The states at the last prompt token, where a model is about to answer, kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.core.errors import ModelError
from components.core.vocabulary import Role
from components.lm.batches import by_length
from components.lm.chat import render_prompt
from components.lm.states import backbone, states_from_end
from components.probe.sampling import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

States = dict[Role, Tensor]  # role -> (layer, prompt, hidden)


def last_token_states(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    *,
    batch: int,
    folder: Path,
) -> States:
    """Return the states at the last prompt token: role -> (layer, prompt, hidden), fp32.

    They lie in files of the existing `folder`, one a role, mapped into memory layer by layer: what
    is held is one layer's, whatever the number of prompts. Raises `ModelError` where a state is not
    finite: such a checkpoint is broken.
    """
    layers = range(1, len(backbone(model).layers) + 1)
    states: States = {}
    for role, prompts in rows.items():
        sequences = [render_prompt(tokenizer, prompt.text) for prompt in prompts]
        shape = (len(layers), len(prompts), model.config.hidden_size)
        size = shape[0] * shape[1] * shape[2]
        path = str(folder / f"{role}.bin")
        kept = torch.from_file(path, shared=True, size=size, dtype=torch.float32).reshape(shape)
        for chosen in by_length(sequences, batch):
            found = states_from_end(
                model,
                [sequences[i] for i in chosen],
                layers=layers,
                pad=tokenizer.pad_token_id,
                batch=batch,
            )
            if not found.isfinite().all():
                raise ModelError(
                    f"hidden states on {role} prompts are not finite; the checkpoint is broken, or "
                    "its precision is too low for it"
                )
            kept[:, chosen] = found[:, 0].transpose(0, 1)
        states[role] = kept
        log.info("hidden states of %d %s prompts at %d layers", len(prompts), role, len(layers))
    return states
