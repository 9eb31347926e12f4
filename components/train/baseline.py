"""The baseline that SafeReAct is compared with: plain LoRA fine-tuning on the same refusals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from components.train.batches import CompletionCollator, Side, draw_order, plan_steps
from components.train.checkpoints import Progress
from components.train.trainer import CHECKPOINT_EVERY, AdapterTrainer

if TYPE_CHECKING:
    from peft import PeftModel

    from components.train.rows import Row


def fine_tune(
    adapted: PeftModel,
    refusals: Sequence[Row],
    retain: Sequence[Row],
    *,
    steps: int,
    batch: int,
    retain_share: float,
    lr: float,
    seed: int,
    scratch: Path,
    micro_batch: int | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
) -> Progress:
    """Train the adapter in place on refusals and retained completions; return every step's loss."""
    order = mixed_order(
        refusals,
        retain,
        steps=steps,
        batch=batch,
        retain_share=retain_share,
        generator=np.random.default_rng(seed),
    )
    rows = [*refusals, *retain]
    written = Side(rows, [len(row.completion) for row in rows])
    trainer = RefusalTrainer(
        adapted,
        plan_steps([[(i,) for i in step] for step in order], (written,)),
        CompletionCollator(rows),
        lr=lr,
        seed=seed,
        scratch=scratch,
        micro_batch=micro_batch,
        checkpoint_every=checkpoint_every,
    )
    return trainer.finish()


class RefusalTrainer(AdapterTrainer):
    """Supervised fine-tuning on the tokens of completions: refusals and retained answers."""

    label = "baseline"

    def losses(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the micro-batch's part of the step's mean cross-entropy a token, in nats."""
        # A mask gives the logits of its positions alone: (token, vocabulary).
        logits = model(
            input_ids=inputs["ids"], logits_to_keep=inputs["mask"], use_cache=False
        ).logits
        total = cross_entropy(logits.float(), inputs["completions"], reduction="sum")
        loss = total / inputs["positions"]
        return loss, {"cross_entropy": loss}


def mixed_order(
    harmful: Sequence[Row],
    retain: Sequence[Row],
    *,
    steps: int,
    batch: int,
    retain_share: float,
    generator: np.random.Generator,
) -> list[list[int]]:
    """Return the batches as indices into [*harmful, *retain], each with its share of retained."""
    kept = round(retain_share * batch)
    sides = [
        draw_order(len(rows), steps=steps, batch=size, generator=generator)
        for rows, size in ((harmful, batch - kept), (retain, kept))
    ]
    return [
        [*first, *(len(harmful) + i for i in second)] for first, second in zip(*sides, strict=True)
    ]
