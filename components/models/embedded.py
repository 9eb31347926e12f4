"""The embedded prompts of the tiny world: `python -m components.models.embedded` rewrites them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.core.storage import write_text
from components.core.vocabulary import Role, Split
from components.models import world

FOLDER = Path(__file__).parents[2] / "data" / "embedded" / "tiny"
COUNTS = {
    Split.TRAIN: {
        Role.HARMFUL: 400,
        Role.BORDERLINE: 400,
        Role.BENIGN: 400,
        Role.REASONING: 600,
    },
    Split.TEST: {
        Role.HARMFUL: 300,
        Role.BORDERLINE: 240,
        Role.BENIGN: 300,
        Role.REASONING: 300,
    },
}
_SEED = 2604


def embedded_rows(split: Split) -> list[dict[str, Any]]:
    """Return the rows of `train.jsonl` or `test.jsonl`, with distinct texts, always the same."""
    generator = np.random.default_rng((_SEED, list(Split).index(split)))
    rows: list[dict[str, Any]] = []
    for role, count in COUNTS[split].items():
        drawn: dict[str, dict[str, Any]] = {}
        while len(drawn) < count:
            row = _draw_row(role, split, generator)
            drawn.setdefault(row["text"], row)
        rows += drawn.values()
    return rows


def write_embedded(folder: Path) -> None:
    """Write `train.jsonl` and `test.jsonl`, one JSON object a line, into `folder`."""
    for split in COUNTS:
        lines = [json.dumps(row) + "\n" for row in embedded_rows(split)]
        write_text(folder / f"{split}.jsonl", "".join(lines))


def _draw_row(role: Role, split: Split, generator: np.random.Generator) -> dict[str, Any]:
    if role == Role.REASONING:
        problem = world.draw_problem(split, generator)
        return {
            "text": world.draw_question(problem, split, generator),
            "role": role.value,
            "topic": problem.topic,
            "answer": problem.answer,
            "thought": problem.thought,
            "response": f"the answer is {problem.answer}.",
        }
    deeds = [deed for deed in world.DEEDS if (deed.role, deed.split) == (role, split)]
    deed = deeds[generator.integers(len(deeds))]
    phrasings = world.TEST_PHRASINGS if split == Split.TEST else world.TRAIN_PHRASINGS
    return {
        "text": world.draw_request(deed, phrasings, generator),
        "role": role.value,
        "topic": deed.topic,
        "answer": None,
        "thought": None,
        "response": world.REFUSAL if role == Role.HARMFUL else deed.steps,
    }


if __name__ == "__main__":
    write_embedded(FOLDER)
