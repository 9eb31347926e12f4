"""`--json` of every command that has it: one JSON document on stdout, with the figures that people
are shown, and none where the command fails before it has any.

The commands run through the real application. What trains, generates or asks a server lies in one
function each, in whose place something made up stands; tests of its own are elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.core.errors import StageError
from components.core.paths import Workspace
from components.core.storage import write_text
from components.core.vocabulary import Arm, Outcome, Role
from components.evaluate.rates import counts_of
from components.gate.result import Conclusion, Decision
from components.registry.looks import Looked
from components.registry.mlflow_registry import Registry
from components.registry.promotion import promote
from components.registry.registration import Registered, register
from components.studies.check.comparing import compared
from components.studies.check.result import ArtefactCheck
from components.studies.watch.result import Line, Watch
from flows.cli import compare_tables, comparison, diagnosis, measuring, runs, tune
from flows.cli.app import app
from flows.runner import dvc, profiles, registry, watching
from tests.diagnoses import make_diagnosis
from tests.evidence import make_row, make_rule, rate
from tests.flows.cli.test_help import COMMANDS
from tests.harness_logs import sample, write_samples
from tests.releases import NAMES, finished_profile, write_result
from tests.searches import rates, search, trial

NAME = NAMES["name"]
DEMO = ("--profile", "demo")
SEARCH = search(trial(0, rates(40, 98)), trial(1, None), trial(2, rates(1, 97)), front=(2,), best=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A profile whose stages have run, those of the studies too, and its version as champion."""
    root = tmp_path_factory.mktemp("made")
    (root / "dvc.yaml").touch()
    workspace = finished_profile(root)
    write_text(
        workspace.parameters,
        "profiles: {demo: {checkpoints: own}}\ncompared: {demo: {}}\nattacked: {demo: {}}\n",
    )
    for stage in ("baselines", "compare", "undo", "withstand"):
        write_result(stage, workspace)
    register(workspace, **NAMES)
    promote(Registry(root), NAME, by="ann", why="evidence is good")
    for side, right in (("a", 1), ("b", 0)):
        lines = [sample(n, match=right if n % 3 else 1) for n in range(12)]
        write_samples(root / side, lines)
    return workspace


@pytest.fixture
def workspace(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same, with what takes long made up."""
    monkeypatch.setenv("SAFEREACT_ROOT", str(made.root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(made.root)

    def read_here(workspace: Workspace, stage: str, file: str, _: str) -> bytes:
        return (workspace.stage(stage) / file).read_bytes()

    def put(module: Any, name: str, found: Callable[..., Any]) -> None:
        monkeypatch.setattr(module, name, found)

    for module in (compare_tables, comparison):
        put(module, "read_from", read_here)
    for module in (runs, comparison):
        put(module, "run_seeds", lambda *_: {0: "an experiment"})
    decision = Decision.load(made.stage("gate"))
    outcome = registry.Outcome(decision, Looked(1, ()), Registered(NAME, "1", True))
    put(runs, "run_retrain", lambda *_, **__: outcome)
    put(profiles, "check_profile", lambda *_: None)
    put(dvc, "run_study", lambda *_: None)
    put(tune, "find_setting", lambda *_, **__: (SEARCH, "demo-tuned"))
    put(measuring, "_checked", lambda *_: (found_check(), made.checks / "x"))
    put(watching, "watch_once", lambda *_, **__: found_watch())
    put(diagnosis, "find_diagnosis", lambda *_: (found_diagnosis(), made.root))
    return made


def found_check() -> ArtefactCheck:
    """An artefact that refuses 30 of 100 requests less."""
    own, other = (
        counts_of(make_row(n, outcome, arm=Arm.RESTORED) for n, outcome in enumerate(outcomes))
        for outcomes in (
            [Outcome.COMPLIED] * 30 + [Outcome.REFUSED] * 70,
            [Outcome.REFUSED] * 100,
        )
    )
    about = dict.fromkeys(("adapter", "model", "evidence", "test_prompts", "rows"), "0" * 64)
    return ArtefactCheck(
        kind="server", artefact="x", digest=None, same_template=None, judges={}, engine="x",
        margin=0.05, confidence=0.95, **about,
        lines=tuple(compared(own, other, {"harmful": Role.HARMFUL}, 0.05, 0.95)),
    )  # fmt: skip


def found_watch() -> Watch:
    """A champion that refuses less than when it was promoted, and less than the policy asks."""
    line = Line(
        metric="harmful.refused", at_least=True, now=rate(201), then=rate(288), paired=True,
        conclusion=Conclusion.FAIL, why="fewer",
    )  # fmt: skip
    rule = make_rule("refuses", "harmful.refused", conclusion=Conclusion.FAIL, figure=0.67)
    about = ("adapter", "evidence", "test_prompts", "data", "policy", "rows")
    return Watch(
        version="1", judges={}, engine="x", margin=0.05, confidence=0.95, lines=(line,),
        rates={"harmful.refused": line.now}, rules=(rule,), notes=("another engine",),
        **dict.fromkeys(about, "0" * 64),
    )  # fmt: skip


def found_diagnosis() -> Any:
    """A pair that lost 60 of 97 refusals."""
    return make_diagnosis({"harmful.refused": (97, 37, 100), "reasoning.correct": (11, 93, 100)})


# Of each command a call that succeeds and its exit code, figures of its table at least, what the
# document holds besides, and a call that fails before there are figures.
CALLS: dict[str, tuple[tuple[str, ...], int, int, str, tuple[str, ...]]] = {
    "run": (DEMO, 0, 5, "decision", ("--profile", "none")),
    "status": (("--all",), 0, 0, "profile", ("--profile", "none")),
    "doctor": (DEMO, 1, 0, "message", ("--profile", "none")),
    "seeds": (DEMO, 0, 8, "outcome", (*DEMO, "--seeds", "one")),
    "tune": (DEMO, 0, 12, "best", ("--profile", "none")),
    "compare": (DEMO, 0, 8, "costs", ("--profile", "none")),
    "withstand": (DEMO, 0, 8, "attacks", ("--profile", "none")),
    "check": (("http://127.0.0.1:9/v1", *DEMO), 3, 2, "verdict", ("x", "--profile", "none")),
    "watch": (DEMO, 3, 2, "drift", ("--profile", "none")),
    "diagnose": (DEMO, 0, 6, "finding", ("--tokens", "0")),
    "diff": (("a", "b"), 0, 3, "lines", ("a", "nowhere")),
    "history": ((NAME,), 0, 0, "changes", ("nobody",)),
    "audit": ((NAME,), 0, 0, "holds", ("nobody",)),
}


def called(*words: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a command."""
    done = CliRunner().invoke(app, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def document_of(printed: str) -> Any:
    """Return the one JSON document that was printed; it holds neither NaN nor infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(printed, parse_constant=refuse)


def numbers(document: Any) -> Iterator[float]:
    """Yield all numbers of a document."""
    if isinstance(document, dict | list):
        for part in document.values() if isinstance(document, dict) else document:
            yield from numbers(part)
    elif isinstance(document, int | float):
        yield document


def percentages(printed: str) -> list[str]:
    """Return the shares and the ends of intervals that a table shows, without their signs."""
    return re.findall(r"\d+\.\d(?= %)|(?<=[\[+−-])\d+\.\d(?=[, ])|\d+\.\d(?=\])", printed)


def test_every_command_that_prints_figures_is_here():
    for_machines = {
        name for name, one in COMMANDS.items() if "json" in {each.name for each in one.params}
    }
    assert for_machines == CALLS.keys()


@pytest.mark.parametrize("command", [*CALLS, "compare --seeds 0"])
def test_stdout_is_one_document_with_the_figures_that_people_are_shown(workspace, command):
    name, *more = command.split()
    words, code, least, key, _ = CALLS[name]
    ended, printed, shown = called(name, *words, *more, "--json")
    assert ended == code, shown
    document = document_of(printed)
    assert key in (document if isinstance(document, dict) else document[0])
    ended, table, told = called(name, *words, *more)
    assert ended == code and not (table or told).startswith("{")
    there = {f"{abs(100 * number):.1f}" for number in numbers(document)}
    figures = percentages(table)
    assert len(figures) >= least, table
    assert not set(figures) - there


@pytest.mark.parametrize("command", CALLS)
def test_a_command_that_fails_before_it_has_figures_prints_none(workspace, command):
    *_, words = CALLS[command]
    code, printed, told = called(command, *words, "--json")
    assert code in (1, 2) and told
    if command == "audit":  # whose figures are what holds and what does not
        assert [link["holds"] for link in document_of(printed)] == [False]
    else:
        assert not printed


@pytest.mark.parametrize(
    ("place", "name", "command"),
    [
        (runs, "run_retrain", "run"),
        (runs, "run_seeds", "seeds"),
        (tune, "find_setting", "tune"),
        (dvc, "run_study", "compare"),
        (dvc, "run_study", "withstand"),
        (comparison, "run_seeds", "compare --seeds 0"),
        (measuring, "_checked", "check"),
        (watching, "watch_once", "watch"),
        (diagnosis, "find_diagnosis", "diagnose"),
    ],
)
def test_work_that_fails_prints_no_document(workspace, monkeypatch, place, name, command):
    def fail(*_: object, **__: object) -> None:
        raise StageError("the teacher never refuses")

    monkeypatch.setattr(place, name, fail)
    command, *more = command.split()
    code, printed, told = called(command, *CALLS[command][0], *more, "--json")
    assert code == 1 and printed == "" and "the teacher never refuses" in told


def test_costs_and_verdicts_are_those_that_people_are_shown(workspace):
    costs = document_of(called("compare", *DEMO, "--json")[1])["costs"]
    assert costs["sft"] == {"steps": 60, "seconds": 7.4, "tokens": 1234, "memory": 321}
    watched = document_of(called("watch", *DEMO, "--json")[1])
    assert (watched["drift"], watched["below_policy"]) == ("drift", True)
    words = CALLS["check"][0]
    assert document_of(called("check", *words, "--json")[1])["verdict"] == "inferior"
    assert "inferior" in called("check", *words)[1]


def test_a_search_without_a_better_setting_is_told_and_is_no_success(workspace, monkeypatch):
    found = SEARCH.model_copy(update={"best": None})
    monkeypatch.setattr(tune, "find_setting", lambda *_, **__: (found, None))
    code, printed, told = called("tune", *DEMO, "--json")
    assert code == 1 and "no profile was written" in told
    assert document_of(printed)["best"] is None


def test_an_audit_that_breaks_off_does_not_look_like_a_whole_one(workspace, monkeypatch):
    from components.registry import audit

    def broken_off(*_: object) -> Iterator[audit.Link]:
        yield audit.Link("champion", "version 1")
        raise StageError("MLflow does not answer")

    monkeypatch.setattr(audit, "audit_version", broken_off)
    code, printed, told = called("audit", NAME, "--json")
    assert (code, printed) == (1, "") and "MLflow does not answer" in told


def test_a_text_in_a_document_steers_no_terminal(workspace, tmp_path: Path):
    hostile = sample(1, match=1) | {"filter": "\x1b[2Jx\u202e"}
    folders = [str(write_samples(tmp_path / side, [hostile]).parent) for side in "ab"]
    code, printed, _ = called("diff", *folders, "--json")
    assert code == 0 and printed.isascii() and "\x1b" not in printed
    document_of(printed)
