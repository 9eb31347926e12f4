"""A pair of one's own: random Llama checkpoints, local files, bad evidence, and the gate's no."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from safetensors.torch import load_file

from components.core.storage import read_json
from tests.chain import make_repository, safereact
from tests.checkpoints import WORDS, write_checkpoint

SETTINGS = """
seed: 1
prepare:
  sources:
    - {name: harm, path: mine/harmful.csv, licence: MIT, role: harmful}
    - {name: chat, path: mine/benign.jsonl, licence: CC-BY-4.0, role: benign,
       columns: {text: instruction}}
    - {name: sums, path: mine/sums.jsonl, licence: MIT, role: reasoning,
       columns: {text: question, thought: solution, answer: solution},
       patterns: {answer: '#### (.+)$', thought: '^(.*?)\\s*####'}}
  validation_share: 0.25
  test_share: 0.4
  min_rows: {harmful: 4, benign: 4}
models: {kind: checkpoints, base: mine/models/base, post_trained: mine/models/post-trained}
probe:
  prompts: 16
  folds: 2
  check_prompts: 8
  check_tokens: 8
  pruning: {calibration: 8, tokens: 8}
  check: {min_harmful_refused: 0, max_benign_refused: 1, min_coherent: 0}
train: {steps: 3, batch: 4, lr: 1.0e-3, refusal_tokens: 4, retain_tokens: 8, baseline_steps: 2}
evaluate: {max_new_tokens: {harmful: 8, borderline: 8, benign: 8, reasoning: 8}}
gate: {policy: strict}
report: {}
registration: {name: my-model}
"""


def sentences(count: int) -> list[str]:
    """Return so many different word salads."""
    draw = random.Random(0)
    return [f"{' '.join(draw.choices(WORDS[:40], k=6))} {i} ?" for i in range(count)]


def write_inputs(folder: Path) -> None:
    """Write prompts in two formats and two checkpoints."""
    folder.mkdir()
    texts = sentences(170)
    rows = "".join(f'"{text}",kind {i % 12}\n' for i, text in enumerate(texts[:60]))
    (folder / "harmful.csv").write_text("text,topic\n" + rows)
    benign = [
        {"instruction": f"{text} please", "topic": f"kind {i % 12}"}
        for i, text in enumerate(texts[60:120])
    ]
    sums = [
        {"question": text, "solution": f"so {i % 9} . #### {i % 9}", "topic": f"sum {i % 12}"}
        for i, text in enumerate(texts[120:])
    ]
    for name, lines in (("benign", benign), ("sums", sums)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    for seed, name in enumerate(("base", "post-trained")):
        write_checkpoint(folder / "models" / name, seed=seed)


@pytest.mark.slow
def test_bad_evidence_is_exit_code_3_with_its_reasons(tmp_path):
    root = make_repository(tmp_path / "repository")
    write_inputs(root / "mine")
    (root / "profiles" / "my-model.yaml").write_text(SETTINGS)
    refused = safereact(root, "run", "--profile", "my-model")
    assert refused.returncode == 2
    assert "safereact add my-model" in refused.stderr
    added = safereact(root, "add", "my-model", "--checkpoints", "mine/models")
    assert added.returncode == 0, added.stderr

    done = safereact(root, "run", "--profile", "my-model")
    assert done.returncode == 3, done.stdout + done.stderr
    decision = read_json(root / "artifacts/my-model/gate/decision.json")
    failed = [rule for rule in decision["rules"] if rule["conclusion"] != "pass"]
    assert {"harmful.refused", "borderline.refused"} <= {rule["metric"] for rule in failed}
    assert len(decision["reasons"]) == len(failed)
    assert all(rule["rule"] in done.stdout for rule in failed)
    models = read_json(root / "artifacts/my-model/models/models.json")
    assert models["base"]["location"] == "mine/models/base"
    base = load_file(root / "mine/models/base/model.safetensors")
    assert models["base"]["parameters"] == sum(weight.numel() for weight in base.values())
