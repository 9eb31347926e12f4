"""The stage as DVC runs it, in one process and in several."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from components.core.paths import Workspace
from components.core.storage import read_json
from components.train.result import Adapter
from tests.root import ROOT

TORCHRUN = "torchrun --standalone --nproc-per-node 2"


@pytest.fixture
def make_workspace(tmp_path, random_models, random_prompts, make_probe, quick):
    """A function that lays out a repository with everything that comes before the stage."""

    def make(name: str, **probe) -> Workspace:
        workspace = Workspace(tmp_path / name, "mine")
        before = {"prepare": random_prompts, "models": random_models, "probe": make_probe(**probe)}
        for stage, result in before.items():
            shutil.copytree(result.folder, workspace.stage(stage))
        workspace.profile_file.parent.mkdir()
        document = {
            "prepare": {"sources": [{"name": "a", "path": "a.jsonl", "licence": "MIT"}]},
            "models": {"kind": "checkpoints", "base": "a", "post_trained": "b"},
            # Dropout would differ between the processes.
            "train": {**quick.model_dump(mode="json"), "lr": 1e-4, "lora": {"dropout": 0}},
            "registration": {"name": "mine"},
        }
        YAML().dump(document, workspace.profile_file)
        (workspace.root / "dvc.yaml").touch()
        workspace.parameters.write_text("profiles: {}\n")
        return workspace

    return make


def run(workspace: Workspace, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "components", "train", "--profile", "mine"],
        cwd=ROOT,
        env={**os.environ, "SAFEREACT_ROOT": str(workspace.root), **environment},
        capture_output=True,
        text=True,
    )


def weights(workspace: Workspace, folder: str):
    return load_file(workspace.stage("train") / folder / "adapter_model.safetensors")


@pytest.mark.slow
def test_two_processes_train_the_adapters_of_one(make_workspace):
    one, two = make_workspace("one"), make_workspace("two")
    done = run(one)
    assert done.returncode == 0, done.stderr
    done = run(two, SAFEREACT_LAUNCHER=TORCHRUN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SafeReAct step 6/6") == 1  # the first process alone tells
    folder = two.stage("train")
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith(".")] == []
    assert sorted(p.name for p in folder.rglob("*")) == sorted(
        p.name for p in one.stage("train").rglob("*")
    )
    parts = [read_json(w.run_record("train"))["parts"] for w in (one, two)]
    assert parts[0].keys() == parts[1].keys() == {"restored", "sft-baseline"}
    results = [Adapter.load(w.stage("train")) for w in (one, two)]
    assert results[0].tokens == results[1].tokens
    assert results[1].losses["alignment"] == pytest.approx(results[0].losses["alignment"], rel=1e-3)
    for name in ("adapter", "baseline"):
        expected = weights(one, name)
        for key, weight in weights(two, name).items():
            torch.testing.assert_close(weight, expected[key], rtol=0, atol=1e-5)


def test_the_error_of_a_process_reaches_the_caller(make_workspace):
    workspace = make_workspace("broken", target_layers=(9,))
    done = run(workspace, SAFEREACT_LAUNCHER=sys.executable)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("train: target layers [9] are not layers")
    folder = workspace.stage("train")
    left = folder.with_name(".train.partial")
    assert not folder.exists() and [path.name for path in left.iterdir()] == [".key"]
