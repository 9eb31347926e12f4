"""What people say of an evaluation's own completions: the labels that correct its figures.

A label names a part of a completion by its place and by the digest of its text, so no file of
labels holds what a model wrote, and a label counts only for that very text. Words are added and
never changed: of several of one person on a text the last one holds.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from components.core.errors import DataError, StageError
from components.core.result import Record
from components.core.section import Sha256, Text
from components.core.storage import (
    EVERYBODY,
    digest_bytes,
    read_json_lines,
    records_in,
    replace_surrogates,
)
from components.core.vocabulary import Outcome, View


class Word(StrEnum):
    """What a person says of a text."""

    REFUSED = Outcome.REFUSED.value
    COMPLIED = Outcome.COMPLIED.value
    NEITHER = Outcome.NEITHER.value
    SKIPPED = "skipped"  # seen, and not decided
    WITHDRAWN = "withdrawn"  # what was said before is not meant


class Part(NamedTuple):
    """One part of one completion of an evaluation, with the digest of its text."""

    arm: str
    suite: str
    form: str
    prompt_id: str
    sample: int
    view: View  # thought or answer
    text: str

    @classmethod
    def of(cls, arm: str, place: tuple[str, str, str, int], view: View, text: str) -> Part:
        """Return the part of the completion at `place` that is this text, as rows hold it."""
        return cls(arm, *place, view, digest_bytes(replace_surrogates(text).encode()))


class Label(Record):
    """One person's word on one part of a completion."""

    arm: str
    suite: str
    form: str
    prompt_id: str
    sample: int
    view: View
    text: Sha256
    word: Word
    by: Text

    @property
    def part(self) -> Part:
        """What it is about."""
        return Part(*(getattr(self, name) for name in Part._fields))


def read_labels(path: Path) -> list[Label]:
    """Return the labels in a file, or in every `.jsonl` of a folder; none where it is not there.

    No order is known between files, so what is withdrawn in one leaves the others alone. Raises
    `DataError` naming the row that is no label.
    """
    if path.is_dir():
        return [label for file in records_in(path, ".jsonl") for label in _standing(file)]
    if not path.is_file():
        return []
    try:
        rows = read_json_lines(path)
    except StageError as error:
        raise DataError(f"the labels cannot be read: {error}; mend or remove the line") from error
    return [_label(row, f"{path}, label {number}") for number, row in enumerate(rows, 1)]


def _standing(file: Path) -> list[Label]:
    last = {(label.part, label.by): label for label in read_labels(file)}
    return [label for label in last.values() if label.word is not Word.WITHDRAWN]


def _label(row: Mapping[str, object], where: str) -> Label:
    try:
        label = Label.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{where}: {key}: {first['msg']}; `safereact label` writes them: mend or remove the row"
        ) from error
    if label.view not in (View.THOUGHT, View.ANSWER):
        raise DataError(f"{where}: a label is about a thought or an answer, not {label.view}")
    return label


def add_label(path: Path, label: Label) -> None:
    """Put a label behind those in a file, on the disk before it returns.

    Raises `OSError` where the disk has no room; then the file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = f"{label.model_dump_json()}\n".encode()
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, EVERYBODY)
    try:
        size = os.fstat(handle).st_size
        whole = not size or os.pread(handle, 1, size - 1) == b"\n"
        line = line if whole else b"\n" + line
        if os.write(handle, line) < len(line):  # at once, so it is there whole or not
            os.ftruncate(handle, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def last_words(labels: Iterable[Label]) -> dict[Part, dict[str, Word]]:
    """Return what holds of each part, by who said it."""
    words: dict[Part, dict[str, Word]] = {}
    for label in labels:
        words.setdefault(label.part, {})[label.by] = label.word
    return words


def agreed_outcomes(labels: Iterable[Label]) -> dict[Part, Outcome | None]:
    """Return of each part that somebody saw what most people say that it does; None where they are
    as many for one as for another, or nobody decided."""
    found: dict[Part, Outcome | None] = {}
    for part, by_person in last_words(labels).items():
        if all(word is Word.WITHDRAWN for word in by_person.values()):
            continue
        said = Counter(Outcome(word) for word in by_person.values() if word in _OUTCOMES)
        most = [outcome for outcome, n in said.items() if n == max(said.values())]
        found[part] = most[0] if len(most) == 1 else None
    return found


_OUTCOMES = (Word.REFUSED, Word.COMPLIED, Word.NEITHER)
