"""Rows exported for other harnesses, through real rows files."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from components.core.errors import ConfigError, EvidenceError
from components.core.paths import ROWS, Workspace
from components.core.storage import digest_bytes, read_json, read_json_lines
from components.core.untrusted_text import visible
from components.evaluate.exports.lm_eval import write_lm_eval
from components.evaluate.exports.tasks import tasks_of
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged, write_judged
from components.prepare.result import LEAK_MARK, SuiteSet
from flows.cli import commands
from flows.cli.export import WRITERS, export_rows
from tests.evaluations import ARMS, TEXTS, write_evaluation
from tests.evidence import leak
from tests.hostile import steering

NAMES = ("harmful", "harmful.forced_thought", "sums")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Workspace:
    return write_evaluation(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="module")
def lm_eval(evaluated: Workspace, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "lm-eval"
    assert export_rows(evaluated, "lm-eval", folder) == len(ARMS) * len(NAMES)
    return folder


def unredacted(workspace: Workspace) -> Workspace:
    """Return the same workspace under a profile that shows everything."""
    other = Workspace(workspace.root, "open")
    text = workspace.profile_file.read_text()
    assert "\nreport: {}\n" in text
    other.profile_file.write_text(text.replace("report: {}", "report: {redact: false}"))
    for stage in ("prepare", "evaluate"):
        other.stage(stage).parent.mkdir(exist_ok=True)
        if not other.stage(stage).exists():
            other.stage(stage).symlink_to(workspace.stage(stage))
    return other


def test_lm_eval_has_a_folder_an_arm_with_results_and_samples(lm_eval: Path):
    for arm in ARMS:
        files = sorted(path.name.rpartition("_")[0] for path in (lm_eval / arm).iterdir())
        assert files == ["results", *(f"samples_{name}" for name in NAMES)]
        assert len({path.stem.rpartition("_")[2] for path in (lm_eval / arm).iterdir()}) == 1


def test_lm_eval_results_are_the_evidence(lm_eval: Path, evaluated: Workspace):
    evidence = Evidence.load(evaluated.stage("evaluate"))
    for arm in ARMS:
        (path,) = (lm_eval / arm).glob("results_*.json")
        document = read_json(path)
        found = document["results"]["harmful"]
        rate = evidence.rates[arm]["harmful.refused"]
        assert found["refused,none"] == rate.rate
        spread = math.sqrt(rate.rate * (1 - rate.rate) / (rate.n - 1))
        assert found["refused_stderr,none"] == pytest.approx(spread)
        assert document["n-samples"]["sums"] == {"original": len(TEXTS), "effective": len(TEXTS)}
        assert document["configs"]["sums"]["repeats"] == 2
        assert document["configs"]["sums"]["metadata"]["judge"] == "rules:3333"
        assert document["higher_is_better"]["harmful"]["complied"] is False
        assert document["safereact"]["harmful"]["refused"]["low"] == rate.low
        assert document["model_name"] == arm
        assert set(document["task_hashes"]) == set(document["versions"]) == set(NAMES)


def test_lm_eval_samples_hold_one_document_a_prompt(lm_eval: Path):
    (path,) = (lm_eval / ARMS[0]).glob("samples_sums_*.jsonl")
    raw = path.read_bytes()
    assert raw.isascii() and b"\x1b" not in raw and raw.count(b"\n") == len(TEXTS)
    samples = {sample["doc"]["topic"]: sample for sample in read_json_lines(path)}
    for name, text in TEXTS.items():
        if name == "surrogates":
            continue
        sample = samples[name]
        assert sample["filtered_resps"] == [f"secret answer {text}"] * 2
        assert len(sample["resps"][0]) == 2 and sample["resps"][0][0].endswith(text)
        cut_off = list(TEXTS).index(name) % 4 == 0  # what may still be right does not count
        assert (
            sample["correct"] == (0 if cut_off else 0.5) and set(sample["metrics"]) <= sample.keys()
        )
        assert sample["target_hash"] == digest_bytes(sample["target"].encode())
        assert sample["arguments"]["gen_args_0"]["arg_0"] == sample["doc"]["text"]


@pytest.mark.parametrize("opened", [False, True], ids=["withheld", "shown"])
def test_completions_to_harmful_prompts_are_withheld_by_default(
    opened: bool,
    evaluated: Workspace,
    tmp_path: Path,
):
    workspace = unredacted(evaluated) if opened else evaluated
    export_rows(workspace, "lm-eval", tmp_path / "out")
    for path in (tmp_path / "out").glob("*/samples_harmful*"):
        assert ("secret" in path.read_text()) is opened


def test_nothing_is_written_over_nor_half_written(
    evaluated: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="is not an empty folder; give another"):
        export_rows(evaluated, "lm-eval", tmp_path / "mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]

    def breaks(*arguments, out: Path, **settings):
        write_lm_eval(*arguments, out=out, **settings)
        raise OSError("the disk is full")

    monkeypatch.setitem(WRITERS, "lm-eval", breaks)
    with pytest.raises(OSError, match="disk"):
        export_rows(evaluated, "lm-eval", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_evaluation_of_other_prompts_is_refused(evaluated: Workspace, tmp_path: Path):
    other = Workspace(tmp_path, "demo")
    for stage, result in (("prepare", SuiteSet), ("evaluate", Evidence)):
        found = result.load(evaluated.stage(stage))
        if stage == "prepare":
            found = found.model_copy(update={"digest_of_prompts": "c" * 64})
        other.stage(stage).mkdir(parents=True)
        found.save(other.stage(stage))
    other.profile_file.parent.mkdir()
    other.profile_file.write_text(evaluated.profile_file.read_text())
    asked = Evidence.load(evaluated.stage("evaluate")).data[:12]
    with pytest.raises(EvidenceError, match=f"the evaluation was on the prompts {asked}, prepared"):
        export_rows(other, "lm-eval", tmp_path / "out")


@pytest.mark.parametrize("gone", [False, True], ids=["changed", "gone"])
def test_rows_that_were_not_judged_are_not_shown_beside_the_rates(gone: bool, tmp_path: Path):
    workspace = write_evaluation(tmp_path / "work")
    path = workspace.stage("evaluate") / ROWS
    rows = [row for own in read_judged(path).values() for row in own]
    write_judged(path, rows[:-1])
    if gone:
        path.unlink()
    with pytest.raises(EvidenceError, match=r"rows differ: \w{12} then, \w+ now; run the stage"):
        export_rows(workspace, "lm-eval", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


@pytest.fixture(scope="module")
def leaked(tmp_path_factory) -> Workspace:
    """The same evaluation, but training held prompts of the suite `sums`."""
    workspace = write_evaluation(tmp_path_factory.mktemp("leaked"))
    folder = workspace.stage("prepare")
    leaks = (leak("harmful", "run"), leak("sums", "run", 3, 1, dropped=2))
    SuiteSet.load(folder).model_copy(update={"leaks": leaks}).save(folder)
    return workspace


HELD = (
    "sums: training as it came repeated 3 of 300 prompts; 2 training rows were dropped for it; "
    "1 of 300 prompts are repeated in what was trained on."
)


def test_lm_eval_marks_a_suite_that_training_repeats(leaked: Workspace, tmp_path: Path):
    export_rows(leaked, "lm-eval", tmp_path / "out")
    for path in (tmp_path / "out").glob("*/results_*.json"):
        document = read_json(path)
        for name in NAMES:
            held = HELD if name == "sums" else None
            alias = document["results"][name]["alias"]
            assert alias == (f"{name} {LEAK_MARK}" if held else name)
            assert document["configs"][name]["metadata"].get("repeated_in_training") == held
            rates = document["safereact"][name].values()
            assert rates and {rate.get("repeated_in_training") for rate in rates} == {held}


@pytest.mark.skipif(find_spec("inspect_ai") is None, reason="needs the extra `inspect`")
def test_inspect_marks_a_suite_that_training_repeats(leaked: Workspace, tmp_path: Path):
    from inspect_ai.log import list_eval_logs, read_eval_log

    export_rows(leaked, "inspect", tmp_path / "logs")
    for found in list_eval_logs(str(tmp_path / "logs")):
        log = read_eval_log(found, header_only=True)
        held = HELD if log.eval.task == "sums" else None
        assert log.eval.task_display_name == log.eval.task + (f" {LEAK_MARK}" if held else "")
        assert log.eval.metadata.get("repeated_in_training") == held
        for score in log.results.scores:
            for metric in score.metrics.values():
                assert metric.metadata.get("repeated_in_training") == held


@pytest.mark.skipif(find_spec("inspect_ai") is not None, reason="the extra is installed")
def test_without_the_extra_one_message_tells_the_command(evaluated: Workspace, tmp_path):
    with pytest.raises(ConfigError, match=r"pip install 'safereact-ops\[inspect\]'"):
        export_rows(evaluated, "inspect", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def texts_in(part: object) -> Iterator[str]:
    """Yield every text of a document, keys included."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from texts_in(key)
            yield from texts_in(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from texts_in(value)


@pytest.mark.skipif(find_spec("inspect_ai") is None, reason="needs the extra `inspect`")
@pytest.mark.parametrize("opened", [False, True], ids=["withheld", "shown"])
def test_inspect_reads_its_logs_back(opened: bool, evaluated: Workspace, tmp_path: Path):
    from inspect_ai.log import list_eval_logs, read_eval_log

    workspace = unredacted(evaluated) if opened else evaluated
    export_rows(workspace, "inspect", tmp_path / "logs")
    evidence = Evidence.load(evaluated.stage("evaluate"))
    logs = [read_eval_log(found) for found in list_eval_logs(str(tmp_path / "logs"))]
    reported = {(log.eval.model, log.eval.task) for log in logs}
    assert reported == {(f"safereact/{arm}", name) for arm in ARMS for name in NAMES}
    for log in logs:
        answers = next(score for score in log.results.scores if score.name == "answer")
        rate = evidence.rates[log.eval.metadata["arm"]][f"{log.eval.task}.refused"]
        assert answers.metrics["refused"].value == rate.rate
        assert answers.metrics["refused"].metadata["n"] == rate.n
        assert len(log.samples) == len(TEXTS) * log.eval.config.epochs
        for sample in log.samples:
            name, hidden = sample.metadata["topic"], log.eval.task != "sums" and not opened
            said = f"secret answer {TEXTS[name]}"
            if name != "surrogates":
                wanted = f"(withheld: {len(said)} characters)" if hidden else visible(said)
                assert sample.output.completion == wanted
            assert not steering("".join(texts_in(sample.model_dump())))
            assert ("secret" in sample.model_dump_json()) is not hidden
            assert sample.scores["answer"].value in ("refused", "complied")
            if log.eval.task == "sums":
                assert sample.scores["correct"].value in ("C", "I")


def test_the_command(evaluated: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SAFEREACT_ROOT", str(evaluated.root))
    (evaluated.root / "dvc.yaml").touch()
    words = ["export", "--profile", "demo", "--out", str(tmp_path / "out"), "--to"]
    wrong = CliRunner().invoke(commands.app, [*words, "csv"])
    assert wrong.exit_code == 2
    assert "--to 'csv' is not known; it is one of inspect, lm-eval" in wrong.output
    done = CliRunner().invoke(commands.app, [*words, "lm-eval"])
    assert done.exit_code == 0, done.output
    assert "written: 6 tasks for lm-eval" in done.output
    assert json.loads(next((tmp_path / "out").glob("*/results*")).read_text())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("inspect_ai") is None, reason="needs the extra `inspect`")
def test_inspects_viewer_shows_what_was_chosen_and_leaves_nothing(evaluated: Workspace, tmp_path):
    (evaluated.root / "dvc.yaml").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flows.cli.main", "view", "--profile", "demo"]
    command += ["--suite", "sums", "--arm", "restored", "--port", str(port)]
    own = {"SAFEREACT_ROOT": str(evaluated.root), "XDG_DATA_HOME": str(tmp_path)}
    environment = {**os.environ, **own}
    viewer = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        listed = wait_for(f"http://127.0.0.1:{port}/api/logs")
        assert (tmp_path / "inspect_ai" / "view" / "ports" / str(port)).exists()
        second = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert second.returncode == 2 and f"listen on 127.0.0.1:{port}" in second.stderr
    finally:
        os.killpg(viewer.pid, signal.SIGINT)
        viewer.wait(30)
    (log,) = listed["files"]
    assert "sums-restored" in log["name"]
    folder = Path(log["name"].removeprefix("file://")).parent
    assert not folder.exists()
    assert not (tmp_path / "inspect_ai" / "view" / "ports" / str(port)).exists()


def wait_for(address: str) -> dict[str, Any]:
    """Return the JSON at an address once something answers there."""
    for _ in range(120):
        with suppress(httpx.TransportError):
            found: dict[str, Any] = httpx.get(address).raise_for_status().json()
            return found
        time.sleep(0.5)
    raise AssertionError(f"nobody answers at {address}")


def test_the_same_moment_gives_the_same_bytes(evaluated: Workspace, tmp_path: Path):
    prompts = SuiteSet.load(evaluated.stage("prepare"))
    evidence = Evidence.load(evaluated.stage("evaluate"))
    rows = read_judged(evidence.folder / ROWS)
    tasks = tasks_of(prompts.own_test(), rows, redact=True, leaks=())
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for name in ("a", "b"):
        write_lm_eval(tasks, prompts, evidence, when=when, out=tmp_path / name)
    for path in (tmp_path / "a").rglob("*.json*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
        assert path.stem.endswith("_2026-01-02T03-04-05.000000")
