"""The stage on the random pair: fresh adapters on merged arms, kept at chosen steps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from components.core.errors import TrainingError
from components.core.paths import PROMPTS
from components.core.storage import digest_folder, write_rows
from components.core.vocabulary import Arm, Prompt, Role, Split
from components.lm.adapters import attach_adapter, merge_adapter
from components.lm.chat import render_prompt
from components.lm.loading import load_model, load_tokenizer
from components.prepare.result import SuiteSet
from components.studies.undo.harmless import store_harmless_rows
from components.studies.undo.result import Undo
from components.studies.undo.settings import UndoSettings
from components.studies.undo.stage import undo
from components.train.batches import TargetRows
from components.train.checkpoints import Checkpoints

SECTION = UndoSettings(steps=(1, 3), prompts=8, lr=1e-2)
IDS = torch.tensor([[1, 4, 12, 13, 14, 15, 5]])


@pytest.fixture(scope="module")
def adapter(run_stage):
    return run_stage()


@pytest.fixture(scope="module")
def run(tmp_path_factory, quick, random_prompts, random_models, adapter):
    def stage(section=SECTION, out=None, adapter=adapter):
        out = out or tmp_path_factory.mktemp("undo")
        return undo(section, quick, random_prompts, random_models, adapter, seed=0, out=out)

    return stage


@pytest.fixture(scope="module")
def undone(run):
    return run()


def test_both_arms_are_kept_at_every_step(undone, adapter):
    assert [(line.arm, line.steps) for line in undone.tuned] == [
        (Arm.RESTORED, 1),
        (Arm.RESTORED, 3),
        (Arm.BASELINE, 1),
        (Arm.BASELINE, 3),
    ]
    for line in undone.tuned:
        assert line.digest == digest_folder(undone.adapter(line.arm, line.steps))
    assert len({line.digest for line in undone.tuned}) == 4
    assert undone.adapters[Arm.RESTORED] == adapter.digest
    assert undone.loss.keys() == {Arm.RESTORED, Arm.BASELINE}
    assert not (undone.folder / ".scratch").exists()
    assert Undo.load(undone.folder) == undone


@torch.inference_mode()
def test_each_adapter_goes_on_top_of_the_merged_arm(undone, random_models, adapter):
    """Merged weights say what the adapter says, and every kept step says something else."""
    folder = random_models.folder / "post-trained"
    apart = attach_adapter(load_model(folder), adapter.adapter)(IDS).logits
    model = merge_adapter(load_model(folder), adapter.adapter)
    torch.testing.assert_close(model(IDS).logits, apart, atol=1e-4, rtol=1e-3)
    seen = [apart]
    for steps in SECTION.steps:
        tuned = attach_adapter(model, undone.adapter(Arm.RESTORED, steps))
        seen.append(tuned(IDS).logits)
        model = tuned.unload()
    assert not any(torch.allclose(a, b) for i, a in enumerate(seen) for b in seen[:i])


@pytest.fixture
def rows(quick, random_models, random_prompts, tmp_path):
    """A function that returns the rows to learn."""

    def rows(answers, tokens=12, prompts=random_prompts):
        section = UndoSettings(answers=answers, prompts=10)
        settings = quick.model_copy(update={"retain_tokens": tokens})
        folder = tmp_path / f"{answers}-{tokens}"
        folder.mkdir()
        store_harmless_rows(section, settings, prompts, random_models, 0, folder)
        return TargetRows.load(folder).rows

    return rows


def test_no_harmful_prompt_is_learnt(rows, random_models, random_prompts):
    tokenizer = load_tokenizer(random_models.folder / "post-trained")
    prompts = {p.id: p for p in random_prompts.rows(split=Split.TRAIN)}
    own, reference = rows("own"), rows("reference", tokens=40)
    assert [row.prompt for row in own] == [row.prompt for row in reference]
    for row in (*own, *reference):
        prompt = prompts[row.prompt_id]
        assert prompt.role in (Role.BENIGN, Role.REASONING)
        assert list(row.prompt) == render_prompt(tokenizer, prompt.text)
        assert 0 < len(row.completion) <= 40
    assert {prompts[row.prompt_id].role for row in own} == {Role.BENIGN, Role.REASONING}
    for row in reference:
        prompt, text = prompts[row.prompt_id], tokenizer.decode(row.completion)
        assert ("<think>" in text) == (prompt.thought is not None)
        assert row.completion[-1] == tokenizer.eos_token_id
        assert str(prompt.response).split()[-2] in text
    assert all(len(row.completion) <= 3 for row in rows("reference", tokens=3))


def test_prompts_without_references_are_an_error_with_a_remedy(rows, random_prompts, tmp_path):
    harmful = random_prompts.rows(split=Split.TRAIN, role=Role.HARMFUL)
    write_rows(tmp_path / PROMPTS, harmful, Prompt)
    prompts = SuiteSet(**random_prompts.model_dump()).save(tmp_path)
    with pytest.raises(TrainingError, match=r"undo\.answers: reference.*set it to own"):
        rows("reference", prompts=prompts)


def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(
    run, quick, undone, tmp_path, monkeypatch, random_prompts, random_models, adapter
):
    settings = quick.model_copy(update={"checkpoint_every": 1})
    write = Checkpoints.write_if_due

    def interrupted(self, *given, **named):
        write(self, *given, **named)
        if self.progress.taken == 2:
            raise KeyboardInterrupt

    def stage(out: Path) -> Undo:
        return undo(SECTION, settings, random_prompts, random_models, adapter, seed=0, out=out)

    monkeypatch.setattr(Checkpoints, "write_if_due", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "restored" / "1-steps").is_dir()
    assert not (tmp_path / "restored" / "3-steps").exists()
    assert (tmp_path / ".scratch" / "restored" / "step-000002").is_dir()
    assert stage(tmp_path).tuned == undone.tuned


def test_changed_adapters_and_those_of_other_models_are_refused(run, adapter, tmp_path):
    other = adapter.model_copy(update={"base_model": "0" * 64})
    other._folder = adapter.folder
    with pytest.raises(TrainingError, match="the model of the adapters has changed"):
        run(adapter=other)
    copy = tmp_path / "train"
    shutil.copytree(adapter.folder, copy)
    (copy / "adapter" / "note.txt").write_text("x")
    with pytest.raises(TrainingError, match=r"the adapter has changed.*run the stage train again"):
        run(adapter=type(adapter).load(copy))


def test_steps_must_ascend():
    with pytest.raises(ValueError, match="steps must ascend"):
        UndoSettings(steps=(10, 10))
