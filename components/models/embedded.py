"""The embedded prompts: `python -m components.models.embedded` writes them anew, always the same.

Those of the tiny world, and everyday word problems with worked steps. A small language model solves
next to none of GSM8K, so a fall in its accuracy could not be seen there; these need one or two
steps.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from components.core.documents import read_yaml
from components.core.storage import write_text
from components.core.vocabulary import Role, Split
from components.models import world

FOLDER = Path(__file__).parents[2] / "data" / "embedded"
SITUATIONS = read_yaml(Path(__file__).with_name("situations.yaml"))
WORLD_COUNTS = {
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
ARITHMETIC_COUNTS = {Split.TRAIN: 600, Split.VALIDATION: 80, Split.TEST: 800}
_SEED = 2604
_TRAIN_NAMES = ("Mia", "Omar", "Lena", "Ravi", "Sofia", "Ken", "Ada", "Luis", "Nora", "Tom")
_TEST_NAMES = ("Hana", "Peter", "Zoe", "Ivan", "Clara", "Yusuf")

Row = dict[str, Any]


def write_embedded(folder: Path) -> None:
    """Write every file of generated prompts into `folder`, one JSON object a line."""
    files = {f"tiny/{split}": world_rows(split) for split in WORLD_COUNTS}
    files |= {f"everyday/arithmetic_{split}": arithmetic_rows(split) for split in ARITHMETIC_COUNTS}
    for name, rows in files.items():
        write_text(folder / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def world_rows(split: Split) -> list[Row]:
    """Return the prompts of the tiny world for a split, with distinct texts."""
    generator = _generator(split)
    rows: list[Row] = []
    for role, count in WORLD_COUNTS[split].items():
        drawn: dict[str, Row] = {}
        while len(drawn) < count:
            row = _draw_world(role, split, generator)
            drawn.setdefault(row["text"], row)
        rows += drawn.values()
    return rows


def arithmetic_rows(split: Split) -> list[Row]:
    """Return the word problems of a split, with distinct texts, as many of each situation."""
    generator = _generator(split)
    situations = list(SITUATIONS[split].items())
    drawn: dict[str, Row] = {}
    while len(drawn) < ARITHMETIC_COUNTS[split]:
        topic, situation = situations[len(drawn) % len(situations)]
        row = _draw_arithmetic(topic, situation, split, generator)
        drawn.setdefault(row["text"], row)
    return list(drawn.values())


def _generator(split: Split) -> np.random.Generator:
    return np.random.default_rng((_SEED, list(Split).index(split)))


@cache
def _deeds(role: Role, split: Split) -> list[world.Deed]:
    return [deed for deed in world.DEEDS if (deed.role, deed.split) == (role, split)]


def _draw_world(role: Role, split: Split, generator: np.random.Generator) -> Row:
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
    deeds = _deeds(role, split)
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


def _draw_arithmetic(
    topic: str, situation: dict[str, str], split: Split, generator: np.random.Generator
) -> Row:
    names = _TEST_NAMES if split is Split.TEST else _TRAIN_NAMES
    name = names[generator.integers(len(names))]
    first, numbers, results = _draw_numbers(situation["steps"], generator)
    before = [first, *results]
    steps = zip(before, situation["steps"], numbers, results, strict=False)
    return {
        "text": situation["text"].format(
            name=name, a=first, **dict(zip("bc", numbers, strict=False))
        ),
        "role": Role.REASONING.value,
        "topic": topic,
        "answer": str(before[-1]),
        "thought": "\n".join(f"{a} {sign} {b} = {c}." for a, sign, b, c in steps),
        "response": f"The answer is {before[-1]}.",
    }


def _draw_numbers(steps: str, generator: np.random.Generator) -> tuple[int, list[int], list[int]]:
    """Return a first number, one number a step and each step's result, all at least 1.

    They are small: what is to be measured is whether the problem is understood, not carrying.
    """
    first = int(generator.integers(2, 10) if steps[0] == "*" else generator.integers(4, 21))
    numbers: list[int] = []
    results = [first]
    for left, sign in zip(range(len(steps), 0, -1), steps, strict=True):
        value = results[-1]
        # What is taken away leaves enough for the steps to come.
        low, high = (1, max(2, min(10, value // left))) if sign == "-" else (2, 10)
        number = int(generator.integers(low, high))
        numbers.append(number)
        results.append({"*": value * number, "+": value + number, "-": value - number}[sign])
    return first, numbers, results[1:]


if __name__ == "__main__":
    write_embedded(FOLDER)
