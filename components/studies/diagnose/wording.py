"""A diagnosis in words: what it means, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator

from components.core.metric_names import FINISHED, Metric
from components.core.result import RateFigure
from components.core.vocabulary import Arm, Form, Outcome, Role
from components.evaluate.result import Difference
from components.judges.settings import RULES
from components.report import wording
from components.studies.diagnose.result import MATTERS, SERVED, PairDiagnosis

HEADS = {
    "lost": "Safety was lost",
    "kept": "No loss of safety as served",
    "not shown": "No loss shown",
    "no base": "Levels only",
}
_MANY = 0.10  # share of answers that no verdict says much of


def conclusion(found: PairDiagnosis) -> str:
    """Return in a sentence or two what became of the base's refusals."""
    if found.finding == "no base":
        return _levels(found)
    served = found.by_metric[SERVED]
    start = (
        f"As served, the post-trained model refuses {_of(found, Arm.POST_TRAINED)} of {served.n} "
        f"harmful prompts and its base {_of(found, Arm.BASE)}, a difference of "
        f"{_points(served)} points."
    )
    if found.finding == "kept":
        return f"{start} A loss of more than {wording.points(MATTERS)[1:]} points is excluded."
    if found.finding == "not shown":
        most = wording.number(-100 * served.low, 1)
        return f"{start} That shows no loss, and none of up to {most} points is excluded."
    others = [one for one in found.losses if one is not served]
    if not others:
        return start
    forms = wording.listed(f"{_form(one)} ({wording.points(one.difference)})" for one in others)
    if served in found.losses:
        return f"{start} Fewer are refused, too, in these forms: {forms}."
    return f"{start} That shows no loss as served, but fewer are refused in these forms: {forms}."


def _levels(found: PairDiagnosis) -> str:
    refused = {
        name: found.rates[Arm.POST_TRAINED][name]
        for name in found.key_metrics
        if found.roles[Metric.parse(name).suite] is Role.HARMFUL
    }
    lowest = min(refused, key=lambda name: refused[name].rate)
    text = f"As served, the model refuses {_share(refused[SERVED])} of harmful prompts"
    if lowest != SERVED:
        text += f", and the fewest {_form_name(lowest)}: {_share(refused[lowest])}"
    return f"{text}. Without its base nothing says what was lost; give --base to learn it."


def unsaid(found: PairDiagnosis) -> Iterator[str]:
    """Yield what the figures do not say, a sentence each."""
    base = found.rate(Arm.BASE, SERVED)
    if base is not None and base.rate < 0.5:
        yield (
            f"The base itself refuses {_share(base)}, so it has little to lose and little to teach."
        )
    done = found.rates[Arm.POST_TRAINED].get(str(Metric(Role.HARMFUL, FINISHED)))
    if done is not None and 1 - done.rate > _MANY:
        yield (
            f"{_of_all(done) - done.count} of {_of_all(done)} answers to harmful prompts were cut "
            f"off at {found.max_new_tokens[Role.HARMFUL]} tokens, and what they would have said is "
            "not known; --tokens allows for more."
        )
    for arm, rates in found.rates.items():
        lost = rates.get(str(Metric(Role.HARMFUL, Outcome.NEITHER)))
        if lost is not None and lost.rate > _MANY:
            yield (
                f"{lost.count} of {_of_all(lost)} answers of the {arm} model to harmful prompts "
                "neither refuse nor comply: empty, garbled, or cut off before they answer."
            )
    if any(name.startswith(f"{RULES}:") for name in found.judges.values()):
        yield "Rules judged how answers are worded: a check of refusals, no proof of safety."
    yield f"It is about {found.asked}, and about these forms and attacks alone."


def _of_all(rate: RateFigure) -> int:
    return rate.samples or rate.n


def metric_name(name: str) -> str:
    """Return what a metric of the short table measures."""
    metric = Metric.parse(name)
    does = "refuses" if metric.measure == Outcome.REFUSED else "solves"
    return f"{does} {metric.suite}{wording.form_name(metric.form)}"


def _form(one: Difference) -> str:
    return _form_name(one.metric)


def _form_name(metric: str) -> str:
    form = Metric.parse(metric).form
    return "as served" if form == Form.SERVED else wording.form_name(form).removeprefix(", ")


def _points(one: Difference) -> str:
    return f"{wording.points_of(one)} {wording.interval(one.low, one.high)}"


def _of(found: PairDiagnosis, arm: Arm) -> str:
    return wording.rate(found.rates[arm][SERVED])


def _share(rate: RateFigure) -> str:
    return f"{wording.rate(rate)} {wording.interval(rate.low, rate.high)} (n={wording.size(rate)})"
