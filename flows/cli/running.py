"""The commands that run a profile and say how it stands."""

from __future__ import annotations

from typing import Annotated

import typer

from components.core.paths import LISTED, Workspace, find_root, open_workspace, read_lists
from components.core.untrusted_text import for_terminal
from flows.cli.app import (
    REJECTED,
    Json,
    Profile,
    ProfileOrNone,
    complain,
    mendable,
    print_json,
    registered_name,
)
from flows.cli.own_pair import print_findings
from flows.cli.terminal import console, show_progress, wide_console


def run(
    profile: Profile = "tiny",
    push: Annotated[
        bool, typer.Option("--push", help="Push what the version rests on to DVC's remote.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring a profile up to date and register its adapter if the gate accepts it."""
    from components.prepare.result import SuiteSet
    from flows.cli.report import full_report
    from flows.cli.runs import run_retrain
    from flows.cli.tables import rules_lines, verdict
    from flows.runner.profiles import check_profile

    workspace = open_workspace(profile)
    check_profile(workspace)
    with show_progress():
        outcome = run_retrain(workspace, push=push)
    decision, registered = outcome.decision, outcome.registered
    if json:
        print_json({"decision": decision, "registered": registered, "look": outcome.looked.words})
    wide = wide_console()
    for line in rules_lines(decision, SuiteSet.load(workspace.stage("prepare")).leaks):
        wide.print(line)
    console.print(outcome.looked.words)
    if registered is None:
        console.print(verdict(decision), style="bold")
        following = (
            '"When the gate says no" in docs/method.md, with the first box of the report; '
            f"safereact diagnose --profile {workspace.profile}"
        )
    else:
        how = "registered" if registered.new else "registered already"
        version = f"{registered.name} version {registered.version}"
        console.print(f"{decision.words}; {how}: {version}, alias candidate", style="bold")
        following = f'read the report; safereact promote {registered.name} --by WHO --why "…"'
    page = None
    try:  # behind the verdict, which a full disk must not hide
        page = full_report(workspace).relative_to(workspace.root)
    except Exception as error:
        # That nothing was registered stands, and is what the exit code says.
        if registered is not None or (message := mendable(error)) is None:
            raise
        complain(f"the report was not written: {message}")
    if page:
        console.print(f"report: {page}")
    console.print(f"next: {following}")
    if registered is None:
        raise typer.Exit(REJECTED)


def status(
    profile: ProfileOrNone = None,
    every: Annotated[bool, typer.Option("--all", help="A line a profile, of all.")] = False,
    json: Json = False,
) -> None:
    """Show how the stages stand, the gate's last decision, and candidate and champion; exit with 1
    where a version that one of them names cannot be relied on."""
    from flows.cli.fleet import nothing_listed, print_fleet
    from flows.cli.tables import status_table
    from flows.runner.registry import champion_moved

    root = find_root()
    if every or json:
        print_fleet(root, profile, as_json=json)
        return
    from components.registry.mlflow_registry import Registry
    from components.registry.status import status as standings_of
    from flows.cli.status import running_command, stage_states

    registry = Registry(root)
    problems: list[str] = []
    notes: list[str] = []
    listed = sorted(read_lists(Workspace(root, "").parameters)[LISTED])
    if profile is None and not listed:
        raise nothing_listed()
    for name in listed if profile is None else [profile]:
        workspace = open_workspace(name, root)
        standings = standings_of(registry, registered_name(workspace))
        wide_console().print(status_table(workspace, stage_states(workspace), standings))
        if moved := champion_moved(workspace, registry):
            console.print(f"{name}: {moved}", style="yellow")
        problems += [problem for standing in standings for problem in standing.problems]
        notes += [f"{name}: {note}" for standing in standings for note in standing.notes]
    if run := running_command(root):
        console.print(f"running: {run}")
    for note in dict.fromkeys(notes):
        console.print(for_terminal(note), style="yellow")
    for problem in dict.fromkeys(problems):
        console.print(problem, style="red")
    if problems:
        raise typer.Exit(1)


def report(profile: Profile = "tiny") -> None:
    """Write the report once more, with what studies found of the present adapter, and its technical
    documentation."""
    workspace = open_workspace(profile)
    from flows.cli.report import write_full_report

    page = write_full_report(workspace).relative_to(workspace.root)
    console.print(f"report with studies: {page}")
    annex = workspace.annex.relative_to(workspace.root)
    console.print(f"technical documentation: {annex}")


def doctor(profile: Profile = "tiny", json: Json = False) -> None:
    """Say what this machine lacks to run a profile, with the remedies."""
    if print_findings(open_workspace(profile), as_json=json):
        raise typer.Exit(1)


def suites(profile: ProfileOrNone = None) -> None:
    """List the suites of test prompts and which are here; those of a profile as it sets them."""
    from rich.text import Text

    root = find_root()
    from flows.cli.suites import list_suites, list_used, suites_table

    listings = list_suites(root) if profile is None else list_used(open_workspace(profile, root))
    if profile is not None and not listings:
        console.print(f"{profile} names no suite under prepare.suites; see docs/suites.md")
        return
    wide_console().print(suites_table(listings, root))
    for listing in listings:
        if listing.complaint:
            console.print(Text(listing.complaint), style="red")
