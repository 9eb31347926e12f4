"""The baseline that SafeReAct is compared with: plain LoRA fine-tuning on the same refusals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from components.training.batches import CompletionCollator, draw_order
from components.training.trainer import AdapterTrainer, Curves

if TYPE_CHECKING:
    from peft import PeftModel

    from components.training.rows import Row


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
) -> Curves:
    """Train the adapter in place on refusals and retained completions; return the losses."""
    order = mixed_order(
        refusals,
        retain,
        steps=steps,
        batch=batch,
        retain_share=retain_share,
        generator=np.random.default_rng(seed),
    )
    collate = CompletionCollator([*refusals, *retain])
    trainer = RefusalTrainer(adapted, order, collate, lr=lr, seed=seed, scratch=scratch)
    trainer.train()
    adapted.eval()
    return trainer.curves


class RefusalTrainer(AdapterTrainer):
    """Supervised fine-tuning on the tokens of completions: refusals and retained answers."""

    label = "baseline"

    def losses(self, inputs: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """Return the mean cross-entropy over the batch's completion tokens, in nats."""
        mask = inputs["mask"]
        needed = mask.any(dim=0).nonzero()[:, 0]
        output = self.adapted(input_ids=inputs["ids"], logits_to_keep=needed, use_cache=False)
        logits = output.logits[mask[:, needed]]  # (token, vocabulary)
        loss = cross_entropy(logits.float(), inputs["completions"])
        return loss, {"cross_entropy": loss.item()}


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
