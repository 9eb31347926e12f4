from __future__ import annotations

import json
import shutil

import pytest
import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from peft import AutoPeftModelForCausalLM

from components.core.errors import TrainingError
from components.core.paths import BASELINE, CONTRACT, CURVES, PROMPTS
from components.core.storage import digest_folder, read_json, read_json_lines, write_rows
from components.core.vocabulary import Prompt, Role, Split
from components.lm.adapters import attach_adapter
from components.lm.loading import load_model
from components.lm.references import PromptContract
from components.prepare.result import SuiteSet
from components.train.adapters import BaseName, add_lora, base_name, save_lora
from components.train.methods import train_adapter
from components.train.result import Adapter
from components.train.settings import Lora
from components.train.stage import train


@pytest.fixture(scope="module")
def ids():
    return torch.tensor([[1, 4, 12, 13, 14, 15, 5]])


def make_adapted(folder, layers):
    lora = Lora(r=4, alpha=8, dropout=0.1)
    return add_lora(load_model(folder), lora, layers=layers, base=BaseName("post-trained"), seed=0)


def test_result_and_files(adapter, random_models, random_prompts):
    assert Adapter.load(adapter.folder) == adapter
    assert adapter.digest == digest_folder(adapter.adapter)
    assert adapter.baseline_digest == digest_folder(adapter.baseline)
    assert adapter.base_model == random_models.post_trained.digest
    assert adapter.data == random_prompts.digest_of_prompts
    assert (adapter.steps, adapter.adapted_layers, adapter.target_layers) == (6, 3, (1, 3))
    assert (adapter.harmful_rows, adapter.teacher_refused, adapter.retain_rows) == (12, 0, 36)
    names = sorted(p.relative_to(adapter.folder).as_posix() for p in adapter.folder.rglob("*"))
    files = ("adapter_config.json", "adapter_model.safetensors", CONTRACT)
    assert names == sorted(
        ["adapter", "baseline", CURVES, Adapter.FILE]
        + [f"{folder}/{name}" for folder in ("adapter", "baseline") for name in files]
    )
    curves = read_json_lines(adapter.folder / CURVES)
    assert [sorted(line) for line in curves] == [["alignment", "c", "retention", "step"]] * 6
    contract = PromptContract.model_validate(read_json(adapter.adapter / CONTRACT))
    assert contract == random_models.post_trained.contract == adapter.contract


def test_the_same_seed_and_train_rows_give_the_same_bytes(
    adapter, run_stage, random_prompts, tmp_path
):
    rows = [row for row in random_prompts.rows() if row.split is Split.TRAIN]
    write_rows(tmp_path / PROMPTS, rows, Prompt)
    only_train = SuiteSet(**random_prompts.model_dump()).save(tmp_path)
    again = run_stage(prompts=only_train)
    assert digest_folder(again.folder) == digest_folder(adapter.folder)


def test_settings_are_free_of_the_machine_and_of_hash_order(adapter, random_models):
    for folder in (adapter.adapter, adapter.baseline):
        text = (folder / "adapter_config.json").read_text()
        settings = json.loads(text)
        folder_of_run = random_models.folder.parent.name
        named = f"./artifacts/{folder_of_run}/models/post-trained"
        assert (settings["base_model_name_or_path"], settings["revision"]) == (named, None)
        assert settings["target_modules"] == sorted(settings["target_modules"])
        assert len(settings["target_modules"]) == 7
        assert str(random_models.folder) not in text


@pytest.mark.parametrize(
    ("where", "location", "name"),
    [
        ("stage", "post-trained", "./artifacts/own/models/post-trained"),
        ("local", "tuned", "./tuned"),
        ("local", "models/tuned", "./models/tuned"),
        ("local", "/a/place/of/this/machine/tuned", "./tuned"),
    ],
)
def test_nobody_can_own_the_name_of_a_model_that_is_no_hubs(
    random_models, tmp_path, where, location, name
):
    changes = {"where": where, "location": location, "revision": None}
    model = random_models.post_trained.model_copy(update=changes)
    own = random_models.model_copy(update={"post_trained": model}).save(tmp_path / "own" / "models")
    assert base_name(own) == BaseName(name)
    with pytest.raises(HFValidationError):
        validate_repo_id(name)


def test_a_hub_model_is_named_with_its_commit(random_models, tmp_path):
    changes = {"where": "hub", "location": "owner/tuned", "revision": "a" * 40}
    model = random_models.post_trained.model_copy(update=changes)
    own = random_models.model_copy(update={"post_trained": model})
    assert base_name(own) == BaseName("owner/tuned", "a" * 40)


def test_peft_finds_the_model_from_the_root_of_the_repository(
    random_models, adapter, tmp_path, monkeypatch, ids
):
    models = tmp_path / "artifacts" / random_models.folder.parent.name / "models"
    shutil.copytree(random_models.folder, models)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    found = AutoPeftModelForCausalLM.from_pretrained(str(adapter.adapter)).eval()
    own = attach_adapter(load_model(random_models.folder / "post-trained"), adapter.adapter)
    with torch.no_grad():
        assert torch.equal(found(ids).logits, own(ids).logits)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises((OSError, ValueError), match="models/post-trained"):
        AutoPeftModelForCausalLM.from_pretrained(str(adapter.adapter))


def test_the_saved_adapter_has_the_trained_logits(random_models, tmp_path, ids):
    folder = random_models.folder / "post-trained"
    adapted = make_adapted(folder, layers=(1, 2))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_()
    adapted.eval()
    save_lora(adapted, tmp_path / "adapter", random_models.post_trained.contract)
    again = attach_adapter(load_model(folder), tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(again(ids).logits, adapted(ids).logits)
        assert not torch.equal(again(ids).logits, load_model(folder)(ids).logits)


def test_a_fresh_adapter_changes_nothing(random_models, ids):
    folder = random_models.folder / "post-trained"
    adapted = make_adapted(folder, layers=(1, 2, 3)).eval()
    with torch.no_grad():
        assert torch.equal(adapted(ids).logits, load_model(folder)(ids).logits)


def test_weights_that_are_not_finite_are_not_saved(random_models, tmp_path):
    adapted = make_adapted(random_models.folder / "post-trained", layers=(1,))
    next(w for w in adapted.parameters() if w.requires_grad).data.fill_(float("inf"))
    with pytest.raises(TrainingError, match="not finite"):
        save_lora(adapted, tmp_path / "adapter", random_models.post_trained.contract)
    assert not (tmp_path / "adapter").exists()


def test_the_adapter_reaches_up_to_the_deepest_target(run_stage, make_probe):
    from safetensors import safe_open

    adapter = run_stage(probe=make_probe(target_layers=(1, 2)))
    layers = {}
    for folder in (adapter.adapter, adapter.baseline):
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as tensors:
            names = list(tensors.keys())
        layers[folder.name] = {int(name.split(".layers.")[1].split(".")[0]) for name in names}
        kinds = {name.split(".")[-3] for name in names}
        assert len(kinds) == 7
    assert layers == {"adapter": {0, 1}, "baseline": {0, 1, 2}}
    assert adapter.adapted_layers == 2


def test_prompt_only_alignment_still_gives_the_baseline_refusals(
    adapter, run_stage, make_probe, quick
):
    section = quick.model_copy(update={"refusal_tokens": 0})
    other = run_stage(section, probe=make_probe("reminder"), seed=1)
    assert other.teacher == "reminder"
    assert other.digest != adapter.digest and other.baseline_digest != adapter.baseline_digest


def test_a_checked_teacher_that_refuses_nothing_stops(run_stage, make_probe):
    with pytest.raises(TrainingError, match="refuses 0 of 12"):
        run_stage(probe=make_probe(refused=1.0))


def test_a_result_that_cannot_be_saved_costs_no_step(
    adapter, quick, random_prompts, random_models, make_probe, tmp_path, caplog
):
    given = (quick, random_prompts, random_models, make_probe())
    (tmp_path / Adapter.FILE).mkdir()  # so that no file can take its place
    with pytest.raises(IsADirectoryError):
        train(*given, seed=0, out=tmp_path)
    (tmp_path / Adapter.FILE).rmdir()
    caplog.clear()
    with caplog.at_level("INFO", logger="components"):
        again = train(*given, seed=0, out=tmp_path)
    assert "answers" not in caplog.text and "step 6/6" not in caplog.text
    assert caplog.text.count("going on after step") == 2
    assert len(read_json_lines(tmp_path / CURVES)) == 6
    assert digest_folder(again.folder) == digest_folder(adapter.folder)


def test_nothing_is_read_that_a_quicker_first_process_has_deleted(adapter, run_stage, monkeypatch):
    def train_and_delete(method, data, folder):
        trained = train_adapter(method, data, folder)
        if folder.name == BASELINE:
            shutil.rmtree(data.scratch)
            data.scratch.touch()  # so that nothing can be made in it again
        return trained

    monkeypatch.setattr("components.train.stage.train_adapter", train_and_delete)
    found = run_stage()
    assert found.model_dump() == adapter.model_dump()


@pytest.mark.parametrize("role", [Role.HARMFUL, Role.BENIGN])
def test_a_role_without_training_prompts_stops(run_stage, random_prompts, tmp_path, role):
    harmful = role is Role.HARMFUL
    rows = [row for row in random_prompts.rows() if (row.role is Role.HARMFUL) != harmful]
    write_rows(tmp_path / PROMPTS, rows, Prompt)
    with pytest.raises(TrainingError, match=f"no {role}.*prompts"):
        run_stage(prompts=SuiteSet(**random_prompts.model_dump()).save(tmp_path))
