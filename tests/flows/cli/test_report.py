"""The report with what studies found: shown, not run, and of something else."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.chain import TABLE
from components.core.errors import StageError
from components.core.paths import Workspace
from components.core.storage import write_json
from components.core.vocabulary import Arm, Role
from components.evaluate.result import Evidence
from components.gate.result import Decision, GateOutcome
from components.prepare.result import UNDATED, SuiteSet
from components.profile import load_profile
from components.report.stage import render
from components.report.studies import RateCell
from components.studies.compare.result import Comparison
from components.studies.withstand.result import Withstand
from components.train.result import Adapter
from flows.cli.compare_tables import measured_parts
from flows.cli.comparison import forecast
from flows.cli.report import (
    compared,
    decided,
    full_report,
    origin_of,
    withstood,
    write_full_report,
)
from flows.runner.registry import record_decision
from tests.components.report.cases import ORIGIN, make_case
from tests.components.report.test_stage import Page, runs_its_own_script_alone
from tests.flows.conftest import invoke
from tests.profiles import plain_text
from tests.releases import RECORDED, write_result


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A profile whose stages and studies have all run."""
    found = Workspace(tmp_path, "demo")
    found.profile_file.parent.mkdir()
    found.profile_file.write_text(plain_text())
    for stage in TABLE:
        write_result(stage, found)
    return found


def test_the_tables_of_both_studies_are_on_the_page(workspace):
    assert decided(workspace)
    before = (workspace.stage("report") / "report.html").read_bytes()
    page = Page(write_full_report(workspace).read_text())
    assert (workspace.stage("report") / "report.html").read_bytes() == before
    words = page.text.split("Other methods", 1)[1].replace("\xa0", " ")
    assert "restored (safereact-base)" in words and "1,234" in words and "321" in words
    assert "safereact-pruned: left out, it cannot teach" in words
    assert "without direction of own, layer 2, best of 4" in words
    assert "restored: refusals are not halved within 25 steps" in words
    assert "runs it" not in words and "stale" not in words
    assert page.tags.count("caption") == page.tags.count("table")


def test_a_study_s_rates_are_on_the_page_with_their_interval_and_n(workspace):
    (table, *_) = compared(workspace).tables
    sizes = table.sizes()
    page = Page(write_full_report(workspace).read_text()).text.replace("\xa0", " ")
    for row in table.rows:
        for cell, size in zip(row, sizes, strict=True):
            if isinstance(cell, RateCell):
                assert cell.interval in page and f"n={size or cell.size}" in page


def test_the_data_docs_say_whose_they_are_and_of_which_day(workspace):
    docs = workspace.stage("prepare") / "data-docs"
    docs.mkdir()
    (docs / "index.html").write_text(f"<p>{UNDATED}</p>")
    (docs / "gone.html").write_text("a suite")
    full_report(workspace)
    (docs / "gone.html").unlink()
    page = workspace.data_docs / "index.html"
    assert "demo, prepared on a day that was not recorded" in page.read_text()
    record = {"result": SuiteSet.digest_of(docs.parent), "day": "2026-01-02", "commit": "abc"}
    record |= RECORDED
    write_json(workspace.run_record("prepare"), record)
    full_report(workspace)  # the report itself is not written again
    assert "demo, prepared on 2026-01-02, by the code of commit abc." in page.read_text()
    assert UNDATED not in page.read_text() and list(page.parent.iterdir()) == [page]
    write_json(workspace.run_record("prepare"), record | {"commit": None})
    full_report(workspace)
    assert "demo, prepared on 2026-01-02." in page.read_text()


def test_the_page_is_written_again_for_another_decision_alone(workspace):
    page, decision = full_report(workspace), workspace.stage("gate") / Decision.FILE
    assert full_report(workspace) == page == workspace.full_report
    page.write_text(f"mine {Evidence.digest_of(workspace.stage('evaluate'))}")
    assert full_report(workspace).read_text().startswith("mine"), "it is of this decision"
    os.utime(decision, (time.time() + 60,) * 2)
    assert "<html" in full_report(workspace).read_text()
    os.utime(decision, (0, 0))
    page.write_text("of other evidence")
    assert "<html" in full_report(workspace).read_text()


def test_a_study_that_was_not_run_is_named_with_its_command(workspace):
    for stage, result in (("compare", Comparison), ("withstand", Withstand)):
        (workspace.stage(stage) / result.FILE).unlink()
    studies = (compared(workspace), withstood(workspace))
    assert [study.missing for study in studies] == ["not run", "not run"]
    assert [study.tables for study in studies] == [(), ()]
    page = Page(write_full_report(workspace).read_text()).text
    for name in ("compare", "withstand"):
        assert f"safereact {name} --profile demo" in page


def test_a_study_of_another_adapter_is_stale_and_none_of_its_figures_is_shown(workspace):
    found = Withstand.load(workspace.stage("withstand"))
    found.model_copy(update={"adapter": "0" * 64}).save(found.folder)
    evidence = Evidence.load(workspace.stage("evaluate"))
    comparison = Comparison.load(workspace.stage("compare"))
    comparison.model_copy(update={"evidence": "0" * 64}).save(comparison.folder)
    for study in (compared(workspace), withstood(workspace)):
        assert study.missing.startswith("stale") and study.tables == ()
    assert "cannot teach" not in write_full_report(workspace).read_text()
    # Of the same adapter, with other judges: no longer the same.
    others = {"adapter": evidence.adapter, "judges": {Role.HARMFUL.value: "another"}}
    found.model_copy(update=others).save(found.folder)
    assert withstood(workspace).missing.startswith("stale")


def test_a_result_of_another_version_is_not_shown(workspace):
    write_json(workspace.stage("compare") / Comparison.FILE, {"arms": []})
    write_json(workspace.stage("withstand") / Withstand.FILE, {"adapter": "x"})
    for study in (compared(workspace), withstood(workspace)):
        assert "another version" in study.missing and study.tables == ()


def test_without_a_decision_on_this_evidence_there_is_no_page(workspace):
    evidence = Evidence.load(workspace.stage("evaluate"))
    evidence.model_copy(update={"adapter": "0" * 64}).save(evidence.folder)
    assert not decided(workspace)
    (workspace.stage("gate") / "decision.json").unlink()
    assert not decided(workspace)


def test_the_chains_own_page_names_both_commands(tmp_path):
    case = make_case(tmp_path / "case")
    inputs = (case.prompts, case.models, case.probe, case.adapter, case.evidence, case.decision)
    page = Page(render(case.section, *inputs, seed=0, origin=ORIGIN)).text
    for name in ("compare", "withstand", "report"):
        assert f"safereact {name}" in page


def test_the_command_writes_the_page(workspace, monkeypatch):
    (workspace.root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.setenv("SAFEREACT_ROOT", str(workspace.root))
    done = invoke("report", "--profile", "demo")
    assert done.returncode == 0
    assert "artifacts/demo/studies/report.html" in done.stdout and workspace.full_report.is_file()


def test_day_and_code_are_those_of_the_run_that_wrote_the_evidence(workspace):
    assert "not recorded" in origin_of(workspace).evaluated
    record = {"result": Evidence.digest_of(workspace.stage("evaluate")), "day": "2026-11-29"}
    record |= RECORDED
    write_json(workspace.run_record("evaluate"), {**record, "commit": None})
    assert origin_of(workspace).evaluated == "2026-11-29"
    assert origin_of(workspace).commit == "not recorded"
    write_json(workspace.run_record("evaluate"), {**record, "result": "0" * 64, "commit": "abc"})
    assert "not recorded" in origin_of(workspace).evaluated
    assert (origin_of(workspace).profile, origin_of(workspace).policy) == ("demo", "default")


def damaged_records() -> Iterator[object]:
    """Yield records with a value of another type in each place, one after the other."""
    whole = {**RECORDED, "result": "0" * 64, "day": "2026-11-29", "commit": "abc"}
    whole["parts"] = {"restored": {"seconds": 1.0, "peak_memory_mib": 2}}
    yield from ([], "x", {}, {"parts": None})
    for key in whole:
        yield from (whole | {key: odd} for odd in ([1], {"x": []}, True))
    yield whole | {"parts": {"restored": 3}}
    yield whole | {"parts": {"restored": {"seconds": "1", "peak_memory_mib": 2}}}
    yield whole | {"parts": {"restored": {"seconds": 1.0}}}


@pytest.mark.parametrize("document", damaged_records(), ids=lambda one: f"{one!r:.60}")
def test_a_record_of_a_run_that_is_damaged_is_one_message_wherever_it_is_read(tmp_path, document):
    workspace = Workspace(tmp_path, "demo")
    workspace.profile_file.parent.mkdir()
    workspace.profile_file.write_text(plain_text())
    for stage in ("train", "evaluate"):
        write_json(workspace.run_record(stage), document)
    for reads in (
        lambda: origin_of(workspace),
        lambda: measured_parts(workspace.runs),
        lambda: forecast(workspace, [0], 0),
    ):
        with pytest.raises(StageError, match=r"runs/.*\.json is no record of a run .*delete it"):
            reads()


def test_the_page_says_which_look_it_is_where_the_registry_knows(workspace):
    def looks() -> str:
        return dict(
            re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", write_full_report(workspace).read_text())
        )["Looks"]

    assert "not recorded" in looks() and not workspace.tracking_store.exists()
    profile = load_profile(workspace.profile_file)
    decision = Decision.load(workspace.stage("gate"))
    evidence = Evidence.load(workspace.stage("evaluate"))
    looked = record_decision(workspace, profile, decision, evidence)
    assert looks() == looked.words == "look 1 at these test prompts or of this adapter"


def test_the_technical_documentation_is_written_beside_it(workspace):
    digest = Adapter.digest_of(workspace.stage("train"))
    write_json(workspace.run_record("train"), {**RECORDED, "result": digest})
    profile = workspace.profile_file
    profile.write_text(
        profile.read_text().replace(
            "\nregistration:\n", "\nregistration:\n  documentation: {licence: MIT & more}\n"
        )
    )
    write_full_report(workspace)
    text = workspace.annex.read_text()
    page = Page(text)
    words = page.text
    for point in ("1(a)", "1(b)", "1(c)", "1(d)", "1(e)", "1(f)"):
        assert point in words
    assert words.index("1(f)") < words.index("2(a)") < words.index("2(e)")
    assert "MIT & more" in words and "MIT & more" not in text  # escaped
    assert "registration.documentation.tasks" in words
    assert "12 s, 20 s of processors, at most 900 MiB; a box" in words and "peft 9" in words
    assert "Stage evaluate" not in words  # nobody recorded that run
    assert "Not measured." in words and "Apache-2.0" in words
    figure = Evidence.load(workspace.stage("evaluate")).rates[Arm.RESTORED]["harmful.refused"]
    assert f"[{100 * figure.low:.1f}, {100 * figure.high:.1f}], n={figure.n}" in words
    assert runs_its_own_script_alone(text) and page.links == []
    write_full_report(workspace)
    assert workspace.annex.read_text() == text


def test_the_documentation_of_what_was_not_accepted_names_no_registered_model(workspace):
    write_full_report(workspace)
    bring = "safereact pull"
    assert bring in Page(workspace.annex.read_text()).text
    decision = Decision.load(workspace.stage("gate"))
    no = {"outcome": GateOutcome.INCONCLUSIVE, "reasons": ("too few prompts",)}
    decision.model_copy(update=no).save(workspace.stage("gate"))
    write_full_report(workspace)
    words = Page(workspace.annex.read_text()).text
    assert bring not in words and "in MLflow, which dates" not in words
    assert words.count("inconclusive, so this adapter is not registered") == 2
