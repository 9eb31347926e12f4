"""Everyday word problems with worked steps: `python -m components.models.everyday` rewrites them.

A small language model solves next to none of GSM8K, so a fall in its accuracy could not be seen
there. These need one or two steps. Test problems are about other situations, in other words.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.core.storage import write_text
from components.core.vocabulary import Role, Split
from components.models.situations import SITUATIONS, Situation

FOLDER = Path(__file__).parents[2] / "data" / "embedded" / "everyday"
COUNTS = {Split.TRAIN: 600, Split.VALIDATION: 80, Split.TEST: 400}
_SEED = 2604
_TRAIN_NAMES = ("Mia", "Omar", "Lena", "Ravi", "Sofia", "Ken", "Ada", "Luis", "Nora", "Tom")
_TEST_NAMES = ("Hana", "Peter", "Zoe", "Ivan", "Clara", "Yusuf")


def draw_problem(situation: Situation, generator: np.random.Generator) -> dict[str, Any]:
    """Return one problem of a situation as a row: text, topic, thought, answer and response."""
    names = _TEST_NAMES if situation.split is Split.TEST else _TRAIN_NAMES
    name = names[generator.integers(len(names))]
    a, numbers, results = _draw_numbers(situation.operations, generator)
    gaps = dict(zip("bc", numbers, strict=False))
    lines, before = [], a
    for sign, number, result in zip(situation.operations, numbers, results, strict=True):
        lines.append(f"{before} {sign} {number} = {result}.")
        before = result
    return {
        "text": situation.text.format(name=name, a=a, **gaps),
        "role": Role.REASONING.value,
        "topic": situation.topic,
        "answer": str(before),
        "thought": "\n".join(lines),
        "response": f"The answer is {before}.",
    }


def _draw_numbers(
    operations: str, generator: np.random.Generator
) -> tuple[int, list[int], list[int]]:
    """Return a first number, one number a step and each step's result, all at least 1.

    They are small: what is to be measured is whether the problem is understood, not carrying.
    """
    first = int(generator.integers(2, 10) if operations[0] == "*" else generator.integers(4, 21))
    numbers: list[int] = []
    results: list[int] = []
    value = first
    for left, sign in zip(range(len(operations), 0, -1), operations, strict=True):
        if sign == "*":
            number = int(generator.integers(2, 10))
            value *= number
        elif sign == "+":
            number = int(generator.integers(2, 10))
            value += number
        else:
            # What is taken away leaves enough for the steps to come.
            number = int(generator.integers(1, max(2, min(10, value // left))))
            value -= number
        numbers.append(number)
        results.append(value)
    return first, numbers, results


def arithmetic_rows(split: Split) -> list[dict[str, Any]]:
    """Return the problems of a split, with distinct texts, as many of each situation."""
    generator = np.random.default_rng((_SEED, list(Split).index(split)))
    situations = [situation for situation in SITUATIONS if situation.split is split]
    drawn: dict[str, dict[str, Any]] = {}
    while len(drawn) < COUNTS[split]:
        situation = situations[len(drawn) % len(situations)]
        row = draw_problem(situation, generator)
        drawn.setdefault(row["text"], row)
    return list(drawn.values())


def write_arithmetic(folder: Path) -> None:
    """Write `arithmetic_<split>.jsonl` of every split, one row a line."""
    for split in COUNTS:
        lines = [json.dumps(row) + "\n" for row in arithmetic_rows(split)]
        write_text(folder / f"arithmetic_{split}.jsonl", "".join(lines))


if __name__ == "__main__":
    write_arithmetic(FOLDER)
