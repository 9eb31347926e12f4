"""The report once more, with what studies of the present adapter found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from components.chain import STAGES, TABLE
from components.core.errors import StageError
from components.core.paths import DATA_DOCS, Workspace
from components.core.storage import write_text
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.models.result import Models
from components.prepare.result import UNDATED, SuiteSet
from components.probe.result import Probe
from components.profile import load_profile
from components.report.annex import Documented, annex_page
from components.report.studies import COMPARED, WITHSTOOD, Study
from components.report.summary import Origin
from components.studies.compare.result import Comparison
from components.studies.withstand.result import Withstand
from components.train.result import Adapter
from flows.cli.compare_tables import Found, comparison_tables
from flows.cli.records import read_record
from flows.cli.study_tables import undoing_tables
from flows.runner.registry import describe_look


def decided(workspace: Workspace) -> bool:
    """Return whether the gate has decided on the evidence that lies in the workspace."""
    if not (workspace.stage("gate") / Decision.FILE).is_file():
        return False
    decision = Decision.load(workspace.stage("gate"))
    return decision.evidence == Evidence.digest_of(workspace.stage("evaluate"))


def full_report(workspace: Workspace) -> Path:
    """Return the page's path, after writing it where it is not of the gate's last decision."""
    _write_data_docs(workspace)
    page, decision = workspace.full_report, workspace.stage("gate") / Decision.FILE
    if not page.is_file() or page.stat().st_mtime < decision.stat().st_mtime:
        return write_full_report(workspace)
    # A decision that came from DVC's cache may be older than a page about another one.
    evidence = Evidence.digest_of(workspace.stage("evaluate"))
    return page if evidence in page.read_text("utf-8") else write_full_report(workspace)


def write_full_report(workspace: Workspace) -> Path:
    """Return the page's path after writing it.

    It is beside the report of the chain, whose digest DVC and the registry know. A study of another
    adapter, other prompts or other judges is named, and not shown. Raises `StageError` for a stage
    that has not run and `EvidenceError` where the gate decided on other evidence.
    """
    from components.report.stage import render

    profile = load_profile(workspace.profile_file)
    prompts = SuiteSet.load(workspace.stage("prepare"))
    models, adapter = (
        Models.load(workspace.stage("models")),
        Adapter.load(workspace.stage("train")),
    )
    evidence = Evidence.load(workspace.stage("evaluate"))
    decision = Decision.load(workspace.stage("gate"))
    looks = describe_look(workspace, decision, evidence)
    origin = replace(origin_of(workspace), looks=looks)
    page = render(
        profile.report,
        prompts,
        models,
        Probe.load(workspace.stage("probe")),
        adapter,
        evidence,
        decision,
        seed=profile.data_seed,
        origin=origin,
        studies=(compared(workspace), withstood(workspace)),
    )
    write_text(workspace.full_report, page)
    documented = Documented(
        origin, profile.registration.documentation, prompts, models, adapter, evidence, decision
    )
    costs = {name: record for name in STAGES if (record := _record(workspace, name))}
    write_text(workspace.annex, annex_page(documented, costs))
    return workspace.full_report


def _write_data_docs(workspace: Workspace) -> None:
    """Write the Data Docs of the prompts that lie here once more, with the profile and the day."""
    record = _record(workspace, "prepare")
    day = record.get("day", "a day that was not recorded: no run here prepared them")
    about = f"Prompts of the profile {workspace.profile}, prepared on {day}"
    about += f", by the code of commit {record['commit']}." if record.get("commit") else "."
    pages = {page.name: page for page in (workspace.stage("prepare") / DATA_DOCS).glob("*.html")}
    for page in workspace.data_docs.glob("*.html"):
        if page.name not in pages:
            page.unlink()
    for name, page in pages.items():
        text = page.read_text(encoding="utf-8").replace(UNDATED, about)
        write_text(workspace.data_docs / name, text)


def origin_of(workspace: Workspace) -> Origin:
    """Return whose page it is, with the day and the code of the evaluation where a run here wrote
    the evidence that lies here."""
    profile, record = load_profile(workspace.profile_file), _record(workspace, "evaluate")
    return Origin(
        profile.name,
        profile.registration.name,
        profile.gate.policy,
        evaluated=record.get("day", "not recorded: no run here wrote this evidence"),
        commit=record.get("commit") or "not recorded",
    )


def _record(workspace: Workspace, stage: str) -> dict[str, Any]:
    """Return what the last run of a stage recorded; empty where it wrote another result than the
    one that lies here, as after a change of branch."""
    path, result = workspace.run_record(stage), TABLE[stage].result_class
    if (record := read_record(path)) is None:
        return {}
    same = record.get("result") == result.digest_of(workspace.stage(stage))
    return dict(record) if same else {}


def compared(workspace: Workspace) -> Study:
    """Return the comparison of the evidence in the workspace as the page shows it."""
    study = COMPARED._replace(command=f"{COMPARED.command} --profile {workspace.profile}")
    if not (workspace.stage("compare") / Comparison.FILE).is_file():
        return study._replace(missing="not run")
    try:
        found = Found.here(workspace)
    except StageError:
        return study._replace(missing="its result is of another version and is not shown")
    if found.comparison.evidence != Evidence.digest_of(workspace.stage("evaluate")):
        return study._replace(missing="stale: it is about other evidence and is not shown")
    return study._replace(tables=tuple(comparison_tables(found)), missing=None)


def withstood(workspace: Workspace) -> Study:
    """Return what the adapter in the workspace withstands as the page shows it."""
    study = WITHSTOOD._replace(command=f"{WITHSTOOD.command} --profile {workspace.profile}")
    if not (workspace.stage("withstand") / Withstand.FILE).is_file():
        return study._replace(missing="not run")
    try:
        found = Withstand.load(workspace.stage("withstand"))
    except StageError:
        return study._replace(missing="its result is of another version and is not shown")
    evidence = Evidence.load(workspace.stage("evaluate"))
    theirs = (evidence.adapter, evidence.baseline, evidence.data)
    other_judges = any(evidence.judges.get(suite) != j for suite, j in found.judges.items())
    if (found.adapter, found.baseline, found.data) != theirs or other_judges:
        why = "stale: it is about another adapter, other prompts or judges and is not shown"
        return study._replace(missing=why)
    return study._replace(tables=tuple(undoing_tables(found)), missing=None)
