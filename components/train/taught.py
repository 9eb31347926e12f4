"""What a teacher gives to learn from, as it lies on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from components.core.errors import StageError
from components.core.storage import read_json, write_json
from components.train.batches import TargetRows
from components.train.processes import broken
from components.train.rows import TrainingRow, cut_rows

_COUNTS = "counts.json"


@dataclass(frozen=True, slots=True)
class Counts:
    """How often a teacher refused, and what of it is taught."""

    refused: int  # prompts that it refused, over all forms
    prompts: int  # prompts that it was asked, over all forms
    by_form: list[int]  # rows of each form; they come form after form

    def save(self, folder: Path) -> None:
        """Write the counts beside the rows in `folder`."""
        write_json(folder / _COUNTS, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Counts:
        """Return the counts in `folder`; raises `TrainingError` where they are broken."""
        try:
            return TypeAdapter(cls).validate_python(read_json(folder / _COUNTS))
        except (StageError, ValueError) as error:
            raise broken(folder, error) from error


@dataclass(frozen=True, slots=True)
class TeacherData:
    """What the teacher gives: rows with its states, and its refusals in tokens."""

    rows: TargetRows
    refusals: Sequence[TrainingRow]  # as the student reads them
    refused: int  # prompts that it refused, over all forms
    prompts: int  # prompts that it was asked, over all forms
    by_form: Sequence[int]  # rows of each form; they come form after form

    @classmethod
    def load(cls, folder: Path, tokens: int) -> TeacherData:
        """Return what lies in `folder`, with at most so many `tokens` of each refusal in the rows
        that have states; raises `TrainingError` where it is broken."""
        refusals, counts = TargetRows.load(folder), Counts.load(folder)
        targets = replace(refusals, rows=cut_rows(refusals.rows, tokens))
        return cls(targets, refusals.rows, counts.refused, counts.prompts, counts.by_form)
