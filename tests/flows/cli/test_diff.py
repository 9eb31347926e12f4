"""`safereact diff` on logs of other harnesses, this project's own exports among them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.core.metric_names import Metric
from components.core.paths import Workspace
from components.core.storage import write_text
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from flows.cli import commands
from flows.cli.export import export_rows
from tests.evidence import make_adapter, save_evidence, save_prompts
from tests.harness_logs import sample, write_samples
from tests.hostile import HOSTILE, steering
from tests.profiles import plain_text
from tests.root import ROOT

FIGURES = ("difference", "low", "high", "n", "gained", "lost", "p_value")


def run_diff(*words: object) -> str:
    """Return what the command prints, without its table's lines."""
    done = CliRunner().invoke(commands.app, ["diff", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.output


def figures_of(*words: object) -> dict[str, Any]:
    """Return what the command prints for machines."""
    found: dict[str, Any] = json.loads(run_diff(*words, "--json"))
    return found


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Workspace:
    """A workspace whose restored model refuses most harmful prompts, and the others none."""
    workspace = Workspace(tmp_path_factory.mktemp("evaluated"), "demo")
    write_text(workspace.profile_file, plain_text())
    save_prompts(workspace.stage("prepare"))
    save_evidence(workspace, workspace.stage("evaluate"), make_adapter(), refused=93)
    return workspace


def same_figures(printed: dict[str, Any], evidence: Evidence, name: dict[str, str]) -> int:
    """Return how many lines are those of the evidence; each that it has, must be.

    `name` are the measures as the harness has them.
    """
    lines = {(line["task"], line["metric"]): line for line in printed["lines"]}
    found = 0
    for one in evidence.differences:
        metric = Metric.parse(one.metric)
        key = (metric.suite, name.get(metric.measure, ""))
        if (one.arm, one.against) == (Arm.RESTORED, Arm.POST_TRAINED) and key in lines:
            assert {k: lines[key][k] for k in FIGURES} == pytest.approx(
                {k: getattr(one, k) for k in FIGURES}
            )
            found += 1
    return found


def test_what_export_writes_for_lm_eval_gives_the_evidence_again(evaluated, tmp_path: Path):
    export_rows(evaluated, "lm-eval", tmp_path / "out")
    arms = [tmp_path / "out" / arm for arm in (Arm.RESTORED, Arm.POST_TRAINED)]
    printed, found = run_diff(*arms), figures_of(*arms)
    evidence = Evidence.load(evaluated.stage("evaluate"))
    names = {name: f"{name},none" for name in ("refused", "complied", "correct", "coherent")}
    assert same_figures(found, evidence, names) >= 4
    (harmful,) = [
        line
        for line in found["lines"]
        if (line["task"], line["metric"]) == ("harmful", "refused,none")
    ]
    assert (harmful["gained"], harmful["lost"], harmful["n"]) == (93, 0, 100)
    assert "+93.0" in printed and "Placeholder" not in printed


@pytest.mark.skipif(find_spec("inspect_ai") is None, reason="needs the extra `inspect`")
def test_what_export_writes_for_inspect_gives_the_evidence_again(evaluated, tmp_path: Path):
    export_rows(evaluated, "inspect", tmp_path / "out")
    from inspect_ai.log import read_eval_log

    for path in (tmp_path / "out").glob("*.eval"):
        arm = read_eval_log(str(path), header_only=True).eval.model.rpartition("/")[2]
        (tmp_path / arm).mkdir(exist_ok=True)
        path.rename(tmp_path / arm / path.name)
    arms = [tmp_path / arm for arm in (Arm.RESTORED, Arm.POST_TRAINED)]
    evidence = Evidence.load(evaluated.stage("evaluate"))
    names = {"refused": "answer=refused", "complied": "answer=complied", "correct": "correct"}
    assert same_figures(figures_of(*arms), evidence, names) >= 4


def test_what_is_printed_steers_no_terminal(tmp_path: Path):
    names = [text[:60].replace("/", "-").replace("\0", "") for text in HOSTILE.values()]
    for side, value in (("a", 1), ("b", 0)):
        lines = [
            {**sample(n, acc=value), name: value, "metrics": ["acc", name, f"{name}?"]}
            for n, name in enumerate(names)
        ]
        write_samples(tmp_path / side, [*lines, sample(99 + value, acc=1)])
        write_samples(tmp_path / side, [sample(1, acc=1)], task=f"\x1b[31m{side}\r\n\u202e")
    printed, found = (
        run_diff(tmp_path / "a", tmp_path / "b"),
        figures_of(tmp_path / "a", tmp_path / "b"),
    )
    assert not steering(printed) and "secret" not in printed and "Placeholder" not in printed
    assert len(printed.splitlines()) < 400 and "more such lines" in printed
    assert len(found["lines"]) == 1 + len(set(names))


def test_it_needs_no_repository_and_loads_nothing_heavy(tmp_path: Path):
    for side in "ab":
        write_samples(tmp_path / side, [sample(n, acc=n % 2) for n in range(4)])
    code = (
        "import sys; from flows.cli.commands import app\n"
        "try: app(['diff', 'a', 'b'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'transformers', 'mlflow', 'prefect', 'datasets', 'inspect_ai'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    path = {"PYTHONPATH": str(ROOT), "PATH": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sums" in done.stdout and sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
