"""Diagnoses that are made up of counts: of so many prompts, base and post-trained refuse the first
ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.core.metric_names import Metric
from components.core.result import RateFigure
from components.core.vocabulary import Arm, Role
from components.evaluate.statistics import compare_pairs, with_holm
from components.studies.diagnose.result import PairDiagnosis
from tests.evidence import model_ref

Counts = Mapping[str, tuple[int, int, int]]  # metric -> of base, of post-trained, prompts


def make_diagnosis(counts: Counts, *, base: bool = True, **changes: Any) -> PairDiagnosis:
    """Return a diagnosis with these rates, their intervals and, beside a base, differences."""
    arms = (Arm.BASE, Arm.POST_TRAINED)
    rates = {
        arm: {
            name: RateFigure.of(found[i], found[2], 0.95).model_copy(update={"samples": found[2]})
            for name, found in counts.items()
        }
        for i, arm in enumerate(arms)
        if base or arm is Arm.POST_TRAINED
    }
    differences = [
        compare_pairs(
            Arm.POST_TRAINED,
            Arm.BASE,
            name,
            [((k < after,), (k < before,)) for k in range(n)],
            0.95,
        )
        for name, (before, after, n) in counts.items()
    ]
    suites = dict.fromkeys(Metric.parse(name).suite for name in counts)
    made_up: dict[str, Any] = {
        "models": {arm: model_ref(arm.value) for arm in rates},
        "same_lineage": base,
        "asked": "made-up prompts",
        "prompts": dict.fromkeys(suites, 100),
        "max_new_tokens": dict.fromkeys(suites, 32),
        "sources": (),
        "roles": {suite: Role(suite) for suite in suites},
        "judges": dict.fromkeys(suites, "rules:0"),
        "usage": {},
        "engine": "transformers, cpu, float32",
        "seed": 0,
        "confidence": 0.95,
        "rows": "0" * 64,
        "rates": rates,
        "differences": with_holm(differences) if base else (),
        "masking": None,
        "not_located": "made up",
    }
    return PairDiagnosis(**made_up | changes)
