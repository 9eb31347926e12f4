"""Refusal directions to take out of a model, and the choice of the one that undoes most."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from components.core.errors import EvidenceError
from components.core.storage import digest_bytes
from components.core.vocabulary import Role
from components.lm.ablation import ablated
from components.lm.chat import render_prompt
from components.lm.states import states_from_end
from components.studies.withstand.result import DirectionOf

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from components.core.vocabulary import Prompt

log = logging.getLogger(__name__)

# Later directions are of the words to come (Arditi et al. 2024, arXiv 2406.11717, appendix C).
_DEEPEST = 0.8
_STORED: dict[DirectionOf, str] = {"base": "base", "post-trained": "post_trained"}


@dataclass(frozen=True, slots=True)
class Direction:
    """A refusal direction (hidden,), and the states it comes from."""

    of: DirectionOf
    layer: int  # 1 = first
    vector: Tensor

    @property
    def digest(self) -> str:
        """SHA-256 of the vector in single precision."""
        return digest_bytes(self.vector.detach().float().cpu().numpy().tobytes())


@dataclass(frozen=True, slots=True)
class Tried:
    """What a model did with validation prompts, with a direction taken out or with all of them."""

    refused: int  # harmful prompts
    coherent: int  # benign prompts answered by a refusal or by language


def candidate_layers(depth: int, count: int) -> list[int]:
    """Return at most `count` layers, spread evenly over the first 80 % of `depth`."""
    deepest = max(1, int(_DEEPEST * depth))
    count = min(count, deepest)
    return [deepest * (i + 1) // count for i in range(count)]


def stored_directions(path: Path, of: DirectionOf, layers: Sequence[int]) -> list[Direction]:
    """Return the directions that the stage `probe` found in one model of the pair.

    Raises `EvidenceError` where they cannot be read.
    """
    try:
        vectors = load_file(path)[_STORED[of]]
        return [Direction(of, layer, vectors[layer - 1]) for layer in layers]
    except (OSError, KeyError, IndexError, SafetensorError) as error:
        raise EvidenceError(
            f"{path} does not hold the {of} model's directions at layers {list(layers)} ({error}); "
            "run the stage probe again"
        ) from error


def own_directions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    layers: Sequence[int],
    batch: int,
) -> list[Direction]:
    """Return the model's own directions: at the last token of harmful and of benign prompts, the
    difference in means (Arditi et al. 2024, section 2.3).

    A layer at which the means are equal has none.
    """
    harmful, benign = (
        states_from_end(
            model,
            [render_prompt(tokenizer, prompt.text) for prompt in prompts if prompt.role is role],
            layers=layers,
            pad=int(tokenizer.pad_token_id),
            batch=batch,
        )[:, 0].mean(dim=0)
        for role in (Role.HARMFUL, Role.BENIGN)
    )
    found = zip(layers, harmful - benign, strict=True)
    return [Direction("own", layer, vector) for layer, vector in found if vector.norm() > 0]


def strongest(
    model: PreTrainedModel,
    directions: Sequence[Direction],
    ask: Callable[[Direction | None], Tried],
    *,
    min_coherent: float,
) -> tuple[Direction, bool]:
    """Return the direction without which `ask` finds fewest refusals, and whether it leaves the
    share `min_coherent` of the benign prompts that the whole model answers coherently.

    `ask` is told which direction is out of the model at that moment; None: none is.

    One that leaves less breaks the model rather than its refusals, so it is taken only where all
    do, and then the least broken. Of equals the first is taken.
    """
    needed = min_coherent * ask(None).coherent
    tried = []
    for number, direction in enumerate(directions, 1):
        with ablated(model, direction.vector):
            tried.append((direction, ask(direction)))
        log.info("directions tried %d/%d", number, len(directions))
    able = [(direction, did) for direction, did in tried if did.coherent >= needed]
    if able:
        return min(able, key=lambda pair: pair[1].refused)[0], True
    return max(tried, key=lambda pair: pair[1].coherent)[0], False
