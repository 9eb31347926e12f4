"""The stage `compare`: other methods on the prompts that the adapter was evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from components import config
from components.errors import EvidenceError
from components.evaluation.asking import Questions, sample
from components.evaluation.judging import Row, read_judged
from components.evaluation.metrics import counts_of, differences, rates
from components.lm.loading import attach_adapter, checkpoint_folder, load_model, load_tokenizer
from components.records import AnyArm, Arm, Method, Split
from components.results import Baselines, Comparison, Evidence, Models, Probe, PromptSet
from components.storage import digest_folder, write_rows
from components.workspace import ROWS

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def compare(
    section: config.Compare,
    settings: config.Evaluate,
    prompts: PromptSet,
    models: Models,
    probe: Probe,
    evidence: Evidence,
    baselines: Baselines,
    *,
    seed: int,
    out: Path,
) -> Comparison:
    """Write rows and figures of every other method into `out` and return the figures of all.

    The four arms keep the rows of their evaluation. Raises `EvidenceError` where that was on other
    prompts or by another judge, and for an adapter of another model, contract or data.
    """
    questions = Questions.of(
        settings,
        sample(prompts.rows(split=Split.TEST), settings.prompts, seed),
        force_think=settings.force_think,
    )
    _check(questions, prompts, models, evidence, baselines)
    rewordings = {
        Method.REMINDER: partial(_between, before=probe.reminder),
        Method.SELF_REMINDER: partial(_between, before=section.before, after=section.after),
    }
    asked = _ask(questions, models, baselines, {m: rewordings[m] for m in section.prompted})
    write_rows(out / ROWS, [row for rows in asked.values() for row in rows], Row)
    rows = read_judged(evidence.folder / ROWS) | asked
    counts = {arm: counts_of(own) for arm, own in rows.items()}
    return Comparison(
        data=prompts.digest_of_prompts,
        test_prompts=questions.digest,
        judge=questions.judge.name,
        confidence=settings.confidence,
        teacher=probe.teacher,
        rates={arm: rates(own, settings.confidence) for arm, own in counts.items()},
        differences=differences(counts, _compared(asked), settings.confidence),
        left_out={line.method: line.reason for line in baselines.methods if line.reason},
    ).save(out)


def _compared(methods: Iterable[AnyArm]) -> list[tuple[AnyArm, AnyArm]]:
    return [
        pair for method in methods for pair in ((method, Arm.POST_TRAINED), (Arm.RESTORED, method))
    ]


def _between(text: str, *, before: str, after: str | None = None) -> str:
    return "\n\n".join(part for part in (before, text, after) if part)


def _check(
    questions: Questions,
    prompts: PromptSet,
    models: Models,
    evidence: Evidence,
    baselines: Baselines,
) -> None:
    """Raise `EvidenceError` unless all that is compared is about the same things."""
    checkpoint = models.post_trained
    pairs = [
        ("the evaluation's test prompts", evidence.test_prompts, questions.digest),
        ("the evaluation's judge", evidence.judge, questions.judge.name),
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


def _ask(
    questions: Questions,
    models: Models,
    baselines: Baselines,
    rewordings: dict[Method, Callable[[str], str]],
) -> dict[AnyArm, list[Row]]:
    """Return the rows of every method; the checkpoint is loaded once."""
    folder = checkpoint_folder(models, models.post_trained)
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    rows: dict[AnyArm, list[Row]] = {
        method: questions.ask(method, model, tokenizer, reword=reword)
        for method, reword in rewordings.items()
    }
    for line in baselines.methods:
        if line.digest:
            adapted = attach_adapter(model, baselines.adapter(line.method))
            rows[line.method] = questions.ask(
                line.method, cast("PreTrainedModel", adapted), tokenizer
            )
            model = adapted.unload()
    return rows
