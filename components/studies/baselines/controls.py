"""Controls: what a method gains without what it is said to learn from its teacher.

Each gives a method as many rows, on the same prompts, as its teacher does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from components.core.errors import TrainingError
from components.core.vocabulary import Role
from components.train.answers import Answers, Asking, answered
from components.train.batches import TargetRows
from components.train.data import TrainingData
from components.train.processes import made_once
from components.train.rows import MIN_REFUSALS, TrainingRow, cut_rows, refuses
from components.train.taught import TeacherData
from components.train.teacher import Reader, open_teacher


class Control(TrainingData):
    """Training data whose harmful rows have other targets than the teacher's own."""

    def sampled_rows(self, count: int, number: int, adapter: Path | None) -> TargetRows:  # noqa: ARG002
        """Raise `TrainingError`: only the teacher's own answers can be changed."""
        raise TrainingError(
            "the method learns from samples of the student, and controls change the teacher's "
            "answers; take this arm out of baselines.methods"
        )


class Shuffled(Control):
    """The teacher's refusals, with its states and next tokens, each behind another prompt."""

    def teacher_data(self) -> TeacherData:
        """Return the harmful rows, dealt anew among the prompts of each form."""
        taught, generator = super().teacher_data(), np.random.default_rng(self.seed)
        order: list[int] = []
        for count in taught.by_form:
            order += [len(order) + i for i in derangement(count, generator)]
        refusals = TargetRows(taught.refusals, [0] * len(order)).dealt(order).rows
        return replace(taught, rows=taught.rows.dealt(order), refusals=refusals)


def derangement(count: int, generator: np.random.Generator) -> list[int]:
    """Return a random order of `count` things in one circle, so that none keeps its place."""
    circle = generator.permutation(count).tolist()
    following = dict(zip(circle, [*circle[1:], *circle[:1]], strict=True))
    return [following[i] for i in range(count)]


class Answering(Control):
    """The teacher's answers to benign prompts in the place of its refusals.

    A post-trained model that taught itself would leave no loss and so no training; the teacher
    itself, where it does not refuse, trains as much and is of the same weights.
    """

    def teacher_data(self) -> TeacherData:
        """Return the harmful rows with answers to benign prompts and the teacher's states there."""
        folder = made_once(self.scratch / f"answering-{self.teacher_name}", self._answer)
        stored = TargetRows.load(folder)
        rows = replace(stored, rows=cut_rows(stored.rows, self.settings.refusal_tokens))
        return replace(super().teacher_data(), rows=rows, refusals=stored.rows)

    def _answer(self, folder: Path) -> None:
        taught, settings = super().teacher_data(), self.settings
        by_teacher: list[TrainingRow] = []
        # Of each prompt as many tokens as the teacher's refusal has in common with the student's.
        refusals = zip(taught.rows.counted, taught.rows.rows, strict=True)
        shared = [count - row.counted(0) for count, row in refusals]
        with open_teacher(self.models, self.probe) as teacher:
            for count, answers in zip(taught.by_form, self._answers(teacher), strict=True):
                by_teacher += [answers[i % len(answers)] for i in range(count)]
            read = cut_rows(by_teacher, settings.refusal_tokens)
            counted = [row.counted(same) for row, same in zip(read, shared, strict=True)]
            self._store(teacher, read, counted, self.probe.target_layers, folder)
        pairs = zip(taught.refusals, by_teacher, strict=True)
        rows = [replace(refusal, completion=row.completion) for refusal, row in pairs]
        TargetRows(rows, counted).save(folder)

    def _answers(self, teacher: Reader) -> Iterator[list[TrainingRow]]:
        """Yield, form by form, what the teacher answers to benign prompts without refusing."""
        benign = [prompt for prompt in self._training_prompts[1] if prompt.role is Role.BENIGN]
        reading = self._read(benign)
        asked = self._asked(teacher, reading, self.settings.teacher_reads)
        settings = self.settings
        asking = Asking(
            teacher, settings.teacher_reads, settings.taught_tokens, "teacher answers, benign"
        )
        answers = Answers()
        for form, prompts in asked.items():
            written = answered(asking, answers, prompts, reading[form], form)
            rules, least = settings.rules, settings.prompt_tokens
            kept = [
                row
                for row in written
                if len(row.prompt) >= least and not refuses(teacher, row, rules)
            ]
            if len(kept) < MIN_REFUSALS:
                raise TrainingError(
                    f"the teacher answers {len(kept)} of {len(prompts)} benign training prompts in "
                    f"the form {form}; the control needs {MIN_REFUSALS}: add benign prompts"
                )
            yield kept


CONTROL_DATA: dict[str, type[Control]] = {"shuffled": Shuffled, "answering": Answering}
