"""Every method on the random pair: an adapter of its own shape, or a reason."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open

from components.core.storage import digest_folder
from components.core.vocabulary import Method
from components.lm.adapters import attach_adapter
from components.lm.loading import load_model
from components.studies.baselines.result import Baselines
from components.studies.baselines.settings import (
    TRAINED,
    BaselinesSettings,
    CircuitBreaker,
    RankOne,
)
from components.studies.baselines.stage import baselines
from components.studies.compare.settings import CompareSettings
from tests.evidence import teacher_figures

SECTION = BaselinesSettings(
    circuit_breaker=CircuitBreaker(layers=(1, 2), tokens=6, steps=3, lr=1e-2),
    rank_one=RankOne(steps=3, lr=1e-2),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, quick, random_prompts, random_models, make_probe):
    """The reminder's check was waived, the pruned model failed its own."""
    probe = make_probe("base")
    checked = (
        *probe.teachers,
        teacher_figures("reminder", passed=True),
        teacher_figures("pruned", passed=False),
        teacher_figures("pruned-reminder", passed=True),
    )
    folder, probe = probe.folder, probe.model_copy(update={"teachers": checked})
    assert probe.folder == folder
    from components.core.paths import MASKS
    from components.lm.masks import PackedMask, projections, save_masks

    model = load_model(random_models.folder / "post-trained")
    masks = {n: PackedMask.of(m.weight > 0) for n, m in projections(model).items()}
    for name in MASKS.values():
        save_masks(folder / name, masks)
    out = tmp_path_factory.mktemp("baselines")
    return baselines(SECTION, quick, random_prompts, random_models, probe, seed=0, out=out)


def test_every_method_has_an_adapter_or_a_reason(trained):
    lines = {line.method: line for line in trained.methods}
    expected = [m for m in TRAINED if m is not Method.SAFEREACT_BASE]  # that is `train`'s
    assert list(lines) == expected
    failed = lines.pop(Method.SAFEREACT_PRUNED)
    assert failed.digest is None and "refuses 0 of 12" in failed.reason
    for method, line in lines.items():
        assert line.digest == digest_folder(trained.adapter(method)), method
        assert line.tokens > 0 and line.parameters > 0 and line.rows >= 8
    assert lines[Method.RANK_ONE].steps == 3
    assert not (trained.folder / ".scratch").exists()
    assert Baselines.load(trained.folder) == trained


def test_the_adapters_have_their_shapes(trained):
    shapes = {}
    for line in trained.methods:
        if line.digest:
            path = trained.adapter(line.method) / "adapter_model.safetensors"
            with safe_open(path, framework="pt") as tensors:
                names = list(tensors.keys())
                a = next(name for name in names if "lora_A" in name)
                rank = tensors.get_tensor(a).shape[0]
            blocks = {int(name.split(".layers.")[1].split(".")[0]) for name in names}
            kinds = {name.split(".")[-3] for name in names}
            shapes[line.method] = (rank, blocks, len(kinds))
    assert shapes[Method.RANK_ONE] == (1, {1}, 1)
    assert shapes[Method.CIRCUIT_BREAKER] == (4, {0, 1}, 7)
    assert shapes[Method.SFT] == shapes[Method.SAFEREACT_REMINDER] == (4, {0, 1, 2}, 7)


def test_the_adapters_change_the_model_each_in_its_way(trained, random_models):
    ids = torch.tensor([[1, 4, 12, 13, 14, 15, 5]])
    model = load_model(random_models.folder / "post-trained")
    outputs = []
    with torch.no_grad():
        outputs.append(model(ids).logits)
        for line in trained.methods:
            if line.digest:
                adapted = attach_adapter(model, trained.adapter(line.method))
                outputs.append(adapted(ids).logits)
                model = adapted.unload()
    different = [not torch.equal(a, b) for i, a in enumerate(outputs) for b in outputs[:i]]
    assert all(different)


def test_a_prompted_method_is_no_baseline():
    with pytest.raises(ValueError, match="train nothing"):
        BaselinesSettings(methods=(Method.REMINDER,))
    with pytest.raises(ValueError, match="train an adapter"):
        CompareSettings(prompted=(Method.SFT,))
