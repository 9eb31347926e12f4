"""The whole chain on a miniature pair, with the real DVC, Prefect, MLflow and Great Expectations.

The tests of this module work on one repository, in their order.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import stat
import sys
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from components.chain import STAGES, dvc_file, split_dvc_name
from components.core.paths import INPUTS, ROWS, TESTS, Workspace
from components.core.storage import digest_folder, read_json, read_rows
from components.core.vocabulary import Arm
from components.declared_inputs import declare_files
from components.evaluate.result import Evidence
from flows.cli.commands import app
from tests.chain import dvc, make_repository, run, safereact
from tests.flows.conftest import invoke
from tests.root import ROOT
from tests.terminal import COMMAND_LINE, Session

pytestmark = pytest.mark.random_order(disabled=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("chain"))


def outputs(root: Path) -> dict[str, str]:
    workspace = Workspace(root, "mini")
    return {stage: digest_folder(workspace.stage(stage)) for stage in STAGES}


@pytest.fixture(scope="module")
def accepted(root: Path) -> dict[str, str]:
    """The outputs of the first run, which a lenient policy accepts."""
    done = safereact(root, "run", "--profile", "mini")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "registered: mini-safety version 1, alias candidate" in done.stdout
    return outputs(root)


def test_a_run_goes_through_to_the_registry(root, accepted):
    for name in (
        "data/prepared/mini/prompts.parquet",
        "data/prepared/mini/data-docs/index.html",
        "artifacts/mini/models/base/model.safetensors",
        "artifacts/mini/models/post-trained/model.safetensors",
        "artifacts/mini/train/adapter/adapter_model.safetensors",
        "artifacts/mini/evaluate/metrics.json",
        "artifacts/mini/gate/decision.json",
        "artifacts/mini/report/report.html",
    ):
        assert (root / name).is_file(), name


def test_nobody_else_can_read_what_the_run_has_written(root, accepted):
    """Folders that nobody else can enter, and no file of results that they could read there."""
    for name in ("artifacts", "data/prepared", "mlruns", ".prefect", ".dvc/cache", ".dvc/tmp"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o700, name
    for name in ("artifacts", "data/prepared"):
        for path in (root / name).rglob("*"):
            assert path.is_dir() or not stat.S_IMODE(path.stat().st_mode) & 0o007, path


def test_dvc_agrees_and_git_sees_no_artifacts(root, accepted):
    status = dvc(root, "status")
    assert "Data and pipelines are up to date" in status.stdout, status.stdout + status.stderr
    shown = run(root, "git", "status", "--porcelain", "--untracked-files=all").stdout
    assert "dvc.lock" in shown
    assert "artifacts/" not in shown and "mlruns" not in shown and ".prefect" not in shown


def test_dvc_shows_the_figures(root, accepted):
    (shown,) = json.loads(dvc(root, "metrics", "show", "--json").stdout)[""]["data"].values()
    assert shown["data"]["gate"] == "accepted"
    assert {"harmful.refused", "reasoning.correct"} <= shown["data"]["restored"].keys()
    assert "report/rates.json" in dvc(root, "plots", "show", "--json").stdout


def test_dvc_alone_runs_nothing_after_a_run(root, accepted):
    command = root / "flows/cli/main.py"  # is no stage's code
    command.write_text(command.read_text().replace("    app()", "    print(app())"))
    done = dvc(root, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Running stage" not in done.stdout
    assert done.stdout.count("didn't change, skipping") == len(STAGES) + 1


def test_a_repository_of_before_is_refused_by_dvc_alone_and_loses_no_result(root, accepted):
    """Its stage was `prepare@mini`, and its list named the folder of the prompts."""
    for file, new, old in (
        ("dvc.lock", "prepare-mini:", "prepare@mini:"),
        ("params.yaml", "{checkpoints: prompts}", "{checkpoints: prompts, prompts: prompts}"),
    ):
        text = (root / file).read_text()
        assert new in text
        (root / file).write_text(text.replace(new, old))
    (root / "dvc.yaml").write_text(dvc_file({}))
    alone = dvc(root, "repro", "--force", "--single-item", "gate@mini")
    assert alone.returncode != 0 and "`safereact add mini` writes them there" in alone.stderr
    done = safereact(root, "run", "--profile", "mini")
    assert done.returncode == 0, done.stdout + done.stderr
    known = r"Stage '(\w+)[@-]mini' (?:didn't change|is cached)"  # the one that was forced is gone
    assert re.findall(known, done.stdout + done.stderr) == list(STAGES)
    assert outputs(root) == accepted


# The stages that count figures: the gate counts them again.
COUNTED = {"evaluate", "gate"}


def stale_by_code(root: Path) -> set[str]:
    """Return what DVC would run now that it knows the code."""
    done = dvc(root, "repro", INPUTS)
    assert done.returncode == 0, done.stdout + done.stderr
    return {split_dvc_name(name)[0] for name in json.loads(dvc(root, "status", "--json").stdout)}


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ([("components/core/result.py", "low=min(low, rate)", "low=rate")], set(STAGES)),
        ([("components/evaluate/statistics.py", "min(largest, 1.0)", "largest")], COUNTED),
        (
            [
                ("components/lm/engines/in_process.py", '"""', '# a remark\n"""Another. '),
                ("components/evaluate/exports/inspect_log.py", "\n\n\n", "\n\n\nMORE = 1\n\n\n"),
            ],
            set(),
        ),
    ],
)
def test_code_makes_stale_what_it_decides(root, accepted, changes, stages):
    texts = {root / file: (root / file).read_text() for file, _, _ in changes}
    for file, old, new in changes:
        assert old in texts[root / file]
        (root / file).write_text(texts[root / file].replace(old, new, 1))
    try:
        assert stale_by_code(root) == stages
    finally:
        for path, text in texts.items():
            path.write_text(text)


def test_code_that_is_back_makes_nothing_stale(root, accepted):
    assert set(json.loads(dvc(root, "status", "--json").stdout)) == {INPUTS}
    assert stale_by_code(root) == set()


def test_a_stage_does_not_run_other_code_than_dvc_knows(root, accepted):
    before = outputs(root)
    path = root / "components/core/vocabulary.py"
    text = path.read_text()
    path.write_text(f"{text}\nMORE = 1\n")  # after the stage `inputs` and before this one
    done = dvc(root, "repro", "--single-item", "--force", "gate@mini")
    path.write_text(text)
    assert (
        done.returncode != 0 and "artifacts/.inputs/code/gate is not the fingerprint" in done.stderr
    )
    assert dvc(root, "checkout").returncode == 0
    assert outputs(root) == before


@pytest.mark.parametrize("name", ["x; touch pwned; $(touch pwned)", "../../flows"])
def test_a_name_in_params_that_is_none_runs_nothing(root, accepted, name):
    text = (root / "params.yaml").read_text()
    listed = json.dumps({name: {"checkpoints": "prompts"}})
    (root / "params.yaml").write_text(text.replace("attacked: {}", f"attacked: {listed}"))
    try:
        done = dvc(root, "repro")
    finally:
        (root / "params.yaml").write_text(text)
    assert done.returncode != 0, done.stdout
    assert "attacked lists" in done.stderr and "is no name of a profile" in done.stderr
    assert not list(root.rglob("pwned")) and (root / "flows/cli/main.py").is_file()


def test_nothing_of_the_outputs_names_this_machine(root, accepted):
    for stage in STAGES:
        for path in Workspace(root, "mini").stage(stage).rglob("*"):
            if path.is_file():
                assert str(root).encode() not in path.read_bytes(), path


def test_the_adapter_comes_back_ready_for_peft(root, accepted, tmp_path, monkeypatch):
    import torch
    from peft import PeftModel

    from components.lm.loading import load_model

    monkeypatch.setenv("SAFEREACT_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = invoke("promote", "mini-safety", "--by", "ann", "--why", "evidence is good")
    assert done.returncode == 0, done.stderr
    done = invoke("pull", "mini-safety@champion", str(tmp_path / "adapter"))
    assert done.returncode == 0, done.stderr
    workspace = Workspace(root, "mini")
    trained = workspace.stage("train") / "adapter"
    (tmp_path / "adapter" / "README.md").unlink()  # the model card
    assert digest_folder(tmp_path / "adapter") == digest_folder(trained)
    checkpoint = workspace.stage("models") / "post-trained"
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = load_model(checkpoint)(ids).logits
    pulled = PeftModel.from_pretrained(load_model(checkpoint), tmp_path / "adapter")
    local = PeftModel.from_pretrained(load_model(checkpoint), trained)
    torch.testing.assert_close(pulled(ids).logits, local(ids).logits, rtol=0, atol=0)
    assert not torch.equal(pulled(ids).logits, plain)


def test_mlflow_loads_the_champion_and_it_answers_as_it_was_evaluated(
    root, accepted, tmp_path, monkeypatch
):
    import mlflow
    import pandas as pd

    from components.core.errors import ConfigError, EvidenceError, ModelError

    monkeypatch.setenv("SAFEREACT_ROOT", str(root))
    done = invoke("promote", "mini-safety", "--by", "ann", "--why", "evidence is good")
    assert done.returncode == 0, done.stderr
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlruns/mlflow.db")
    served = mlflow.pyfunc.load_model("models:/mini-safety@champion")
    workspace = Workspace(root, "mini")
    asked = {row["id"]: row["text"] for row in read_rows(workspace.stage("prepare") / TESTS)}
    rows = [
        (asked[row["prompt_id"]], row["answer"])
        for row in read_rows(workspace.stage("evaluate") / ROWS)
        if (row["arm"], row["form"], row["suite"]) == ("restored", "served", "benign")
    ]
    prompts = pd.DataFrame({"prompt": [text for text, _ in rows]})
    assert served.predict(prompts, {"max_new_tokens": 8}) == [answer for _, answer in rows]
    one = [{"prompt": rows[0][0]}]  # as docs/check.md has it
    assert served.predict(one, {"max_new_tokens": 8}) == [rows[0][1]]
    with pytest.raises(ModelError, match="shorten it"):
        served.predict([{"prompt": "one " * 5000}])
    with pytest.raises(ConfigError, match="max_new_tokens"):
        served.predict(one, {"max_new_tokens": 0})
    monkeypatch.setenv("SAFEREACT_BASE", str(workspace.stage("models") / "base"))
    with pytest.raises(ModelError, match="was evaluated on"):
        mlflow.pyfunc.load_model("models:/mini-safety@champion")
    monkeypatch.setenv("SAFEREACT_BASE", str(root / "nowhere"))
    with pytest.raises(ModelError, match="nowhere"):
        mlflow.pyfunc.load_model("models:/mini-safety@champion")
    forged = Path(
        mlflow.artifacts.download_artifacts("models:/mini-safety@champion", dst_path=str(tmp_path))
    )
    monkeypatch.delenv("SAFEREACT_BASE")
    adapter = forged / "adapter" / "adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"x")
    with pytest.raises(EvidenceError):
        mlflow.pyfunc.load_model(str(forged))


def test_a_line_is_answered_with_the_adapter_and_without_as_they_were_evaluated(
    root, accepted, tmp_path, monkeypatch
):
    monkeypatch.setenv("SAFEREACT_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    invoke("promote", "mini-safety", "--by", "ann", "--why", "evidence is good")
    workspace = Workspace(root, "mini")
    asked = {row["id"]: row["text"] for row in read_rows(workspace.stage("prepare") / TESTS)}
    answers: dict[str, dict[str, str]] = {}
    for row in read_rows(workspace.stage("evaluate") / ROWS):
        if (row["form"], row["suite"]) == ("served", "harmful"):
            answers.setdefault(row["prompt_id"], {})[row["arm"]] = row["answer"]
    prompt, said = next(
        (key, one) for key, one in answers.items() if one["restored"] != one["post-trained"]
    )
    words = ("chat", "mini-safety@champion", "--max-new-tokens", "8")
    done = CliRunner().invoke(app, words, input=f"\n{'one ' * 5000}\n{asked[prompt]}\n")
    assert done.exit_code == 1 and "1 of 2 lines were not answered" in done.stderr
    shown = done.stdout
    plain, restored = (shown.index(f"{arm}:") for arm in ("post-trained", "restored"))
    assert said["post-trained"] in shown[plain:restored] and said["restored"] in shown[restored:]
    assert "shorten it" in shown  # and the conversation goes on to its end
    monkeypatch.setenv("SAFEREACT_BASE", str(workspace.stage("models") / "base"))
    for command in ("chat", "serve"):
        refused = invoke(command, "mini-safety@champion")
        assert refused.returncode == 1 and "was evaluated on" in refused.stderr
        assert "address" not in refused.stdout


@pytest.mark.slow
def test_a_champion_is_served_until_it_is_withdrawn(root, accepted, monkeypatch):
    """By the server of transformers, which loads model and adapter and answers a client."""
    monkeypatch.setenv("SAFEREACT_ROOT", str(root))
    invoke("promote", "mini-safety", "--by", "ann", "--why", "evidence is good")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"from flows.cli import answering; answering.LOOK_SECONDS = 1; {COMMAND_LINE}"
    words = ("serve", "mini-safety@champion", "--follow", "--port", str(port))
    session = Session(*words, code=code, cwd=root, PYTHONPATH=str(root))
    session.wait_for(lambda: "curl " in session.output)
    workspace = Workspace(root, "mini")
    texts = {row["id"]: row["text"] for row in read_rows(workspace.stage("prepare") / TESTS)}
    prompt, said = next(
        (texts[row["prompt_id"]], row["answer"])
        for row in read_rows(workspace.stage("evaluate") / ROWS)
        if (row["arm"], row["form"], row["suite"]) == ("restored", "served", "benign")
        and "<" not in row["answer"]
    )
    asked = {
        "model": "mini-safety",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 8,
        "temperature": 0,
    }
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    answer = httpx2.post(url, json=asked, timeout=60).json()
    assert answer["choices"][0]["message"]["content"] == said
    invoke("withdraw", "mini-safety@champion", "--by", "ann", "--why", "it does harm")
    code, errors, _ = session.ended()
    assert code == 1 and "was withdrawn" in errors
    assert not session.left()
    invoke(
        "promote", "mini-safety", "--version", "1", "--despite", "2", "--by", "ann", "--why", "no"
    )


@pytest.mark.slow
def test_a_champion_is_measured_again_and_its_watches_are_kept(root, accepted):
    safereact(root, "promote", "mini-safety", "--by", "ann", "--why", "evidence is good")
    done = safereact(root, "watch", "--profile", "mini")
    assert done.returncode == 3, done.stdout + done.stderr  # of twelve prompts nobody can tell
    assert "cannot tell" in done.stdout and "prompts would decide" in done.stdout
    assert "two samples" not in done.stdout
    again = safereact(root, "watch", "--profile", "mini")
    looks = [line for each in (done, again) for line in each.stdout.splitlines() if "look " in line]
    assert len(looks) == 2 and looks[0] == looks[1]  # the same rows are one look
    shown = safereact(root, "status", "--profile", "mini")
    assert "watch found cannot tell" in shown.stdout, shown.stderr
    found = read_json(Workspace(root, "mini").checks.with_name("watch") / "watch.json")
    assert all(line["paired"] and line["now"] == line["then"] for line in found["lines"])
    broken = safereact(root, "watch", "--profile", "mini", SAFEREACT_BASE=str(root / "nowhere"))
    assert broken.returncode == 1 and "nowhere" in broken.stderr


SUITE = """
description: Abstract requests.
cite: nobody
role: harmful
licence: MIT
source: {path: data/suites/mine.jsonl}
max_new_tokens: 8
judge: rules
attacks: [role-play]
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", range(5))
def test_the_python_examples_of_the_page_run(root, accepted, number, tmp_path, monkeypatch):
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 5
    code = (
        examples[number].replace("tiny", "mini").replace('"combined")', f'"{tmp_path}/combined")')
    )
    done = run(root, sys.executable, "-c", code)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_notebook_shows_the_figures_of_a_finished_run(root, accepted):
    cells = json.loads((ROOT / "docs" / "run.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    shown = "print(table.loc['harmful.refused', 'restored'], counted.loc['harmful', 'restored'])"
    done = run(
        root, sys.executable, "-c", f"{code.replace('tiny', 'mini')}\n{shown}", MPLBACKEND="Agg"
    )
    assert done.returncode == 0, done.stderr
    evidence = Evidence.load(Workspace(root, "mini").stage("evaluate"))
    stated = evidence.rates[Arm.RESTORED]["harmful.refused"].rate
    assert list(map(float, done.stdout.split())) == pytest.approx([stated, stated])


def write_suite(root: Path, *more: str) -> None:
    """Write the rows of the suite `mine`, with `more` texts behind twelve of its own."""
    texts = [*(f"do the harmful thing number {number}" for number in range(12)), *more]
    lines = [json.dumps({"text": text, "topic": "abstract"}) + "\n" for text in texts]
    (root / "data/suites/mine.jsonl").write_text("".join(lines))


def stale(root: Path) -> set[str]:
    """Return the stages that DVC would run once the prompts are prepared anew."""
    done = dvc(root, "repro", "prepare-mini")
    assert done.returncode == 0, done.stdout + done.stderr
    return {split_dvc_name(name)[0] for name in json.loads(dvc(root, "status", "--json").stdout)}


def edit_profile(root: Path, old: str, new: str) -> None:
    profile = root / "profiles" / "mini.yaml"
    profile.write_text(profile.read_text().replace(old, new))


def test_a_stricter_policy_makes_the_decision_and_its_page_stale(root, accepted):
    edit_profile(root, "policy: default", "policy: strict")
    assert stale(root) == {"gate", "report"}  # the page names the policy


def add_suite(root: Path) -> None:
    write_suite(root)
    (root / "data/suites/mine.yaml").write_text(SUITE)
    edit_profile(root, "prepare:\n", "prepare:\n  suites: {mine: {}}\n")


@pytest.mark.slow  # stages run again
def test_a_suite_that_comes_later_makes_the_evaluation_stale_and_not_the_training(root, accepted):
    edit_profile(root, "policy: strict", "policy: default")
    add_suite(root)
    refused = dvc(root, "repro", "prepare-mini")
    assert refused.returncode != 0 and "`safereact add mini` writes them there" in refused.stderr
    assert declare_files(root)
    assert stale(root) == {"evaluate", "gate", "report"}


@pytest.mark.slow  # stages run again
def test_a_suite_that_repeats_a_training_row_makes_the_training_stale(root, accepted):
    rows = (root / "prompts/train.jsonl").read_text().splitlines()
    repeated = next(row["text"] for row in map(json.loads, rows) if row["role"] == "harmful")
    write_suite(root, repeated)
    assert {"probe", "train", "evaluate"} <= stale(root)
    manifest = read_json(root / "data/prepared/mini/suites.json")
    leak = next(leak for leak in manifest["leaks"] if leak["suite"] == "mine")
    assert (leak["before"]["count"], leak["after"]["count"]) == (1, 0) and leak["dropped"] >= 1


@pytest.mark.slow  # stages run again
def test_going_back_is_a_matter_of_the_cache_and_the_next_run_does_nothing_twice(root, accepted):
    edit_profile(root, "  suites: {mine: {}}\n", "")
    for file in (root / "data/suites").glob("mine.*"):
        file.unlink()
    assert declare_files(root)
    shutil.rmtree(root / "artifacts")
    shutil.rmtree(root / "data" / "prepared")
    done = dvc(root, "repro", "report@mini")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("is cached - skipping run") == len(STAGES) + 1  # and `inputs`
    assert not (root / "artifacts/mini/runs").exists()  # no stage ran
    assert outputs(root) == accepted
    again = safereact(root, "run", "--profile", "mini")
    assert again.stdout.count("up to date") == len(STAGES), again.stderr
    assert "registered already: mini-safety version 1" in again.stdout
    assert outputs(root) == accepted


@pytest.mark.slow
def test_dvc_alone_makes_the_same_files(root, accepted):
    before = outputs(root)
    done = dvc(root, "repro", "--force", "report@mini")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outputs(root) == before


# Each stage in a process that may write no file larger than so many bytes, forked from one that has
# imported what stages take seconds to import.
ON_A_FULL_DISK = """
import json, os, resource, sys
import great_expectations, matplotlib.pyplot, torch, transformers
from components.__main__ import main

for stage, size in json.loads(sys.argv[1]):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.dup2(writer, 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        os._exit(main([stage, "--profile", "mini"]))
    os.close(writer)
    told = os.fdopen(reader).read()
    print(json.dumps([stage, os.waitstatus_to_exitcode(os.wait()[1]), told]))
"""


@pytest.mark.slow
def test_a_full_disk_in_any_stage_is_reported_of_and_the_old_result_stays(root, accepted):
    before = outputs(root)
    cases = json.dumps([(stage, size) for stage in STAGES for size in (100, 1000)])
    done = run(root, sys.executable, "-c", ON_A_FULL_DISK, cases)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 2 * len(STAGES), done.stderr
    for stage, code, told in found:
        assert code == 1 and "Traceback" not in told, (stage, told)
        assert f"{stage}: there is no room" in told.splitlines()[-1], told
    assert outputs(root) == before
    status = dvc(root, "status")
    assert "Data and pipelines are up to date" in status.stdout, status.stdout + status.stderr


@pytest.mark.slow
def test_a_suite_is_asked_in_its_attacks_judged_compared_with_training_and_decided_on(
    root, accepted
):
    """By the stricter policy, which rejects the adapter."""
    add_suite(root)
    edit_profile(root, "policy: default", "policy: strict")
    before = outputs(root)
    done = safereact(root, "run", "--profile", "mini")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "nothing was registered" in done.stdout
    changed = {stage for stage, digest in outputs(root).items() if digest != before[stage]}
    assert changed == {"prepare", "evaluate", "gate", "report"}
    evidence = read_json(root / "artifacts/mini/evaluate/metrics.json")
    assert evidence["roles"]["mine"] == "harmful" and evidence["judges"]["mine"].startswith("rules")
    for rates in evidence["rates"].values():
        asked = {name: rate["n"] for name, rate in rates.items() if name.endswith(".refused")}
        assert asked["mine.refused"] == asked["mine.role-play.refused"] == 12
        assert "harmful.role-play.refused" not in asked
    decision = read_json(root / "artifacts/mini/gate/decision.json")
    assert decision["outcome"] == "rejected" and decision["reasons"]
    rules = {rule["rule"]: rule for rule in decision["rules"]}
    assert rules["every named suite was asked"]["why"] == "1 of them"
    leaks = rules["mine is not in training"]
    assert leaks["conclusion"] == "pass"
    assert leaks["why"].startswith("training repeats 0 of 12 prompts of mine")
    page = (root / "artifacts/mini/report/report.html").read_text()
    assert '<th scope="row">mine</th>' in page
