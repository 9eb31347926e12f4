"""What second judges say of the same completions, and how often they say the same as the first."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from components.core.metric_names import Metric
from components.core.result import RateFigure
from components.core.vocabulary import AnyArm, Arm, Outcome, Role, View
from components.evaluate.rates import (
    clusters_of,
    counts_of,
    cut_figures,
    differences,
    rates,
)
from components.evaluate.result import COMPARISONS, WITH_CHAMPION, Agreement, SecondJudges
from components.evaluate.rows import Asked, Row
from components.evaluate.statistics import design_effect, rate_of, with_holm
from components.judges.calibration import kappa
from components.judges.result import KappaFigure

Pair = tuple[Outcome, Outcome]  # what the first judge says, and what the second does


def second_judges(
    rows: Mapping[AnyArm, Sequence[Row]],
    roles: Mapping[str, Role],
    names: Mapping[str, str],
    settings: Mapping[str, str],
    confidence: float,
) -> SecondJudges | None:
    """Return every figure that is counted from the second judges' verdicts; None without any.

    `roles`, and the judges' `names` and `settings`, are those of the suites that have one.
    """
    if not roles:
        return None
    again = {arm: [one for row in own if (one := row.by_second_judge)] for arm, own in rows.items()}
    counts = {
        arm: {name: kept for name, kept in counts_of(own).items() if Metric.parse(name).unparsed}
        for arm, own in again.items()
    }
    pairs = (*COMPARISONS, WITH_CHAMPION) if Arm.CHAMPION in counts else COMPARISONS
    arms = [arm for arm in Arm if arm in rows]
    return SecondJudges(
        judges=dict(names),
        judge_settings=dict(settings),
        cut=cut_figures(again, roles),
        rates={arm: rates(counts[arm], confidence) for arm in arms},
        differences=with_holm(differences(counts, pairs, roles, confidence)),
        agreements=tuple(one for arm in arms for one in agreements(arm, rows[arm], confidence)),
    )


def agreements(arm: AnyArm, rows: Iterable[Row], confidence: float) -> Iterator[Agreement]:
    """Yield how often both judges of each suite say the same of answers, and of thoughts, in each
    form. An empty text is `neither` to every judge, and counts."""
    found: dict[tuple[str, str, View], dict[Asked, list[Pair]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        again = row.by_second_judge
        if again is None:
            continue
        for view in (View.ANSWER, View.THOUGHT):
            first, second = row.outcome(view), again.outcome(view)
            if first is not None and second is not None:
                found[row.suite, row.form, view][row.asked].append((first, second))
    for (suite, form, view), prompts in found.items():
        agreed, kappa_figure = agreement(prompts, confidence)
        yield Agreement(
            arm=arm, suite=suite, form=form, view=view, agreed=agreed, kappa=kappa_figure
        )


def agreement(
    prompts: Mapping[Asked, Sequence[Pair]], confidence: float
) -> tuple[RateFigure, KappaFigure | None]:
    """Return the share of pairs that are alike and Cohen's kappa (1960, Educ Psychol Meas 20:37-46)
    with their intervals, from the pairs of each prompt's completions.

    Kappa's is that of `kappa`; with several completions a prompt, or near-copies, its standard
    error is multiplied with the root of the design effect of the share that is alike.
    """
    alike = {asked: [a is b for a, b in pairs] for asked, pairs in prompts.items()}
    figure = kappa([pair for pairs in prompts.values() for pair in pairs], confidence)
    if figure is not None:
        factor = math.sqrt(_design_effect(alike))
        low = figure.kappa - factor * (figure.kappa - figure.low)
        high = figure.kappa + factor * (figure.high - figure.kappa)
        figure = KappaFigure(kappa=figure.kappa, low=max(low, -1.0), high=min(high, 1.0))
    return rate_of(list(alike.values()), confidence, clusters_of(alike)), figure


def _design_effect(alike: Mapping[Asked, Sequence[bool]]) -> float:
    counts, samples = Counter[str](), Counter[str]()
    for asked, each in alike.items():
        counts[asked.cluster] += sum(each)
        samples[asked.cluster] += len(each)
    return design_effect(
        np.array([counts[one] for one in samples], dtype=np.float64),
        np.array(list(samples.values()), dtype=np.float64),
    )
