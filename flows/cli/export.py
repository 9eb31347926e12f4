"""An evaluation's rows in the files of other harnesses, for people who live there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from components.core.errors import ConfigError, EvidenceError
from components.core.paths import ROWS, Workspace
from components.core.storage import atomic_folder
from components.evaluate.exports.inspect_log import check_inspect, write_inspect
from components.evaluate.exports.lm_eval import write_lm_eval
from components.evaluate.exports.tasks import Selection, Task, tasks_of
from components.evaluate.result import Evidence
from components.evaluate.rows import read_judged
from components.prepare.result import SuiteSet
from components.profile import load_profile

WRITERS = {"inspect": write_inspect, "lm-eval": write_lm_eval}  # by whose files they are


def export_rows(
    workspace: Workspace, harness: str, folder: Path, chosen: Selection | None = None
) -> int:
    """Write the last evaluation's rows into the new or empty `folder`, wholly or not at all;
    return how many tasks they make.

    Completions to harmful prompts are withheld unless the profile sets `report.redact: false`. Of
    `chosen` rows the tasks' rates are still those of all rows. Raises `ConfigError` for another
    harness or folder and without the harness's extra, and what `_read_tasks` raises.
    """
    if harness not in WRITERS:
        raise ConfigError(f"--to {harness!r} is not known; it is one of {', '.join(WRITERS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; give another, or empty it")
    if harness == "inspect":
        check_inspect()
    tasks, prompts, evidence = _read_tasks(workspace, chosen or Selection())
    with atomic_folder(folder) as scratch:
        WRITERS[harness](tasks, prompts, evidence, when=datetime.now(UTC), out=scratch)
    return len(tasks)


def _read_tasks(workspace: Workspace, chosen: Selection) -> tuple[list[Task], SuiteSet, Evidence]:
    """Return the last evaluation's tasks, prompts and evidence.

    Raises `EvidenceError` where it was on other prompts than those that are prepared now, its rows
    are not those that were judged, or none is `chosen`.
    """
    redact = load_profile(workspace.profile_file).report.redact
    prompts = SuiteSet.load(workspace.stage("prepare"))
    evidence = Evidence.load(workspace.stage("evaluate"))
    if evidence.data != prompts.digest:
        raise EvidenceError(
            f"the evaluation was on the prompts {evidence.data:.12}, prepared are "
            f"{prompts.digest:.12}; `safereact run` brings it up to date"
        )
    now = evidence.rows_now()
    if evidence.rows != now:
        raise EvidenceError(
            f"the evaluation's rows differ: {evidence.rows:.12} then, {now[:12] or 'none'} now; "
            "run the stage evaluate again"
        )
    rows = chosen.of(read_judged(evidence.folder / ROWS))
    tasks = tasks_of(prompts.every_test(), rows, redact=redact, leaks=prompts.leaks)
    return tasks, prompts, evidence
