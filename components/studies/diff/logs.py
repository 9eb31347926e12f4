"""The form that every harness's log is brought to: values by task, prompt and metric.

Texts of a log are untrusted. None but names is kept, and names are short.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import DataError
from components.core.untrusted_text import for_terminal

Value = float | str  # a number, or the text that a scorer gave instead of one

MOST_BYTES = 4 << 30  # of all files of a log together, unpacked
MOST_VALUES = 5_000_000  # of all samples and metrics of a log together
MOST_METRICS = 200  # of a sample
LONGEST_NAME = 200  # characters of a prompt's id, a task's or a metric's name
_LARGEST = 1e50  # sums of squares stay finite


@dataclass(slots=True)
class Scored:
    """A prompt, and what its samples were given."""

    content: str  # digest of what was asked and of the answer that was wanted
    form: str  # digest of the text that the model got; empty where the log has none
    values: dict[str, list[Value]] = field(default_factory=dict)  # metric -> a value a sample


@dataclass(slots=True)
class Log:
    """What one evaluation found."""

    harness: str
    path: Path
    tasks: dict[str, dict[str, Scored]] = field(default_factory=dict)  # task -> prompt's id
    left_out: Counter[str] = field(default_factory=Counter)  # what it is, in words -> how many
    notes: list[str] = field(default_factory=list)
    _size: int = 0

    def add(self, task: str, prompt: str, asked: Scored, values: Mapping[str, Value]) -> None:
        """Add a sample's values, leaving out numbers that are none or beyond 1e50.

        `asked` is the prompt as this sample has it. Raises `DataError` where another sample of the
        same id was asked something else, and for more values than fit.
        """
        self._size += len(values) + 1
        if self._size > MOST_VALUES or len(values) > MOST_METRICS:
            raise DataError(
                f"{shown(self.path)} holds more than {MOST_VALUES} values, or a sample of more "
                f"than {MOST_METRICS}; compare one task at a time"
            )
        for name in (task, prompt, *values):
            if len(name) > LONGEST_NAME:
                raise DataError(
                    f"{shown(self.path)} has the name {shown(name)}, which is longer than "
                    f"{LONGEST_NAME} characters; is it a log?"
                )
        known = self.tasks.setdefault(task, {}).setdefault(prompt, asked)
        if known.content != asked.content:
            raise DataError(
                f"{shown(self.path)}: samples of the prompt {shown(prompt)} of task {shown(task)} "
                "were asked different things; its id must be one prompt's alone"
            )
        for metric, value in values.items():
            if isinstance(value, str) or abs(value) <= _LARGEST:
                known.values.setdefault(metric, []).append(value)
            else:
                self.left_out[
                    f"values of {shown(metric)} of task {shown(task)} that are NaN, "
                    "infinite or beyond 1e50"
                ] += 1


def number_in(value: object) -> float | None:
    """Return a number or a truth value as a number; infinite where it is too great for one.

    None where it is neither.
    """
    if not isinstance(value, (bool, int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def shown(name: object) -> str:
    """Return a name or path out of a log, or of one, as part of a message: short, on one line."""
    text = for_terminal(str(name))
    return text if len(text) <= 80 or isinstance(name, Path) else f"{text[:80]}…"
