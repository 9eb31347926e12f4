"""Forward passes are cut where padding takes much, and the step stays the same."""

from __future__ import annotations

import pytest

from components.train import trainer as trainer_module
from components.train.batches import Plan, TargetRows
from components.train.passes import cut, widest_pass
from components.train.rows import TrainingRow
from tests.components.train.test_processes import assert_same_gradients, case
from tests.components.train.worker import gradients

__all__ = ["case"]  # a fixture


def plan_of(*lengths: tuple[int, ...]) -> Plan:
    """One step, with rows of these lengths in each group."""
    groups = {
        str(k): TargetRows([TrainingRow(str(n), (1,) * n, ()) for n in own], [1] * len(own))
        for k, own in enumerate(lengths)
    }
    return Plan(groups, [[(i,) * len(lengths) for i in range(len(lengths[0]))]], {})


def lengths_of(plan: Plan, least: float) -> list[list[int]]:
    parts = cut(plan, plan.items(0), least)
    return [[len(plan.groups["0"].rows[i].inputs) for _, (i, *_) in part] for part in parts]


def test_a_part_ends_where_the_rest_saves_enough_by_hand():
    plan = plan_of((40, 100, 30, 90))
    # Behind 100 three rows would be padded by 10 less, behind 90 two by 50 less.
    assert lengths_of(plan, 31) == [[100, 90], [40, 30]]
    assert lengths_of(plan, 30) == [[100], [90], [40, 30]]
    assert lengths_of(plan, 100) == [[100, 90], [40, 30]]
    assert lengths_of(plan, 121) == [[100, 90, 40, 30]]
    assert lengths_of(plan, float("inf")) == [[100, 90, 40, 30]]


def test_the_groups_of_an_item_stay_together():
    plan = plan_of((10, 50), (50, 10))
    assert widest_pass(plan, 2) == 200 and widest_pass(plan, 1) == 60
    # Together 2 (50 + 50), apart twice 60.
    assert lengths_of(plan, 81) == [[10, 50]]
    assert lengths_of(plan, 80) == [[10], [50]]


@pytest.mark.parametrize("which", ["safereact", "sft"])
def test_cut_passes_have_the_gradients_of_whole_ones(case, tmp_path, monkeypatch, which):
    steps = []
    for name, worth in (("whole", 1 << 40), ("cut", 1)):
        monkeypatch.setattr(trainer_module, "_WORTH_BYTES", worth)
        steps.append(gradients(case, which, tmp_path / name))
    (whole, curves), (parts, others) = steps
    assert_same_gradients(parts, whole)
    for line, other in zip(others.curves, curves.curves, strict=True):
        assert line == pytest.approx(other, rel=1e-4)
