"""The stage `compare`: other methods on the prompts that the adapter was evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from components.core.errors import EvidenceError
from components.core.paths import FINISHED, ROWS, VERDICTS
from components.core.storage import digest_file, digest_folder
from components.core.vocabulary import AnyArm, Arm, Method
from components.evaluate.arms import Checkpoint, open_checkpoint
from components.evaluate.asking import Answer, Exam, test_exam
from components.evaluate.judging import Jury
from components.evaluate.metrics import counts_of, differences, rates
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged, write_judged
from components.evaluate.settings import EvaluateSettings
from components.evaluate.statistics import with_holm
from components.judges.verdicts import StoredVerdicts
from components.lm.engines.finished import FinishedRequests
from components.lm.engines.hosts import engine_identity
from components.models.result import Models
from components.prepare.result import SuiteSet
from components.probe.result import Probe
from components.studies.baselines.result import Baselines
from components.studies.compare.result import Comparison
from components.studies.compare.settings import CompareSettings


def compare(
    section: CompareSettings,
    settings: EvaluateSettings,
    prompts: SuiteSet,
    models: Models,
    probe: Probe,
    evidence: Evidence,
    baselines: Baselines,
    *,
    seed: int,
    out: Path,
) -> Comparison:
    """Write rows and figures of every other method into `out` and return the figures of all.

    The arms keep the rows of their evaluation. Raises `EvidenceError` where that was on other
    prompts or by another judge, or its rows were changed, and for an adapter of another model,
    contract or data; and, before anything is asked, what `Jury.of` raises of the judges.
    """
    exam = test_exam(settings, prompts, seed)
    _check(exam, prompts, models, evidence, baselines)
    rewordings = {
        Method.REMINDER: partial(_between, before=probe.reminder),
        Method.SELF_REMINDER: partial(_between, before=section.before, after=section.after),
    }
    reworded = {method: rewordings[method] for method in section.prompted}
    with FinishedRequests(out / FINISHED) as finished, StoredVerdicts(out / VERDICTS) as verdicts:
        jury = Jury.of(exam, settings, verdicts)
        _same_judges(evidence.judges, jury.names)
        with open_checkpoint(
            models, models.post_trained, batch=settings.batch, finished=finished
        ) as checkpoint:
            answers = _ask(exam, checkpoint, baselines, reworded)
        judged = jury.judge(answers)
        write_judged(out / ROWS, [row for rows in judged.rows.values() for row in rows])
        rows = read_judged(evidence.folder / ROWS) | judged.rows
        counts = {arm: counts_of(own) for arm, own in rows.items()}
        return Comparison(
            data=prompts.digest,
            test_prompts=exam.digest,
            judges=judged.judges,
            confidence=settings.confidence,
            teacher=probe.teacher,
            cut=judged.cut,
            usage=judged.usage,
            rows=digest_file(out / ROWS),
            rates={arm: rates(own, settings.confidence) for arm, own in counts.items()},
            differences=with_holm(
                differences(counts, _compared(answers), exam.roles, settings.confidence)
            ),
            left_out={line.method: line.reason for line in baselines.methods if line.reason},
        ).save(out)


def _compared(methods: Iterable[AnyArm]) -> list[tuple[AnyArm, AnyArm]]:
    return [
        pair for method in methods for pair in ((method, Arm.POST_TRAINED), (Arm.RESTORED, method))
    ]


def _between(text: str, *, before: str, after: str | None = None) -> str:
    return "\n\n".join(part for part in (before, text, after) if part)


def _check(
    exam: Exam,
    prompts: SuiteSet,
    models: Models,
    evidence: Evidence,
    baselines: Baselines,
) -> None:
    """Raise `EvidenceError` unless all that is compared is about the same things."""
    checkpoint = models.post_trained
    pairs = [
        ("the evaluation's test prompts", evidence.test_prompts, exam.digest),
        ("the evaluation's prompts and suites", evidence.data, prompts.digest),
        ("the evaluation's engine", evidence.engine, engine_identity()),
        ("the evaluation's rows", evidence.rows, evidence.rows_now()),
        ("the baselines' model", baselines.base_model, checkpoint.digest),
        ("the baselines' prompt contract", baselines.contract, checkpoint.contract),
        ("the baselines' data", baselines.data, prompts.digest_of_prompts),
    ]
    pairs += [
        (f"the adapter {line.method}", line.digest, digest_folder(baselines.adapter(line.method)))
        for line in baselines.methods
        if line.digest
    ]
    for what, expected, found in pairs:
        if expected != found:
            raise EvidenceError(
                f"{what} differ: {expected} then, {found} now; run the stages evaluate and "
                "baselines again"
            )


def _same_judges(evaluation: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raise `EvidenceError` where a suite's judge is another one than in the evaluation."""
    for suite, judge in here.items():
        if evaluation.get(suite) != judge:
            raise EvidenceError(
                f"the judge of the suite {suite} differs: {evaluation.get(suite)} in the "
                f"evaluation, {judge} now; run the stage evaluate again"
            )


def _ask(
    exam: Exam,
    checkpoint: Checkpoint,
    baselines: Baselines,
    rewordings: Mapping[Method, Callable[[str], str]],
) -> dict[AnyArm, list[Answer]]:
    """Return what every method writes."""
    answers: dict[AnyArm, list[Answer]] = {
        method: checkpoint.answers(exam, method, reword=reword)
        for method, reword in rewordings.items()
    }
    for line in baselines.methods:
        if line.digest:
            adapter = (baselines.adapter(line.method), line.digest)
            answers[line.method] = checkpoint.answers(exam, line.method, adapter)
    return answers
