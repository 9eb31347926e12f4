"""Every figure of the evidence that is counted from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.core.vocabulary import AnyArm, Arm, Role
from components.evaluate.lengths import length_shifts
from components.evaluate.metrics import Counts, counts_of, cut_figures, differences, rates
from components.evaluate.result import COMPARISONS, WITH_CHAMPION
from components.evaluate.rows import Row
from components.evaluate.statistics import with_holm


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
