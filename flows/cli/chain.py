"""The chain: run it, see where it stands, what the machine lacks, what other seeds give."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from components.core.errors import ConfigError
from components.core.paths import find_root, open_workspace
from flows.cli.app import (
    REJECTED,
    Profile,
    ProfileOrNone,
    app,
    console,
    registered_name,
    wide_console,
)


@app.command()
def run(profile: Profile = "tiny") -> None:
    """Bring a profile up to date and register its adapter if the gate accepts it."""
    workspace = open_workspace(profile)
    from components.prepare.result import SuiteSet
    from flows.runner.profiles import check_profile

    check_profile(workspace)
    from flows.cli.local_run import run_retrain
    from flows.cli.tables import rules_table, show_progress, verdict

    with show_progress(console):
        outcome = run_retrain(workspace)
    decision, registered = outcome.decision, outcome.registered
    leaks = SuiteSet.load(workspace.stage("prepare")).leaks
    console.print(rules_table(decision, leaks))
    report = workspace.stage("report") / "report.html"
    console.print(f"report: {report.relative_to(workspace.root)}", highlight=False)
    if registered is None:
        console.print(verdict(decision), style="bold")
        raise typer.Exit(REJECTED)
    how = "registered" if registered.new else "registered already"
    console.print(f"{how}: {registered.name} version {registered.version}, alias candidate")


@app.command()
def status(profile: ProfileOrNone = None) -> None:
    """Show how the stages stand, the gate's last decision, and candidate and champion; exit with 1
    where a version that one of them names cannot be relied on."""
    root = find_root()
    from components.registry.mlflow_registry import Registry
    from components.registry.promotion import status as standings_of
    from flows.cli.profiles import list_profiles
    from flows.cli.status import running_command, stage_states
    from flows.cli.tables import status_table
    from flows.runner.registry import champion_moved

    listed = [listing.name for listing in list_profiles(root) if listing.listed]
    registry = Registry(root)
    problems: list[str] = []
    for name in [profile] if profile else listed:
        workspace = open_workspace(name, root)
        standings = standings_of(registry, registered_name(workspace))
        console.print(status_table(workspace, stage_states(workspace), standings))
        if moved := champion_moved(workspace, registry):
            console.print(f"{name}: {moved}", style="yellow", highlight=False)
        problems += [problem for standing in standings for problem in standing.problems]
    if run := running_command(root):
        console.print(f"running: {run}", highlight=False)
    for problem in problems:
        console.print(problem, style="red", highlight=False)
    if problems:
        raise typer.Exit(1)


@app.command()
def doctor(profile: Profile = "tiny") -> None:
    """Say what this machine lacks to run a profile, with the remedies."""
    workspace = open_workspace(profile)
    from flows.doctor.examination import examine
    from flows.doctor.findings import State, findings_table

    findings = list(examine(workspace))
    wide_console().print(findings_table(findings))
    if any(finding.state is State.MISSING for finding in findings):
        raise typer.Exit(1)


@app.command()
def seeds(
    profile: Profile = "tiny",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0,1,2",
) -> None:
    """Run a profile under several seeds, as DVC experiments, and print one table."""
    if not re.fullmatch(r"\d+(,\d+)*", seeds):
        raise ConfigError(f"--seeds {seeds!r} is not a list such as 0,1,2")
    workspace = open_workspace(profile)
    from flows.cli.seeds import run_seeds, seeds_table
    from flows.cli.tables import show_progress

    with show_progress(console):
        experiments = run_seeds(workspace, [int(seed) for seed in seeds.split(",")])
    console.print(seeds_table(workspace, experiments), soft_wrap=True)
