"""A training stops as soon as validation says so, and only then."""

from __future__ import annotations

import pytest
import torch

from components.core.paths import CURVES
from components.core.storage import read_json_lines
from components.judges.settings import RulesSettings
from components.lm.loading import load_model
from components.lm.states import hidden_states
from components.train.adapters import BaseName, add_lora
from components.train.batches import TargetRows, store_targets
from components.train.early_stop import relative_distance
from components.train.rows import TrainingRow
from components.train.settings import EarlyStopSettings, Lora

# The random models write anything, so what counts as a refusal decides the share.
ALL, NONE = (
    RulesSettings(refusal_patterns=(r"^",)),
    RulesSettings(refusal_patterns=(r"no such word",)),
)


def section(quick, **stop):
    early = EarlyStopSettings(every=2, prompts=4, tokens=3, **stop)
    return quick.model_copy(update={"early_stop": early, "steps": 5})


def looks(adapter):
    lines = read_json_lines(adapter.folder / CURVES)
    return {k: line for k, line in enumerate(lines, 1) if "validation_retention" in line}


def test_training_stops_once_both_figures_are_good_enough(run_stage, quick):
    wanted = section(quick, harmful_refused=1.0, retention=10).model_copy(update={"rules": ALL})
    adapter = run_stage(wanted)
    assert adapter.steps == 2
    assert adapter.stopped.startswith("early, after step 2: 100.0% of the harmful validation")
    (figures,) = looks(adapter).values()
    assert figures["validation_harmful_refused"] == 1
    assert 0 < figures["validation_retention"] < 10


@pytest.mark.parametrize(
    ("rules", "retention"), [(NONE, 10), (ALL, 1e-9)], ids=["not refused", "too far"]
)
def test_training_goes_on_while_one_figure_is_not(run_stage, quick, rules, retention):
    wanted = section(quick, harmful_refused=1.0, retention=retention)
    adapter = run_stage(wanted.model_copy(update={"rules": rules}))
    assert (adapter.steps, adapter.stopped) == (5, "after all its steps")
    assert list(looks(adapter)) == [2, 4]


def test_looking_changes_nothing(run_stage, quick):
    plain = run_stage(quick.model_copy(update={"steps": 5}))
    watched = run_stage(section(quick, harmful_refused=1.0, retention=1e-9))
    assert watched.digest == plain.digest


@pytest.mark.parametrize("stored", [True, False])
def test_relative_distance_is_the_mean_of_ratios(random_models, tmp_path, stored):
    adapted = add_lora(
        load_model(random_models.folder / "post-trained"),
        Lora(r=4, alpha=4, dropout=0),
        layers=range(1, 4),
        base=BaseName("post-trained"),
        seed=0,
    )
    rows = [TrainingRow("a", (5, 6, 7), (8, 9)), TrainingRow("b", (10, 11), ())]
    inputs, counted = [row.inputs for row in rows], [2, 1]
    layers = (1, 3)
    states = store_targets(
        adapted, rows, counted, layers=layers, likeliest=1, folder=tmp_path / "states"
    )
    compared = TargetRows(rows, counted, states if stored else None)
    assert relative_distance(adapted, compared, layers) == pytest.approx(0, abs=1e-6)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.05)
    ratios = []
    with torch.no_grad():
        for tokens, count, reference in zip(
            inputs, counted, [states.states([0]), states.states([1])], strict=True
        ):
            moved = hidden_states(adapted, torch.tensor([tokens]), layers)
            for i, layer in enumerate(moved):
                for k in range(count):
                    old = reference[k, i]
                    gap = layer[0, len(tokens) - count + k] - old
                    ratios.append(gap.norm().item() / old.norm().item())
    assert len(ratios) == 6
    assert relative_distance(adapted, compared, layers) == pytest.approx(sum(ratios) / 6, rel=1e-4)
