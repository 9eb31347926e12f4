"""Who may teach: each candidate answers validation prompts before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from components.core.errors import ConfigError, TeacherError
from components.lm.teachers import find_teacher
from components.probe.answers import Outcomes, measure
from components.probe.result import RATES, TeacherFigures
from components.probe.settings import TeacherCheck

log = logging.getLogger(__name__)


NO_ANCESTOR = (
    "probe.teachers names `vector`, and the pair has no ancestor: name what models.base was "
    "aligned from as models.ancestor, of a pair that is built set models.keep_ancestor, or take "
    "`vector` off the list"
)


def candidates(
    listed: Sequence[str], wanted: str, *, same_lineage: bool, ancestor: bool = False
) -> tuple[str, ...]:
    """Return the teachers to check: those listed, without a base model of another lineage.

    Raises `ConfigError` where the wanted one is not listed or one needs an `ancestor` that this
    pair lacks, and `TeacherError` where the wanted, or every one, needs a lineage that it lacks.
    """
    if not ancestor and any(find_teacher(name).adds_vector for name in listed):
        raise ConfigError(NO_ANCESTOR)
    if wanted != "auto" and wanted not in listed:
        raise ConfigError(
            f"probe.teacher is {wanted!r}, which is not among probe.teachers "
            f"({', '.join(listed)}); add it there"
        )
    names = tuple(dict.fromkeys(listed))
    able = tuple(name for name in names if same_lineage or not find_teacher(name).is_base)
    if not able or (wanted != "auto" and wanted not in able):
        raise TeacherError(
            "the base model cannot teach: it differs from the post-trained model in architecture, "
            "size or tokenizer, so their states do not correspond. Put `pruned`, `reminder`, "
            "`pruned-reminder`, `context` or `vector` among probe.teachers, or give the base model "
            "that the post-training started from"
        )
    if able != tuple(listed):
        log.info("the base model is of another lineage and cannot teach")
    return able


def figures(name: str, did: Outcomes, *, check: TeacherCheck) -> TeacherFigures:
    """Return the rates behind a check, and what they lack.

    Point values are compared, so that 0 and 1 waive a check. The gate decides on interval bounds;
    here a wrong choice costs a training run, not a release.
    """
    rates = measure(did)
    harmful, benign, coherent = (rates[name] for name in RATES)
    # What each rate lacks, and how that is said.
    lacks = (
        (
            check.min_harmful_refused - harmful.rate,
            f"refuses {harmful.rate:.0%} of {harmful.n} harmful prompts, "
            f"at least {check.min_harmful_refused:.0%} needed",
        ),
        (
            benign.rate - check.max_benign_refused,
            f"refuses {benign.rate:.0%} of {benign.n} benign prompts, "
            f"at most {check.max_benign_refused:.0%} allowed",
        ),
        (
            check.min_coherent - coherent.rate,
            f"{coherent.rate:.0%} of {coherent.n} answers are language, "
            f"at least {check.min_coherent:.0%} needed",
        ),
    )
    failures = [text for lack, text in lacks if lack > 0]
    return TeacherFigures(
        teacher=name,
        **rates,
        shortfall=sum(max(lack, 0.0) for lack, _ in lacks),
        passed=not failures,
        reason="; ".join(failures) or "passes",
    )


def ranking(f: TeacherFigures) -> tuple[float, float, float]:
    """Return what orders candidates, the best highest: one that passes or lacks the least, then the
    widest gap between harmful and benign refusals, then the most coherent."""
    return -f.shortfall, f.harmful_refused.rate - f.benign_refused.rate, f.coherent.rate


def choose_teacher(checked: Sequence[TeacherFigures], wanted: str) -> str:
    """Return the wanted teacher, or with `auto` the best, if it passed its check.

    Best by `ranking`, and of equals the one that is listed first in the profile. Raises
    `TeacherError` with every candidate's figures.
    """
    passing = [f for f in checked if f.passed and wanted in ("auto", f.teacher)]
    if passing:
        best = max(passing, key=ranking)  # the first of equals
        log.info("teacher: %s", _line(best))
        return best.teacher
    who = "no candidate teacher has" if wanted == "auto" else f"teacher {wanted!r} has not"
    raise TeacherError(
        f"{who} passed the check, so there is nothing to train towards:\n"
        + "".join(f"  {_line(candidate)}\n" for candidate in checked)
        + "Mend the teacher (another wording of probe.reminder, other contexts in probe.contexts, "
        "other shares in probe.pruning, a base model that refuses), name its refusals in "
        "probe.rules, or lower probe.check in writing"
    )


def _line(f: TeacherFigures) -> str:
    harmful, benign, coherent = f.harmful_refused, f.benign_refused, f.coherent
    return (
        f"{f.teacher}: refuses {harmful.rate:.0%} of harmful (n={harmful.n}) and "
        f"{benign.rate:.0%} of benign (n={benign.n}), {coherent.rate:.0%} coherent "
        f"(n={coherent.n}): {f.reason}"
    )
