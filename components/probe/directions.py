"""States at the last prompt token, and the refusal direction: where a model sees harm in them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.core.errors import DataError
from components.core.vocabulary import Role
from components.lm.batches import by_length
from components.lm.chat import render_prompt
from components.lm.states import backbone, states_from_end
from components.probe.answers import Loaded
from components.probe.sampling import Rows

log = logging.getLogger(__name__)

States = dict[Role, Tensor]  # role -> (layer, prompt, hidden)


def last_token_states(loaded: Loaded, rows: Rows, *, folder: Path) -> States:
    """Return the states at the last prompt token: role -> (layer, prompt, hidden), fp32.

    There a model is about to answer. They lie in files of the existing `folder`, one a role, mapped
    into memory layer by layer: what is held is one layer's, whatever the number of prompts. Raises
    `ModelError` where a state is not finite.
    """
    model, pad = loaded.model, loaded.tokenizer.pad_token_id
    layers = range(1, len(backbone(model).layers) + 1)
    states: States = {}
    for role, prompts in rows.items():
        sequences = [render_prompt(loaded.tokenizer, prompt.text) for prompt in prompts]
        shape = (len(layers), len(prompts), model.config.hidden_size)
        path, size = str(folder / f"{role}.bin"), shape[0] * shape[1] * shape[2]
        stored = torch.from_file(path, shared=True, size=size, dtype=torch.float32).reshape(shape)
        for chosen in by_length(sequences, loaded.batch):
            own = [sequences[i] for i in chosen]
            found = states_from_end(model, own, layers=layers, pad=pad, batch=loaded.batch)
            stored[:, chosen] = found[:, 0].transpose(0, 1)
        states[role] = stored
        log.info("hidden states of %d %s prompts at %d layers", len(prompts), role, len(layers))
    return states


@dataclass(frozen=True, slots=True)
class Axis:
    """A refusal direction at every layer, with a scale.

    0 is the mean of benign prompts and 1 that of harmful ones, at their last token, in the model
    that the axis is of.
    """

    directions: Tensor  # (layer, hidden), unit length
    origins: Tensor  # (layer,): the benign mean along the direction
    lengths: Tensor  # (layer,): from the benign to the harmful mean

    def project(self, states: Tensor, layer: int) -> Tensor:
        """Return where the states (..., hidden) of one layer, 1 = first, lie on the axis: (...)."""
        along = states.float() @ self.directions[layer - 1].to(states.device)
        return (along - self.origins[layer - 1].item()) / self.lengths[layer - 1].item()


def refusal_axis(states: States) -> Axis:
    """Return the axis from the benign to the harmful mean at every layer.

    Difference in means: Arditi et al. 2024 (arXiv 2406.11717), section 2.3; they read several
    positions, we read the last. Raises `DataError` where the means are equal, so that there is no
    direction.
    """
    harmful, benign = (
        torch.stack([layer.mean(dim=0) for layer in states[role]])
        for role in (Role.HARMFUL, Role.BENIGN)
    )
    difference = harmful - benign
    lengths = difference.norm(dim=-1)
    if (lengths == 0).any():
        layer = int((lengths == 0).nonzero()[0]) + 1
        raise DataError(
            f"harmful and benign prompts have the same mean state at layer {layer}; are they the "
            "same prompts, or does the template drop the user's text?"
        )
    directions = difference / lengths[:, None]
    return Axis(directions, (benign * directions).sum(dim=-1), lengths)
