"""A training that was killed ends as one that was left alone, bit for bit."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from components.core.errors import TrainingError
from components.core.run_record import part, run_record
from components.core.storage import digest_folder, read_json, write_json
from components.lm.loading import load_model
from components.train.adapters import BaseName, add_lora
from components.train.batches import Plan, TargetRows
from components.train.checkpoints import Checkpoints, trained_weights
from components.train.result import Adapter
from components.train.rows import TrainingRow
from components.train.settings import Lora
from components.train.student import completion_loss
from components.train.trainer import AdapterTrainer
from tests.components.train.worker import forks, run_stage

ROWS = [TrainingRow(str(i), (10 + i, 11, 12), tuple(range(20, 23 + i % 4))) for i in range(6)]


class Interrupt(TrainerCallback):
    """Ends the process's training after a step, wherever the checkpoints are."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_step_end(self, args, state, control, **given):
        if state.global_step == self.after:
            raise KeyboardInterrupt


def make_trainer(random_models, scratch, *, r=4, micro_batch=None):
    adapted = add_lora(
        load_model(random_models.folder / "post-trained"),
        Lora(r=r, alpha=4, dropout=0.3),
        layers=range(1, 4),
        base=BaseName("post-trained"),
        seed=0,
    )
    rows = TargetRows(ROWS, [len(row.completion) for row in ROWS])
    steps = [[((k + i) % 6,) for i in range(4)] for k in range(9)]
    return AdapterTrainer(
        adapted,
        Plan({"mixed": rows}, steps, {}),
        completion_loss,
        label="sft",
        lr=1e-2,
        seed=3,
        scratch=scratch,
        micro_batch=micro_batch,
        checkpoint_every=2,
        rate=lambda step: 1 - step / 9,
    )


class Rates(TrainerCallback):
    """Keeps the rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_step_begin(self, args, state, control, **given):
        self.seen.append(given["optimizer"].param_groups[0]["lr"])


def test_the_rate_falls_on_after_an_interruption(random_models, tmp_path):
    rates = Rates()
    first = make_trainer(random_models, tmp_path)
    for callback in (rates, Interrupt(4)):
        first.add_callback(callback)
    with pytest.raises(KeyboardInterrupt):
        first.finish()
    second = make_trainer(random_models, tmp_path)
    second.add_callback(rates)
    second.finish()
    # The steps behind the last checkpoint are taken again.
    taken = (*range(4), *range(2, 9))
    assert rates.seen == pytest.approx([1e-2 * (9 - k) / 9 for k in taken])


@pytest.mark.parametrize("micro_batch", [None, 2])
@pytest.mark.parametrize("after", [(5,), (2, 3)], ids=["once", "twice"])
def test_an_interrupted_training_goes_on_bit_for_bit(random_models, tmp_path, after, micro_batch):
    alone = make_trainer(random_models, tmp_path / "alone", micro_batch=micro_batch)
    expected = alone.finish()
    begun = []
    for steps in (*after, None):
        trainer = make_trainer(random_models, tmp_path / "scratch", micro_batch=micro_batch)
        begun.append(trainer.begun)
        if steps is not None:
            trainer.add_callback(Interrupt(steps))
            with pytest.raises(KeyboardInterrupt):
                trainer.finish()
    # Checkpoints are written every other step; what came after the last one is done again.
    assert begun == ([0, 4] if after == (5,) else [0, 0, 2])
    assert trainer.finish() == expected
    weights, wanted = trained_weights(trainer.adapted), trained_weights(alone.adapted)
    assert len(weights) == 2 * 7 * 3
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_a_finished_training_is_not_done_again(random_models, tmp_path):
    first = make_trainer(random_models, tmp_path)
    progress = first.finish()
    again = make_trainer(random_models, tmp_path)
    assert again.finish() == progress
    weights, wanted = trained_weights(again.adapted), trained_weights(first.adapted)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert [path.name for path in tmp_path.glob("step-*")] == ["step-000009"]


def test_broken_and_foreign_checkpoints_stop(random_models, tmp_path):
    make_trainer(random_models, tmp_path).finish()
    path = tmp_path / "step-000009" / "state.safetensors"
    model = make_trainer(random_models, tmp_path / "other", r=2).adapted
    checkpoints = Checkpoints(tmp_path, every=2, steps=9)
    with pytest.raises(TrainingError, match="step-000009 is of another adapter"):
        checkpoints.resume(model)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="step-000009 cannot be read") as told:
        checkpoints.resume(model)
    assert f"delete {tmp_path}, and the training starts" in str(told.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"curves": 3}', '{"curves": [[1]]}'])
def test_a_checkpoint_whose_progress_is_broken_stops(random_models, tmp_path, text):
    trainer = make_trainer(random_models, tmp_path)
    trainer.finish()
    (tmp_path / "step-000009" / "progress.json").write_text(text)
    with pytest.raises(TrainingError, match="step-000009 cannot be read"):
        Checkpoints(tmp_path, every=2, steps=9).resume(trainer.adapted)


def test_what_was_spent_before_an_interruption_is_counted(random_models, tmp_path):
    def cost(*callbacks) -> float:
        with run_record(tmp_path / "record.json"), part("sft"):
            trainer = make_trainer(random_models, tmp_path / "scratch")
            for callback in callbacks:
                trainer.add_callback(callback)
            trainer.finish()
        return read_json(tmp_path / "record.json")["parts"]["sft"]["seconds"]

    with pytest.raises(KeyboardInterrupt):
        cost(Interrupt(5))
    progress = tmp_path / "scratch" / "step-000004" / "progress.json"
    spent = read_json(progress)
    write_json(progress, {**spent, "seconds": spent["seconds"] + 1000})
    whole = cost()
    assert whole > 1000 + spent["seconds"]
    # Nothing is left to do, and what it cost stays.
    assert cost() >= whole - 0.1


@pytest.fixture(scope="module")
def case(random_models, random_prompts, make_probe, quick, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    results = {"models": random_models, "prompts": random_prompts, "probe": make_probe()}
    for name, result in results.items():
        (folder / name).symlink_to(result.folder, target_is_directory=True)
    lora = Lora(r=4, alpha=4, dropout=0.3)
    section = quick.model_copy(update={"steps": 16, "checkpoint_every": 2, "lora": lora})
    write_json(folder / "section.json", section.model_dump(mode="json"))
    return folder


def test_a_killed_stage_goes_on_bit_for_bit(case, tmp_path, caplog):
    out = tmp_path / "killed"
    child = forks().Process(target=run_stage, args=(case, out))
    child.start()
    checkpoints = out / ".scratch" / "steps-adapter"
    while child.is_alive() and not (checkpoints / "step-000004").exists():
        time.sleep(0.002)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    newest = max(checkpoints.glob("step-*"))
    before = read_json(newest / "progress.json")["seconds"]
    assert before > 0
    assert not (out / Adapter.FILE).exists() and not (out / "adapter").exists()
    record = tmp_path / "record.json"
    with caplog.at_level("INFO", logger="components"), run_record(record):
        resumed = run_stage(case, out)
    assert read_json(record)["parts"]["restored"]["seconds"] > before
    assert "going on after step" in caplog.text
    assert "own answers" not in caplog.text and "teacher" not in caplog.text  # asked before
    alone = run_stage(case, tmp_path / "alone")
    assert resumed.model_dump() == alone.model_dump()
    assert digest_folder(out) == digest_folder(alone.folder)
