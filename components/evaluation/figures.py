"""Every figure of the evidence that is counted from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.evaluation.lengths import length_shifts
from components.evaluation.metrics import Counts, counts_of, cut_figures, differences, rates
from components.evaluation.rows import Row
from components.evaluation.statistics import with_holm
from components.records import AnyArm, Arm, Role
from components.results import COMPARISONS, WITH_CHAMPION


def count_figures(
    rows: Mapping[AnyArm, Sequence[Row]], roles: Mapping[str, Role], *, confidence: float, seed: int
) -> dict[str, Any]:
    """Return every figure of the evidence that is counted from its rows, by the evidence's keys.

    `roles` are those of the suites.
    """
    counts: dict[AnyArm, Counts] = {arm: counts_of(own) for arm, own in rows.items()}
    pairs = (*COMPARISONS, WITH_CHAMPION) if Arm.CHAMPION in counts else COMPARISONS
    return {
        "cut": cut_figures(rows, roles),
        "rates": {arm: rates(counts[arm], confidence) for arm in Arm if arm in counts},
        "differences": with_holm(differences(counts, pairs, roles, confidence)),
        "lengths": length_shifts(rows, Arm.POST_TRAINED, confidence=confidence, seed=seed),
    }
