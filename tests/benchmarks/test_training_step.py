"""The benchmark compares like with like: both sides minimise the same loss."""

from __future__ import annotations

import pytest

from benchmarks.training_step import (
    Case,
    compare,
    draw_rows,
    ours,
    reaches,
    report,
    straightforward,
)

SMALL = Case(
    steps=4,
    batch=2,
    hidden=64,
    layers=5,
    heads=4,
    kv_heads=2,
    feed_forward=128,
    vocabulary=200,
    targets=(2, 4),
    widths=(96, 128),
)


@pytest.mark.parametrize("method", ["safereact", "distil"])
def test_all_sides_have_the_same_losses(tmp_path, method):
    plain = straightforward(SMALL, method=method)
    quick = ours(SMALL, tmp_path / "whole", method=method)
    single = ours(SMALL, tmp_path / "single", method=method, micro_batch=1)
    assert len(plain["losses"]) == len(plain["seconds"]) == len(quick["seconds"]) == 4
    assert len(set(plain["losses"])) == 4
    assert quick["losses"] == pytest.approx(plain["losses"], rel=1e-4)
    assert single["losses"] == pytest.approx(plain["losses"], rel=1e-4)


def test_lengths_are_as_stated():
    harmful, retained = draw_rows(Case(steps=100)).values()
    lengths = [sorted(len(row.inputs) for row in group.rows) for group in (harmful, retained)]
    assert lengths[0][0] >= 20 and lengths[0][-1] <= 80
    assert lengths[1][0] >= 64 and lengths[1][-1] <= 512
    assert 200 < lengths[1][200] < 240
    assert set(harmful.counted) == {18}
    assert retained.counted == [len(row.inputs) for row in retained.rows]


def test_ratios_by_hand():
    plain = {"seconds": [9, 4, 4], "losses": [2.0, 4.0, 1.0], "peak_mib": 1000}
    quick = {"seconds": [8, 1, 1], "losses": [2.0, 4.1, 1.0], "peak_mib": 400, "seconds_once": 3.0}
    ratios = compare(plain, quick)
    assert ratios == pytest.approx({"speed": 4, "memory": 0.4, "loss": 0.025})
    document = {
        "case": {"layers": 5, "hidden": 64, "targets": [2], "batch": 2, "seed": 0, "steps": 3},
        "machine": "a machine",
        "command": "a command",
        "methods": {
            "distil": {
                "sides": {"straightforward": plain, "ours": quick},
                "ratios": {"ours": ratios},
            }
        },
        "bars": {"speed": 3, "memory": 0.6, "loss": 1e-4},
    }
    last, ours_line = report(document).splitlines()[4:6]
    assert last.split() == ["straightforward", "0.250", "1000"]
    assert ours_line.split() == ["ours", "1.000", "4.00", "400", "0.40", "2.5e-02"]


@pytest.mark.parametrize(
    ("ratios", "reached"),
    [
        ((3.0, 0.6, 1e-4), True),
        ((2.9, 0.6, 1e-4), False),
        ((3.0, 0.61, 1e-4), False),
        ((3.0, 0.6, 2e-4), False),
    ],
)
def test_every_bar_has_to_be_reached(ratios, reached):
    assert reaches(dict(zip(("speed", "memory", "loss"), ratios, strict=True))) is reached
