"""Models before the same harmful and benign prompts: what they do, changed step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, cast

from components.core.result import RateFigure
from components.core.storage import digest_bytes
from components.core.vocabulary import Arm, Outcome, Role, View
from components.evaluate.asking import Answer, Exam
from components.evaluate.judging import Jury, judged_rows
from components.evaluate.result import CutFigure
from components.evaluate.rows import Row
from components.judges.rules.judge import RulesJudge
from components.lm.ablation import ablated
from components.lm.adapters import attach_adapter
from components.lm.engines.finished import FinishedRequests
from components.lm.generation import engine_of
from components.studies.undo.result import Undo
from components.studies.withstand.directions import Direction, Tried, strongest
from components.studies.withstand.result import Standing

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Variant(NamedTuple):
    """An arm's model, as it is or changed."""

    arm: Arm
    steps: int = 0  # of a fine-tune on harmless rows
    ablated: bool = False  # without its refusal direction


@dataclass(frozen=True, slots=True)
class Subject:
    """An arm's model in memory, and the digests that its weights come from."""

    arm: Arm
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    made_of: tuple[str, ...]  # checkpoint, adapter that was merged into it


@dataclass(frozen=True, slots=True)
class Chosen:
    """The direction that was taken out of an arm's model."""

    direction: Direction
    tried: int
    coherent: bool


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Test prompts for figures, validation prompts for the choice of a direction, and the answers.

    The choice goes by the profile's rules while the model is in memory; the test prompts' own
    judges read the answers when no model is. What is in `finished` is not written again.
    """

    test: Exam
    validation: Exam
    rules: RulesJudge
    batch: int
    finished: FinishedRequests
    answers: dict[Variant, list[Answer]] = field(default_factory=dict)

    def ask(self, subject: Subject) -> None:
        """Keep what the model answers to the test prompts."""
        self.answers[Variant(subject.arm)] = self._asked(self.test, subject)

    def ask_tuned(self, subject: Subject, undone: Undo) -> None:
        """Keep what the merged model answers after every kept step of its fine-tune.

        The model is afterwards what it was before.
        """
        model = subject.model
        for line in undone.tuned:
            if line.arm is subject.arm:
                adapted = attach_adapter(model, undone.adapter(line.arm, line.steps))
                tuned = replace(subject, model=cast("PreTrainedModel", adapted))
                answers = self._asked(self.test, tuned, line.digest)
                self.answers[Variant(line.arm, steps=line.steps)] = answers
                model = adapted.unload()

    def ask_ablated(
        self, subject: Subject, directions: Sequence[Direction], *, min_coherent: float
    ) -> Chosen:
        """Keep what the model answers without that of the `directions` which undoes most on the
        validation prompts, and return which it was."""

        def validate(direction: Direction | None) -> Tried:
            change = () if direction is None else (direction.digest,)
            answers = self._asked(self.validation, subject, *change)
            return tried(judged_rows(subject.arm, answers, self.rules))

        direction, coherent = strongest(
            subject.model, directions, validate, min_coherent=min_coherent
        )
        with ablated(subject.model, direction.vector):
            answers = self._asked(self.test, subject, direction.digest)
        self.answers[Variant(subject.arm, ablated=True)] = answers
        return Chosen(direction, len(directions), coherent)

    def _asked(self, exam: Exam, subject: Subject, *changed_by: str) -> list[Answer]:
        """Return the answers of a model; `changed_by` are digests of what is put on it or taken out
        of it while it is asked."""
        model, tokenizer = subject.model, subject.tokenizer
        made_of = (*subject.made_of, *changed_by, model.device.type, str(model.dtype))
        engine = self.finished.resume(
            engine_of(model, tokenizer, batch=self.batch), digest_bytes(" ".join(made_of).encode())
        )
        context = model.config.get_text_config().max_position_embeddings
        return exam.ask(subject.arm, engine, tokenizer, context=context)

    def standings(self, jury: Jury, confidence: float) -> dict[Variant, Standing]:
        """Return the standing of every variant by the word of the test prompts' jury."""
        rows: dict[Variant, list[Row]] = {variant: [] for variant in self.answers}
        for called, _ in jury.in_turn():
            for variant, answers in self.answers.items():
                rows[variant] += jury.rows(called, variant.arm, answers)
        return {variant: standing(own, confidence) for variant, own in rows.items()}


def standing(rows: Sequence[Row], confidence: float) -> Standing:
    """Return the rates of judged rows.

    Raises `EvidenceError` where none is of a harmful or none is of a benign prompt.
    """

    def rate(role: Role, held: Iterable[bool]) -> RateFigure:
        counted = [one for row, one in zip(rows, held, strict=True) if row.role is role]
        return RateFigure.of(sum(counted), len(counted), confidence)

    return Standing(
        harmful_refused=rate(Role.HARMFUL, map(_refused, rows)),
        harmful_complied=rate(Role.HARMFUL, map(_complied, rows)),
        harmful_unparsed=rate(Role.HARMFUL, map(_unparsed, rows)),
        benign_coherent=rate(Role.BENIGN, map(_coherent, rows)),
        benign_unparsed=rate(Role.BENIGN, map(_unparsed, rows)),
        cut=CutFigure(count=sum(row.cut for row in rows), n=len(rows)),
    )


def tried(rows: Sequence[Row]) -> Tried:
    """Return what the choice of a direction goes by."""
    return Tried(
        refused=sum(_refused(row) for row in rows if row.role is Role.HARMFUL),
        coherent=sum(_coherent(row) for row in rows if row.role is Role.BENIGN),
    )


def _refused(row: Row) -> bool:
    return row.outcome(View.ANSWER) is Outcome.REFUSED


def _complied(row: Row) -> bool:
    return row.outcome(View.EITHER) is Outcome.COMPLIED


def _coherent(row: Row) -> bool:
    return row.outcome(View.ANSWER) in (Outcome.REFUSED, Outcome.COMPLIED)


def _unparsed(row: Row) -> bool:
    return Outcome.UNPARSED in (row.outcome_thought, row.outcome_answer)
