"""The sweep: which points there are, what is applied in each, which is chosen."""

from __future__ import annotations

import pytest
import torch

from components.core.errors import ConfigError
from components.core.vocabulary import Outcome, Role
from components.lm.masks import projections
from components.probe.settings import Pruning, TeacherCheck
from components.probe.sweep import sweep_masks

R, C, N = Outcome.REFUSED, Outcome.COMPLIED, Outcome.NEITHER
CHECK = TeacherCheck(min_harmful_refused=0.5, max_benign_refused=0.5, min_coherent=0.5)
WHOLE = {Role.HARMFUL: [C, C], Role.BENIGN: [C, C]}


@pytest.fixture
def norms(small_model):
    def draw(seed: int) -> dict[str, torch.Tensor]:
        source = torch.Generator().manual_seed(seed)
        return {
            name: torch.rand(linear.in_features, generator=source, dtype=torch.float64)
            for name, linear in projections(small_model).items()
        }

    return draw(0), draw(1)


BOTH = {"matrix": (0.2, 0.1), "row": (0.2, 0.1)}


def sweep(model, norms, measure, *, shares=BOTH, kept=None, check=CHECK):
    pruning = Pruning(shares=shares, kept=kept)
    measures = measure if isinstance(measure, dict) else {"pruned": measure}
    return sweep_masks(model, norms, WHOLE, measures, pruning=pruning, check=check, seed=0)


def test_points_of_the_grid_and_what_is_removed_in_each(small_model, norms):
    before = {name: linear.weight.clone() for name, linear in projections(small_model).items()}
    zeros = []

    def measure(_label):
        linears = projections(small_model).values()
        zeros.append(sum(int((linear.weight == 0).sum()) for linear in linears))
        return {Role.HARMFUL: [R, N], Role.BENIGN: [C, N, N]}

    found = sweep(small_model, norms, measure)
    assert [(p.by, p.scope, p.share) for p in found.points] == [
        ("nothing", None, None),
        ("set-difference", "matrix", 0.1),
        ("uniform", "matrix", 0.1),
        ("magnitude-matched", "matrix", 0.1),
        ("set-difference", "matrix", 0.2),
        ("uniform", "matrix", 0.2),
        ("magnitude-matched", "matrix", 0.2),
        ("set-difference", "row", 0.1),
        ("uniform", "row", 0.1),
        ("magnitude-matched", "row", 0.1),
        ("set-difference", "row", 0.2),
        ("uniform", "row", 0.2),
        ("magnitude-matched", "row", 0.2),
    ]
    assert [p.removed for p in found.points] == [0, *zeros]
    for first in range(0, len(zeros), 3):
        assert len(set(zeros[first : first + 3])) == 1 and zeros[first] > 0
    whole, first = found.points[:2]
    assert whole.weights == first.weights == sum(weight.numel() for weight in before.values())
    assert (whole.harmful_refused.rate, whole.coherent.rate, whole.coherent.n) == (0, 1, 4)
    assert (first.harmful_refused.count, first.harmful_refused.n) == (1, 2)
    assert (first.benign_refused.count, first.benign_refused.n) == (0, 3)
    assert (first.coherent.count, first.coherent.n) == (2, 5)
    for name, linear in projections(small_model).items():
        assert torch.equal(linear.weight, before[name])


def test_the_kept_share_is_swept_beside_the_removed_one(small_model, norms):
    labels = []

    def measure(label):
        labels.append(label)
        return WHOLE

    found = sweep(small_model, norms, measure, shares={"matrix": (0.2, 0.1)}, kept=(0.2, 0.05))
    chosen = [p for p in found.points if p.by == "set-difference"]
    assert [(p.share, p.kept) for p in chosen] == [(0.1, 0.05), (0.1, 0.2), (0.2, 0.05), (0.2, 0.2)]
    assert chosen[0].removed > chosen[1].removed and chosen[2].removed > chosen[3].removed
    assert [found.points[0].share, found.points[0].kept] == [None, None]
    assert labels[0] == "without 0.1 but 0.05 per matrix, set-difference"
    assert "without 0.2 per matrix, set-difference" in labels


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        # The widest gap among those that pass; all the same: the smallest share, per matrix.
        ({}, ("matrix", 0.1)),
        ({"0.2 per matrix": ([R, R], [C, C])}, ("matrix", 0.2)),
        ({"0.2 per matrix": ([R, R], [R, C]), "0.1 per row": ([R, R], [C, C])}, ("row", 0.1)),
        # One that passes before one that does not, however wide its gap.
        ({"0.1 per row": ([R, R], [N, N]), "0.2 per row": ([R, C], [C, C])}, ("row", 0.2)),
        # The same gap: the more coherent.
        ({"0.1 per row": ([R, R], [C, N]), "0.2 per row": ([R, R], [C, C])}, ("row", 0.2)),
    ],
)
def test_the_best_point_is_chosen(small_model, norms, answers, chosen):
    check = TeacherCheck(min_harmful_refused=0.5, max_benign_refused=0.5, min_coherent=0.6)

    def measure(label):
        harmful, benign = next(
            (given for key, given in answers.items() if f"{key}, set" in label), ([C, C], [C, C])
        )
        if "set-difference" not in label:
            harmful = [R, R]  # a control is never chosen
        return {Role.HARMFUL: harmful, Role.BENIGN: benign}

    found = sweep(small_model, norms, measure, check=check)
    (point,) = [p for p in found.points if p.chosen]
    assert (point.by, point.scope, point.share) == ("set-difference", *chosen)
    assert point.removed == found.best["pruned"].removed
    assert sum(mask.removed for mask in found.best["pruned"].masks.values()) == point.removed


def test_each_kind_of_teacher_has_its_own_best_point(small_model, norms):
    """The pruned model refuses best without 0.1, under the reminder best without 0.2."""

    def measure(label, refused):
        return {Role.HARMFUL: [R, R if refused in label else C], Role.BENIGN: [C, C]}

    found = sweep(
        small_model,
        norms,
        {
            "pruned": lambda label: measure(label, "0.1 per row"),
            "pruned-reminder": lambda label: measure(label, "0.2 per row"),
        },
    )
    chosen = [(p.by, p.scope, p.share) for p in found.points if p.chosen]
    assert chosen == [("set-difference", "row", 0.1), ("set-difference, reminded", "row", 0.2)]
    assert found.best["pruned"].removed < found.best["pruned-reminder"].removed
    controls = [p for p in found.points if p.by in ("uniform", "magnitude-matched")]
    assert len(controls) == 2 * 4, "controls are not asked under the reminder"


def test_a_share_that_removes_nothing_is_left_out_and_never_chosen(small_model, norms):
    calls = []

    def measure(label):
        calls.append(label)
        return WHOLE

    # 16 inputs: 0.03 of a row is no weight.
    found = sweep(small_model, norms, measure, shares={"row": (0.03, 0.2)})
    arms = ("set-difference", "uniform", "magnitude-matched")
    assert [(p.by, p.share) for p in found.points] == [("nothing", None), *((a, 0.2) for a in arms)]
    assert len(calls) == 3
    with pytest.raises(ConfigError, match=r"'row': \(0.03,\).*give larger ones"):
        sweep(small_model, norms, measure, shares={"row": (0.03,)})
    with pytest.raises(ConfigError, match="none of them removes a weight"):
        sweep(small_model, (norms[0], norms[0]), measure)
