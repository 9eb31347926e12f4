"""How much longer or shorter completions have become; a damaged model often tells by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from components.core.vocabulary import AnyArm, Form
from components.evaluate.result import LengthShift
from components.evaluate.rows import Row
from components.evaluate.statistics import paired_bootstrap

_Lengths = dict[tuple[str, Form], dict[str, float]]  # suite and form -> prompt -> mean tokens


def length_shifts(
    rows: Mapping[AnyArm, Sequence[Row]], against: AnyArm, *, confidence: float, seed: int
) -> tuple[LengthShift, ...]:
    """Return the shift of every other arm against one, on the prompts that both were asked."""
    lengths = {arm: _lengths(own) for arm, own in rows.items()}
    return tuple(
        _shift(arm, against, *asked, lengths[arm][asked], lengths[against][asked], confidence, seed)
        for arm in rows
        if arm is not against
        for asked in lengths[arm]
        if lengths[arm][asked].keys() & lengths[against].get(asked, {}).keys()
    )


def _lengths(rows: Sequence[Row]) -> _Lengths:
    tokens: dict[tuple[str, Form], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        tokens[row.suite, row.form][row.prompt_id].append(row.tokens)
    return {
        asked: {prompt: fmean(counts) for prompt, counts in prompts.items()}
        for asked, prompts in tokens.items()
    }


def _shift(
    arm: AnyArm,
    against: AnyArm,
    suite: str,
    form: Form,
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    confidence: float,
    seed: int,
) -> LengthShift:
    prompts = sorted(ours.keys() & theirs.keys())
    mine, others = [ours[p] for p in prompts], [theirs[p] for p in prompts]
    difference, low, high = paired_bootstrap(mine, others, confidence=confidence, seed=seed)
    return LengthShift(
        arm=arm,
        against=against,
        suite=suite,
        form=form,
        mean=fmean(mine),
        difference=difference,
        low=low,
        high=high,
        n=len(prompts),
    )
