"""The commands, in the order in which the help lists them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from components.core.environment import settle_environment
from components.core.errors import TrainingError
from components.core.paths import PARETO, TRIALS, find_root, open_workspace
from components.core.storage import write_text
from components.prepare.result import SuiteSet
from components.profile import load_profile
from flows.cli.app import (
    REJECTED,
    By,
    Profile,
    ProfileOrNone,
    Why,
    app,
    registered_name,
)
from flows.cli.chat import chat
from flows.cli.check import check
from flows.cli.compare_tables import Found, comparison_tables
from flows.cli.deployments import deploy
from flows.cli.diagnose import diagnose
from flows.cli.fleet import print_fleet
from flows.cli.harnesses import diff, export
from flows.cli.init import add, init, print_findings
from flows.cli.label import label
from flows.cli.lifecycle import audit, history, promote, reject, rollback, withdraw
from flows.cli.runs import read_seeds, record_seed, run_retrain, run_seeds
from flows.cli.serve import serve
from flows.cli.study_runs import list_profile, print_full_report, run_listed
from flows.cli.study_tables import front_table, seeds_table, withstand_tables
from flows.cli.tables import rules_lines, status_table, verdict
from flows.cli.terminal import console, show_progress, wide_console
from flows.cli.ui import ui
from flows.cli.versions import publish, pull, restore, sign, verify
from flows.cli.watch import notify, watch
from flows.runner.lock import one_run
from flows.runner.profiles import check_profile
from flows.runner.registry import bring_own_champion, champion_moved, describe_champion


def run(
    profile: Profile = "tiny",
    push: Annotated[
        bool, typer.Option("--push", help="Push what the version rests on to DVC's remote.")
    ] = False,
) -> None:
    """Bring a profile up to date and register its adapter if the gate accepts it."""
    workspace = open_workspace(profile)
    check_profile(workspace)
    with show_progress():
        outcome = run_retrain(workspace, push=push)
    decision, registered = outcome.decision, outcome.registered
    wide = wide_console()
    for line in rules_lines(decision, SuiteSet.load(workspace.stage("prepare")).leaks):
        wide.print(line, highlight=False)
    report = workspace.stage("report") / "report.html"
    console.print(f"report: {report.relative_to(workspace.root)}", highlight=False)
    console.print(outcome.looked.words, highlight=False)
    if registered is None:
        console.print(verdict(decision), style="bold")
        again = f"safereact diagnose --profile {profile}"
        console.print(f"how much safety was lost, and where: {again}", highlight=False)
        raise typer.Exit(REJECTED)
    how = "registered" if registered.new else "registered already"
    version = f"{registered.name} version {registered.version}"
    console.print(f"{decision.words}; {how}: {version}, alias candidate", style="bold")
    promote = f'safereact promote {registered.name} --by WHO --why "…"'
    console.print(f"next: read the report; {promote}", highlight=False)


def status(
    profile: ProfileOrNone = None,
    every: Annotated[bool, typer.Option("--all", help="A line a profile, of all.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The lines of --all as JSON.")] = False,
) -> None:
    """Show how the stages stand, the gate's last decision, and candidate and champion; exit with 1
    where a version that one of them names cannot be relied on."""
    root = find_root()
    if every or json:
        print_fleet(root, as_json=json)
        return
    from components.registry.mlflow_registry import Registry
    from components.registry.status import status as standings_of
    from flows.cli.profiles import list_profiles
    from flows.cli.status import running_command, stage_states

    registry = Registry(root)
    problems: list[str] = []
    listed = [listing.name for listing in list_profiles(root) if listing.listed]
    for name in [profile] if profile else listed:
        workspace = open_workspace(name, root)
        standings = standings_of(registry, registered_name(workspace))
        wide_console().print(status_table(workspace, stage_states(workspace), standings))
        if moved := champion_moved(workspace, registry):
            console.print(f"{name}: {moved}", style="yellow", highlight=False)
        problems += [problem for standing in standings for problem in standing.problems]
    if run := running_command(root):
        console.print(f"running: {run}", highlight=False)
    for problem in problems:
        console.print(problem, style="red", highlight=False)
    if problems:
        raise typer.Exit(1)


def doctor(profile: Profile = "tiny") -> None:
    """Say what this machine lacks to run a profile, with the remedies."""
    if print_findings(open_workspace(profile)):
        raise typer.Exit(1)


def seeds(
    profile: Profile = "tiny",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0,1,2",
) -> None:
    """Run a profile under several seeds, as DVC experiments, and print one table."""
    chosen, workspace = read_seeds(seeds), open_workspace(profile)

    with show_progress():
        experiments = run_seeds(workspace, chosen)
    console.print(seeds_table(workspace, experiments), soft_wrap=True)
    for seed, name in experiments.items():
        console.print(record_seed(workspace, seed, name), highlight=False, soft_wrap=True)


def profiles() -> None:
    """List the profiles."""
    from flows.cli.profiles import list_profiles

    table = Table("profile", "listed", "description")
    for listing in list_profiles(find_root()):
        table.add_row(listing.name, "yes" if listing.listed else "no", listing.description)
    console.print(table)


def suites(profile: ProfileOrNone = None) -> None:
    """List the suites of test prompts and which are here; those of a profile as it sets them."""
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


def override(
    profile: Profile,
    rule: Annotated[str, typer.Option(help="Name of the policy's rule.")],
    by: By,
    why: Why,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day, in UTC.")],
) -> None:
    """Sign that the adapter may go on although one rule of the gate does not hold."""
    workspace = open_workspace(profile)
    from components.gate.overrides import add_override
    from components.gate.result import Decision
    from components.registry.mlflow_registry import Registry

    file, decision = workspace.overrides, Decision.load(workspace.stage("gate"))
    user = Registry(workspace.root).user()
    signed = add_override(file, decision, rule=rule, who=by, why=why, until=until.date(), user=user)
    about = f"{rule!r} of adapter {signed.adapter:.12}, by {signed.signer}"
    written = f"{file.relative_to(workspace.root)}: {about}"
    console.print(f"written: {written}; now: safereact run --profile {profile}", highlight=False)


def champion(profile: Profile) -> None:
    """Bring the champion that a profile's adapter is compared with, or note that there is none."""
    workspace = open_workspace(profile)

    with one_run(workspace.root, f"champion {profile}"):
        changed = bring_own_champion(workspace)
    console.print(f"{describe_champion(workspace)}: {'brought' if changed else 'here already'}")


def compare(
    profile: Profile = "tiny",
    seeds: Annotated[str | None, typer.Option(help="Seeds, with commas between.")] = None,
    trials: Annotated[
        int, typer.Option(min=0, help="Validation trials a method, to find its setting.")
    ] = 0,
) -> None:
    """Train and measure other methods beside the adapter, and print one table.

    With --seeds or --trials, as DVC experiments; a killed command goes on when it is repeated.
    """
    workspace = open_workspace(profile)
    if seeds is None and not trials:
        run_listed(workspace, "compare", "compared")
        tables = [table.markdown() for table in comparison_tables(Found.here(workspace))]
        write_text(workspace.comparison / "comparison.md", "\n\n".join(tables) + "\n")
    else:
        settle_environment()
        from flows.cli.comparison import compare_seeds, forecast

        chosen = read_seeds(seeds or str(load_profile(workspace.profile_file).seed))
        console.print(forecast(workspace, chosen, trials), highlight=False, soft_wrap=True)
        list_profile(workspace, "compared")
        with show_progress():
            tables = compare_seeds(workspace, chosen, trials)
    console.print("\n\n".join(tables), soft_wrap=True)
    if seeds is None and not trials:
        print_full_report(workspace)


def withstand(profile: Profile = "tiny") -> None:
    """Attack the restored model, try to undo its safety, and print what is left."""
    workspace = open_workspace(profile)

    run_listed(workspace, "withstand", "attacked")
    console.print("\n\n".join(withstand_tables(workspace)), soft_wrap=True)
    from flows.cli.withstood import store_withstood

    file = store_withstood(workspace).relative_to(workspace.root)
    console.print(f"what a policy may bound (`withstands`): {file}", highlight=False)
    print_full_report(workspace)


def report(profile: Profile = "tiny") -> None:
    """Write the report once more, with what studies found of the present adapter, and its technical
    documentation."""
    workspace = open_workspace(profile)
    from flows.cli.report import write_full_report

    page = write_full_report(workspace).relative_to(workspace.root)
    console.print(f"report with studies: {page}", highlight=False)
    annex = workspace.annex.relative_to(workspace.root)
    console.print(f"technical documentation: {annex}", highlight=False)


def tune(
    profile: Profile = "tiny",
    trials: Annotated[int, typer.Option(min=1, help="Of the whole study.")] = 20,
    minutes: Annotated[float, typer.Option(min=0, help="For the trials of this call.")] = 15,
    to: Annotated[str | None, typer.Option(help="New profile; else PROFILE-tuned.")] = None,
) -> None:
    """Search for a better setting of the training and write the best as a new profile."""
    workspace = open_workspace(profile)
    settle_environment()
    from flows.cli.tune import find_setting, next_steps

    with show_progress():
        search, written = find_setting(workspace, trials=trials, minutes=minutes, to=to)
    wide_console(180).print(front_table(search))
    folder = workspace.search.relative_to(workspace.root)
    console.print(f"plot: {folder / PARETO}, all trials: {folder / TRIALS}", highlight=False)
    if written is None:
        raise TrainingError(
            "no setting complies less and keeps what harmless prompts and reasoning need, so no "
            "profile was written; let it search on with more --trials, or widen the section tune"
        )
    console.print("all trials looked at validation prompts; no test prompt was asked")
    console.print(next_steps(workspace, written), highlight=False)


# In the order in which people need them; the help lists them so.
_GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Begin": (diagnose, init, add, profiles, suites, doctor),
    "Run": (run, status, report, ui, deploy, seeds, tune),
    "Decide": (promote, reject, rollback, withdraw, history, audit, override, label, champion),
    "Use": (pull, serve, chat, check, watch, notify, publish, restore, sign, verify),
    "Study and compare": (compare, withstand, export, diff),
}
for group, commands in _GROUPS.items():
    for command in commands:
        app.command(rich_help_panel=group)(command)
