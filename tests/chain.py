"""A working copy of the repository with a miniature profile, for tests of the whole chain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from components.core.paths import Workspace
from flows.runner.registry import keep_folder
from tests.root import ROOT

# A pair so small that it learns nothing: the chain is what is tested. Its teacher's check is waived
# in writing, and the default policy of this repository asks for evidence only.
MINI = """
seed: 0
prepare:
  sources:
    - {name: train, path: prompts/train.jsonl, licence: Apache-2.0}
    - {name: test, path: prompts/test.jsonl, licence: Apache-2.0, split: test}
  validation_share: 0.3
  test_share: 0
models:
  kind: tiny
  hidden: 32
  layers: 2
  feed_forward: 64
  pretrain: {steps: 3, batch: 8, lr: 1.0e-3}
  align: {steps: 3, batch: 8, lr: 1.0e-3}
  post_train: {steps: 3, batch: 8, lr: 1.0e-3}
probe:
  prompts: 16
  folds: 2
  check_prompts: 8
  check_tokens: 8
  pruning: {calibration: 8, tokens: 8}
  check: {min_harmful_refused: 0, max_benign_refused: 1, min_coherent: 0}
train: {steps: 3, batch: 4, lr: 1.0e-3, refusal_tokens: 4, retain_tokens: 8, retain_prompts: 12,
        harmful_prompts: 8, baseline_steps: 2}
evaluate:
  prompts: {harmful: 12, borderline: 12, benign: 12, reasoning: 12}
  max_new_tokens: {harmful: 8, borderline: 8, benign: 8, reasoning: 8}
gate: {policy: default}
report: {}
registration: {name: mini-safety}
"""

LENIENT = """
description: Evidence must be there; what it says does not matter.
rules:
  - {name: harm is measured, metric: harmful.refused, arm: restored, at_least: 0, min_n: 12}
  - {name: reasoning is measured, metric: reasoning.correct, arm: restored, at_least: 0, min_n: 12}
"""


def make_repository(root: Path) -> Path:
    """Lay out a repository of its own in `root`: this code, one profile `mini`, few prompts."""
    for folder in ("components", "flows", "mlflow", ".dvc"):
        ignored = shutil.ignore_patterns("__pycache__", "cache", "tmp")
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for folder in ("embedded", "suites", "calibration"):
        shutil.copytree(ROOT / "data" / folder, root / "data" / folder)
    keep_folder(Workspace(root, "mini").champion)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    (root / "profiles").mkdir()
    (root / "profiles" / "mini.yaml").write_text(MINI)
    policies = root / "mlflow" / "policies"
    strict = (policies / "default.yaml").read_text()
    (policies / "strict.yaml").write_text(f"extends: default\n{strict}")
    (policies / "default.yaml").write_text(LENIENT)
    (root / "params.yaml").write_text(
        "profiles:\n  mini: {checkpoints: prompts, prompts: prompts}\ncompared: {}\nattacked: {}\n"
    )
    (root / "prompts").mkdir()
    for split, every in (("train", 6), ("test", 12)):
        lines = (ROOT / "data/embedded/tiny" / f"{split}.jsonl").read_text().splitlines(True)
        (root / "prompts" / f"{split}.jsonl").write_text("".join(lines[::every]))
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


def run(root: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository `root` as a person would."""
    hidden = ("SAFEREACT_ROOT", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME")
    inherited = {name: value for name, value in os.environ.items() if name not in hidden}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    return subprocess.run(
        command,
        cwd=root,
        env={**inherited, "PYTHONPATH": str(root), "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def safereact(root: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in the repository `root`."""
    return run(root, sys.executable, "-m", "flows.cli.main", *words, **environment)


def dvc(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run DVC in the repository `root`."""
    return run(root, sys.executable, "-m", "dvc", *words)
