"""The comparisons of several seeds as one, with prompts as the units.

All seeds are asked the same test prompts, and their models do alike with one prompt. So the answers
of all seeds to a prompt are its samples, and intervals are those of prompts with several
completions (evaluate/statistics.py), whether all seeds have asked a prompt or some.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from components.core.vocabulary import AnyArm
from components.evaluate.rates import Counts, compare_paired, counts_of, rates
from components.evaluate.result import CutFigure, Difference
from components.evaluate.rows import Row
from components.evaluate.statistics import with_holm
from components.judges.result import Usage
from components.studies.compare.result import Comparison, Pooled, Spread

# Arms whose counts stay in memory: the two that all are compared with, this one and the last.
_KEPT = 4


def pool(
    comparisons: Sequence[Comparison], rows: Sequence[Mapping[AnyArm, Sequence[Row]]]
) -> Pooled:
    """Return the comparisons of several seeds as one; `rows` are each seed's, by arm.

    A pooled rate is the share of all answers of all seeds. Its `n` is the number of prompts, and
    `samples`, where it differs, that of the answers. Arms are compared within each seed.
    """
    first, arms = comparisons[0], list(dict.fromkeys(a for each in comparisons for a in each.arms))

    @lru_cache(maxsize=_KEPT)
    def counts(arm: AnyArm) -> list[Counts]:
        return [counts_of(of_seed.get(arm, ())) for of_seed in rows]

    pairs = dict.fromkeys((d.arm, d.against) for each in comparisons for d in each.differences)
    names = {d.metric for each in comparisons for d in each.differences}
    differences = [
        difference
        for arm, against in pairs
        for difference in differences_of(
            arm, against, counts(arm), counts(against), first.confidence
        )
        if difference.metric in names
    ]
    changes = {
        "arms": tuple(arms),
        "teacher": " or ".join(dict.fromkeys(each.teacher for each in comparisons)),
        "rates": {arm: rates(merged(counts(arm)), first.confidence) for arm in arms},
        "differences": with_holm(differences),
        "left_out": _all_left_out(comparisons),
        "cut": _all_cut(comparisons),
        "usage": _all_used(comparisons),
    }
    spreads = _spreads(comparisons, arms) if len(comparisons) > 1 else {}
    return Pooled(first.model_copy(update=changes), spreads)


def merged(counts: Sequence[Counts]) -> Counts:
    """Return the samples of all seeds' answers to each prompt."""
    whole: Counts = {}
    for of_seed in counts:
        for metric, prompts in of_seed.items():
            place = whole.setdefault(metric, {})
            for prompt, samples in prompts.items():
                place[prompt] = (*place.get(prompt, ()), *samples)
    return whole


def differences_of(
    arm: AnyArm,
    against: AnyArm,
    ours: Sequence[Counts],
    theirs: Sequence[Counts],
    confidence: float,
) -> Iterator[Difference]:
    """Yield how two arms differ in every metric that both have in a seed, on the prompts that both
    have in it."""
    seeds = list(zip(ours, theirs, strict=True))
    one = merged([_common(own, other) for own, other in seeds])
    other = merged([_common(other, own) for own, other in seeds])
    for metric, prompts in one.items():
        if prompts.keys() & other[metric].keys():
            yield compare_paired(arm, against, metric, prompts, other[metric], confidence)


def _common(ours: Counts, theirs: Counts) -> Counts:
    """Return of one arm's counts those of metrics and prompts that another has, too."""
    return {
        metric: {p: samples for p, samples in prompts.items() if p in theirs[metric]}
        for metric, prompts in ours.items()
        if metric in theirs
    }


def _spreads(comparisons: Sequence[Comparison], arms: Sequence[AnyArm]) -> dict[AnyArm, Spread]:
    spreads: dict[AnyArm, Spread] = {}
    for arm in arms:
        own = (each.rates.get(arm, {}) for each in comparisons)
        every: dict[str, list[float]] = defaultdict(list)
        for metric, figure in (item for rates_of_seed in own for item in rates_of_seed.items()):
            every[metric] += [figure.rate, figure.most]
        spreads[arm] = {metric: (min(found), max(found)) for metric, found in every.items()}
    return spreads


def _all_left_out(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """Return why arms have no figures, and of one that has some under other seeds that these are
    not of all."""
    reasons = {arm: why for each in comparisons for arm, why in each.left_out.items()}
    without = Counter(arm for each in comparisons for arm in each.left_out)
    total = len(comparisons)
    return {
        arm: why
        if without[arm] == total
        else f"{why} (under {without[arm]} of {total} seeds; its figures are of the others)"
        for arm, why in reasons.items()
    }


def _all_cut(comparisons: Sequence[Comparison]) -> dict[str, dict[AnyArm, CutFigure]]:
    whole: dict[str, dict[AnyArm, CutFigure]] = {}
    for each in comparisons:
        for suite, arms in each.cut.items():
            for arm, one in arms.items():
                so_far = whole.setdefault(suite, {}).get(arm, CutFigure(count=0, n=0))
                total = CutFigure(count=so_far.count + one.count, n=so_far.n + one.n)
                whole[suite][arm] = total
    return whole


def _all_used(comparisons: Sequence[Comparison]) -> dict[str, Usage]:
    whole: dict[str, Usage] = {}
    for each in comparisons:
        for judge, one in each.usage.items():
            so_far = whole.get(judge, Usage()).model_dump()
            whole[judge] = Usage(**{k: so_far[k] + v for k, v in one.model_dump().items()})
    return whole
