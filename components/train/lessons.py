"""Sides and lessons on disk, so that a resumed training, or another process, need not ask again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from components.core.storage import read_json, write_json
from components.train.batches import Side
from components.train.rows import Row
from components.train.sides import Lesson
from components.train.targets import StoredStates

_SIDE, _LESSON = "side.json", "lesson.json"


def save_side(side: Side, folder: Path) -> None:
    """Write a side beside its states, which lie in `folder` already where they are stored."""
    document = {
        "rows": [asdict(row) for row in side.rows],
        "tails": list(side.tails),
        "stored": side.targets is not None,
    }
    write_json(folder / _SIDE, document)


def load_side(folder: Path) -> Side:
    """Return the side in `folder`."""
    document = read_json(folder / _SIDE)
    targets = StoredStates(folder) if document["stored"] else None
    return Side(_rows(document["rows"]), document["tails"], targets)


def save_lesson(lesson: Lesson, folder: Path) -> None:
    """Write a lesson beside its states, which lie in `folder` already."""
    save_side(lesson.side, folder)
    document = {
        "refusals": [asdict(row) for row in lesson.refusals],
        "refused": lesson.refused,
        "asked": lesson.asked,
    }
    write_json(folder / _LESSON, document)


def load_lesson(folder: Path) -> Lesson:
    """Return the lesson in `folder`."""
    document = read_json(folder / _LESSON)
    refusals = _rows(document.pop("refusals"))
    return Lesson(side=load_side(folder), refusals=refusals, **document)


def _rows(documents: Sequence[dict]) -> list[Row]:
    return [
        Row(row["prompt_id"], tuple(row["prompt"]), tuple(row["completion"])) for row in documents
    ]
