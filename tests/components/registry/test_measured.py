"""What a run of MLflow shows of a decision: accepted, refused, and made again."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime

import pytest

from components.core.metric_names import Metric
from components.core.paths import CURVES, Workspace
from components.core.run_record import git_commit
from components.core.storage import write_json_lines
from components.core.vocabulary import Arm
from components.evaluate.result import Evidence
from components.registry.changes import PREFIX
from components.registry.measured import HEADLINE, key_figures, rates_table
from components.registry.mlflow_client import NOTE
from components.registry.mlflow_registry import Registry
from components.registry.registration import register
from components.registry.search_runs import TrialRun, open_study
from components.registry.watches import Watched, record_watch
from flows.runner.registry import conclude, record_failure
from tests.evidence import DATA
from tests.releases import NAMES, write_all

LOSSES = [{"step": step, "alignment": 2.0 / (step + 1), "retention": 0.5} for step in range(1100)]


def only_run(registry: Registry, **tags: str):
    """Return the one run of the experiment with these tags."""
    [run] = registry.runs(registry.experiment(NAMES["experiment"]), tags)
    return registry._client.get_run(run.id)


def test_a_registered_adapters_run_has_what_people_filter_and_draw_by(
    workspace: Workspace, registry: Registry, tmp_path
):
    write_json_lines(workspace.stage("train") / CURVES, LOSSES)
    register(workspace, **NAMES)
    run = only_run(registry, gate="accepted")
    assert run.info.run_name.startswith("demo 20") and run.info.run_name.endswith(" accepted")
    assert run.info.status == "FINISHED"
    assert {"method", "teacher", "lr", "steps", "seed", "forms"} <= run.data.params.keys()
    assert run.data.params["seed"] == "0" and run.data.params["forms"].startswith("served")
    curve = registry._client.get_metric_history(run.info.run_id, "loss/alignment")
    assert {point.step: point.value for point in curve} == {
        line["step"]: line["alignment"] for line in LOSSES
    }
    used = {one.tags[0].value: one.dataset for one in run.inputs.dataset_inputs}
    assert set(used) == {"training", "evaluation"} and used["training"].name == "demo"
    assert used["training"].digest == DATA[:36]  # of what trains, whatever is tested with
    assert json.loads(used["evaluation"].profile)["num_rows"] > 0
    evidence = Evidence.load(workspace.stage("evaluate"))
    experiment, own = registry.experiment(NAMES["experiment"]), [run.info.run_id]
    table = registry._client.load_table(experiment, "evaluation.json", own)
    assert len(table) == sum(map(len, evidence.rates.values()))
    found = table[(table.arm == "restored") & (table.metric == "harmful.refused")]
    [row] = found.to_dict("records")
    figure = evidence.rates[Arm.RESTORED]["harmful.refused"]
    found = (row["rate"], row["low"], row["n"])
    assert found == pytest.approx((figure.rate, figure.low, figure.n))


def test_a_refused_adapter_leaves_one_run_with_its_figures_and_why(
    workspace: Workspace, registry: Registry
):
    write_all(workspace, accepted=False)
    assert conclude(workspace).registered is None
    conclude(workspace)
    run = only_run(registry, profile="demo")
    assert run.data.tags["gate"] == "rejected" and "harmful.refused" in run.data.tags["why"]
    assert run.info.status == "FINISHED" and run.info.run_name.endswith(" rejected")
    assert "restored/harmful.refused" in run.data.metrics and run.data.params["method"]


def test_a_refusal_that_was_cut_off_is_closed_and_written_again(
    workspace: Workspace, registry: Registry, monkeypatch
):
    from mlflow import MlflowClient

    def cut_off(*_, **__):
        raise KeyboardInterrupt

    write_all(workspace, accepted=False)
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_table", cut_off)
        with pytest.raises(KeyboardInterrupt):
            conclude(workspace)
    for _ in range(2):
        conclude(workspace)
        runs = registry.runs(registry.experiment(NAMES["experiment"]), {"gate": "rejected"})
        assert [(run.open, run.finished) for run in runs] == [(False, True), (False, False)]


def test_a_failed_run_leaves_its_reason(workspace: Workspace, registry: Registry):
    record_failure(workspace, RuntimeError("train: no\x1b[31m loss"))
    run = only_run(registry, gate="not reached")
    assert run.info.status == "FAILED" and run.data.tags["failure"] == "train: no⟨U+001B⟩[31m loss"


def test_every_run_says_from_which_code_it_comes_whatever_came_of_it(
    workspace: Workspace, registry: Registry
):
    made = ("-c", "user.name=ann", "-c", "user.email=ann@localhost", "commit", "-q", "-m", "first")
    for words in (("init", "-q"), ("add", "profiles"), made):
        subprocess.run(["git", *words], cwd=workspace.root, check=True)
    commit, _ = git_commit(workspace.root)
    register(workspace, **NAMES)
    write_all(workspace, accepted=False)
    conclude(workspace)
    record_failure(workspace, RuntimeError("train: no loss"))
    for outcome in ("accepted", "rejected", "not reached"):
        tags = only_run(registry, gate=outcome).data.tags
        assert (tags["git_commit"], tags["git_changed"]) == (commit, "true"), outcome
        assert tags["git_untracked"] != "none", outcome


def test_whoever_opens_a_page_of_the_store_reads_what_it_is(
    workspace: Workspace, registry: Registry
):
    name, home = NAMES["name"], NAMES["experiment"]
    register(workspace, **NAMES)
    write_all(workspace, accepted=False)
    conclude(workspace)
    record_failure(workspace, RuntimeError("train: no loss"))
    watched = Watched("1", "f" * 64, "no drift", False, "nothing moved", "2026-01-01")
    record_watch(registry, name, home, watched, {})
    study = open_study(registry, registry.experiment(home), "demo", "k" * 64)
    now = datetime.now(UTC)
    study.add([TrialRun(0, now, now, {}, {}, None)])
    abouts = {run.id: run.tags.get(NOTE) for run in registry.runs(None, {})}
    assert len(abouts) == 7 and all(abouts.values()), abouts
    assert "harmful.refused" in only_run(registry, gate="rejected").data.tags[NOTE]
    shown = registry._client.get_registered_model(name).description
    assert f"safereact history {name}" in shown and f"{PREFIX}*" in shown


def test_runs_are_compared_by_few_figures_and_the_table_has_all(release):
    figures = key_figures(release.decision, release.evidence)
    ruled = {rule.metric for rule in release.decision.rules}
    for key in figures:
        arm, _, metric = key.partition("/")
        assert metric in HEADLINE or (arm == "restored" and metric in ruled)
        assert figures[key] == release.evidence.rates[arm][metric].rate
    table = rates_table(release.evidence)
    assert len({len(column) for column in table.values()}) == 1
    assert all(Metric.parse(name) for name in table["metric"])


@pytest.mark.parametrize("clusters", [None, 60])
def test_what_is_independent_stands_beside_n(release, clusters):
    figure = release.evidence.rates[Arm.RESTORED]["harmful.refused"]
    rates = {Arm.RESTORED: {"harmful.refused": figure.model_copy(update={"clusters": clusters})}}
    table = rates_table(release.evidence.model_copy(update={"rates": rates}))
    assert table["independent"] == [clusters or figure.n]
