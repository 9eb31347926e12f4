"""Where refusal falls off: the projection on the refusal direction, token by token, from the end of
the prompt through the thought into the answer.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from components.core.vocabulary import Role
from components.lm.chat import completion_spans, opens_thought
from components.lm.generation import end_tokens
from components.lm.states import backbone, captured_states, padded_batches
from components.probe.answers import Answer, Answers, Loaded
from components.probe.directions import Axis

log = logging.getLogger(__name__)

Segment = Literal["prompt", "thought", "thought-end", "answer"]
Which = Literal["base", "post-trained"]

# Positions that are read, counted from the end where they are negative. Of a thought's end, only
# what is not read from its start.
READ: dict[Segment, range] = {
    "prompt": range(-12, 0),
    "thought": range(24),
    "thought-end": range(-12, 0),
    "answer": range(24),
}
SLOTS: tuple[tuple[Segment, int], ...] = tuple(
    (segment, position) for segment, positions in READ.items() for position in positions
)


@dataclass(frozen=True, slots=True)
class PositionFigure:
    """The mean projection of one model's states at one layer, over n prompts of a role.

    On the axis 0 is the mean of benign and 1 that of harmful prompts at their last token.
    """

    model: Which
    role: Role
    layer: int
    segment: Segment
    position: int  # -1 is the prompt's or the thought's last token, 0 the first of a part
    mean: float
    error: float | None  # standard error of the mean; None for a single prompt
    n: int


def project_positions(
    which: Which, loaded: Loaded, answers: Answers, axis: Axis
) -> list[PositionFigure]:
    """Return the mean projections by role, layer, segment and position; none where no prompt has
    such a token.

    One pass over prompts and the model's own completions; only sums are kept.
    """
    found = []
    for role, own in answers.items():
        sums = _sums(loaded, own, axis)
        found += [PositionFigure(which, role, *figures) for figures in _figures(*sums)]
        log.info("projections by position: %s, %d %s prompts", which, len(own), role)
    return found


def slots_of(answer: Answer, spans: tuple[range, range]) -> list[int]:
    """Return the index in `SLOTS` of every token of prompt and completion, -1 for one not read.

    `spans` are those of the thought and the answer in the completion.
    """
    length = len(answer.prompt)
    slots = [-1] * (length + len(answer.written))
    thought, spoken = spans
    # A thought that was cut off has no end.
    ended = thought[len(READ["thought"]) :] if spoken else thought[:0]
    parts = {"thought": thought, "thought-end": ended, "answer": spoken}
    for index, (segment, position) in enumerate(SLOTS):
        if segment == "prompt":
            place = length + position
        else:
            part = parts[segment]
            within = -len(part) <= position < len(part)
            place = length + part[position] if within else -1
        if place >= 0:
            slots[place] = index
    return slots


@torch.inference_mode()
def _sums(loaded: Loaded, answers: Sequence[Answer], axis: Axis) -> tuple[Tensor, Tensor, Tensor]:
    """Return counts (slot,), and sums and sums of squares of the projections (slot, layer)."""
    model, tokenizer, batch = loaded.model, loaded.tokenizer, loaded.batch
    layers = range(1, len(axis.lengths) + 1)
    counts = torch.zeros(len(SLOTS), dtype=torch.float64)
    sums, squares = (torch.zeros(len(SLOTS), len(layers), dtype=torch.float64) for _ in range(2))
    ends, opened = end_tokens(model, tokenizer), opens_thought(tokenizer)
    sequences = [[*one.prompt, *one.written] for one in answers]
    pad = tokenizer.pad_token_id
    with captured_states(model, layers) as states:
        for rows, inputs in padded_batches(model, sequences, pad=pad, batch=batch):
            backbone(model)(**inputs)
            slots = torch.full(inputs["input_ids"].shape, -1)
            for row, i in enumerate(rows):
                spans = completion_spans(tokenizer, answers[i].written, ends=ends, opened=opened)
                own = slots_of(answers[i], spans)
                slots[row, len(slots[row]) - len(own) :] = torch.tensor(own)
            read = slots >= 0
            counts.index_add_(0, slots[read], torch.ones(int(read.sum()), dtype=torch.float64))
            for k, layer in enumerate(layers):
                values = axis.project(states[layer], layer).cpu()[read].double()
                sums[:, k].index_add_(0, slots[read], values)
                squares[:, k].index_add_(0, slots[read], values.square())
    return counts, sums, squares


def _figures(
    counts: Tensor, sums: Tensor, squares: Tensor
) -> Iterator[tuple[int, Segment, int, float, float | None, int]]:
    """Yield layer, segment, position, mean, standard error and n wherever there is a token."""
    for k in range(sums.shape[1]):
        for slot, (segment, position) in enumerate(SLOTS):
            n = int(counts[slot])
            if n == 0:
                continue
            mean = float(sums[slot, k]) / n
            spread = max(float(squares[slot, k]) - n * mean**2, 0.0)
            error = math.sqrt(spread / (n - 1) / n) if n > 1 else None
            yield k + 1, segment, position, mean, error, n
