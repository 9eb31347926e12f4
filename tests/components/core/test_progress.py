"""Progress in the log: a line for every tenth."""

from __future__ import annotations

import logging

import pytest

from components.core.progress import Progress


@pytest.mark.parametrize(
    ("total", "steps", "told"),
    [
        (100, [1] * 100, [f"rows {10 * i}/100" for i in range(1, 11)]),
        (3, [1, 1, 1], ["rows 1/3", "rows 2/3", "rows 3/3"]),
        (64, [40, 24], ["rows 40/64", "rows 64/64"]),
        (5, [5], ["rows 5/5"]),
        (0, [], []),
    ],
)
def test_every_tenth_is_a_line(total, steps, told, caplog):
    progress = Progress("rows", total)
    with caplog.at_level(logging.INFO):
        for done in steps:
            progress.add(done)
    assert caplog.messages == told
