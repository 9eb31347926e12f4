"""Every arm on the random pair: an adapter of its own shape, or a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from components.core.errors import ConfigError
from components.core.paths import MASKS
from components.core.storage import digest_folder
from components.lm.adapters import attach_adapter
from components.lm.loading import load_model
from components.lm.masks import PackedMask, projections, save_masks
from components.studies.baselines.result import Baselines
from components.studies.baselines.settings import (
    ARMS,
    BaselinesSettings,
    CircuitBreaker,
    MethodSettings,
    RankOne,
    split_name,
)
from components.studies.baselines.stage import baselines, own_settings, trained_arms
from components.train.data import TrainingData
from tests.evidence import teacher_figures

pytestmark = pytest.mark.slow  # a dozen trainings

SECTION = BaselinesSettings(
    circuit_breaker=CircuitBreaker(layers=(1, 2), tokens=6, steps=3, lr=1e-2),
    rank_one=RankOne(steps=3, lr=1e-2),
    settings={"distil": MethodSettings(lr=2e-2, steps=2)},
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
    model = load_model(random_models.folder / "post-trained")
    masks = {n: PackedMask.of(m.weight > 0) for n, m in projections(model).items()}
    for name in MASKS.values():
        save_masks(folder / name, masks)
    out, short = tmp_path_factory.mktemp("baselines"), quick.model_copy(update={"steps": 4})
    return baselines(SECTION, short, random_prompts, random_models, probe, seed=0, out=out)


def test_every_arm_has_an_adapter_or_a_reason(trained):
    lines = {line.arm: line for line in trained.arms}
    # Those two are trained as the adapter of `train` is.
    assert list(lines) == [arm for arm in ARMS if arm not in ("safereact", "safereact-base")]
    failed = lines.pop("safereact-pruned")
    assert failed.digest is None and "refuses 0 of 12" in failed.reason
    for arm, line in lines.items():
        assert line.digest == digest_folder(trained.adapter(arm)), arm
        assert line.tokens > 0 and line.parameters > 0 and line.rows >= 8
    assert lines["rank-one"].steps == 3
    assert (lines["distil"].steps, lines["distil"].lr) == (2, 2e-2)
    assert lines["distil-shuffled"].steps == 2, "a control has its method's settings"
    assert lines["combined"].steps == 4
    assert lines["combined"].rows == lines["safereact-shuffled"].rows
    assert not (trained.folder / ".scratch").exists()
    assert trained.method == "safereact" and trained.forms == ("served",)
    assert Baselines.load(trained.folder) == trained


def test_the_adapters_have_their_shapes(trained):
    shapes = {}
    for line in trained.arms:
        if line.digest:
            path = trained.adapter(line.arm) / "adapter_model.safetensors"
            with safe_open(path, framework="pt") as tensors:
                names = list(tensors.keys())
                a = next(name for name in names if "lora_A" in name)
                rank = tensors.get_tensor(a).shape[0]
            blocks = {int(name.split(".layers.")[1].split(".")[0]) for name in names}
            kinds = {name.split(".")[-3] for name in names}
            shapes[line.arm] = (rank, blocks, len(kinds))
    assert shapes["rank-one"] == (1, {1}, 1)
    assert shapes["circuit-breaker"] == (4, {0, 1}, 7)
    assert shapes["sft"] == shapes["safereact-reminder"] == (4, {0, 1, 2}, 7)


def test_the_adapters_change_the_model_each_in_its_way(trained, random_models):
    ids = torch.tensor([[1, 4, 12, 13, 14, 15, 5]])
    model = load_model(random_models.folder / "post-trained")
    outputs = []
    with torch.no_grad():
        outputs.append(model(ids).logits)
        for line in trained.arms:
            if line.digest:
                adapted = attach_adapter(model, trained.adapter(line.arm))
                outputs.append(adapted(ids).logits)
                model = adapted.unload()
    different = [not torch.equal(a, b) for i, a in enumerate(outputs) for b in outputs[:i]]
    assert all(different)


@pytest.mark.parametrize(
    ("arm", "parts"),
    [
        ("distil", ("distil", None)),
        ("on-policy", ("on-policy", None)),
        ("on-policy-pruned-reminder", ("on-policy", "pruned-reminder")),
        ("safereact-shuffled", ("safereact", "shuffled")),
    ],
)
def test_an_arm_is_named_by_its_method_and_its_teacher(arm, parts):
    assert split_name(arm) == parts


def test_arms_that_there_are_not_and_settings_said_elsewhere_are_refused():
    with pytest.raises(ValueError, match="no training method begins 'reminder'"):
        BaselinesSettings(methods=("reminder",))
    with pytest.raises(ValueError, match="no teacher or control ends 'distil-nobody'"):
        BaselinesSettings(methods=("distil-nobody",))
    with pytest.raises(ValueError, match="names sft twice"):
        BaselinesSettings(methods=("sft", "distil", "sft"))
    with pytest.raises(ValueError, match=r"set it under baselines\.rank_one"):
        BaselinesSettings(settings={"rank-one": MethodSettings(lr=1e-3)})


def test_a_setting_that_a_method_does_not_have_is_refused(quick):
    section = BaselinesSettings(settings={"sft": MethodSettings(schedule=2, retain=0.5)})
    with pytest.raises(ConfigError, match=r"baselines\.settings\.sft sets schedule"):
        own_settings("sft", section, quick)
    fitting = BaselinesSettings(settings={"sft": MethodSettings(retain=0.5)})
    assert own_settings("sft", fitting, quick).retain == 0.5
    assert own_settings("sft", fitting, quick).lr == quick.baseline_lr


def test_the_trained_method_with_other_settings_is_an_arm_of_its_own(
    quick, random_prompts, random_models, make_probe, tmp_path
):
    data = TrainingData(quick, random_prompts, random_models, make_probe(), 0, tmp_path)

    def names(**given):
        section = BaselinesSettings(methods=("safereact", "safereact-base", "distil"), **given)
        return [arm.name for arm in trained_arms(section, data)]

    assert names() == ["distil"]
    assert names(settings={"safereact": MethodSettings(lr=1e-3)}) == ["safereact", "distil"]
    layers = names(settings={"safereact": MethodSettings(target_layers=(2,))})
    assert layers == ["safereact", "distil"]
    by_tokens = replace(data, settings=quick.model_copy(update={"method": "distil"}))
    section = BaselinesSettings(methods=("safereact", "safereact-base", "distil"))
    assert [arm.name for arm in trained_arms(section, by_tokens)] == ["safereact"]


def test_a_method_that_has_its_own_teacher_is_one_arm(
    quick, random_prompts, random_models, make_probe, tmp_path
):
    data = TrainingData(quick, random_prompts, random_models, make_probe(), 0, tmp_path)
    section = BaselinesSettings(methods=("self-generated", "self-generated-pruned"))
    (arm,) = trained_arms(section, data)
    assert (arm.name, arm.data.probe.teacher) == ("self-generated", "reminder")
    shipped = replace(data, settings=quick.model_copy(update={"method": "self-generated"}))
    assert list(trained_arms(section, shipped)) == []


def test_what_a_method_cannot_do_under_the_settings_is_its_reason(
    quick, random_prompts, random_models, make_probe, tmp_path
):
    section = BaselinesSettings(methods=("distil",))
    no_refusal = quick.model_copy(update={"refusal_tokens": 0})
    given = (no_refusal, random_prompts, random_models, make_probe())
    (line,) = baselines(section, *given, seed=0, out=tmp_path).arms
    assert line.digest is None and "refusal_tokens is 0" in line.reason
