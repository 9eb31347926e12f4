"""The commands that train several times, or try to undo what was trained."""

from __future__ import annotations

from typing import Annotated

import typer

from components.core.errors import TrainingError
from components.core.paths import PARETO, TRIALS, Workspace, open_workspace
from flows.cli.app import Json, Profile, print_json
from flows.cli.sheets import print_table
from flows.cli.terminal import console, show_progress, wide_console


def seeds(
    profile: Profile = "tiny",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0,1,2",
    json: Json = False,
) -> None:
    """Run a profile under several seeds, as DVC experiments, and print one table."""
    from flows.cli.runs import read_seeds, record_seed, run_seeds
    from flows.cli.study_tables import seeds_figures, seeds_table

    chosen, workspace = read_seeds(seeds), open_workspace(profile)

    with show_progress():
        experiments = run_seeds(workspace, chosen)
    if json:
        print_json(seeds_figures(workspace, experiments))
    print_table(seeds_table(workspace, experiments))
    for seed, name in experiments.items():
        console.print(record_seed(workspace, seed, name), soft_wrap=True)


def tune(
    profile: Profile = "tiny",
    trials: Annotated[int, typer.Option(min=1, help="Of the whole study.")] = 20,
    minutes: Annotated[float, typer.Option(min=0, help="For the trials of this call.")] = 15,
    to: Annotated[str | None, typer.Option(help="New profile; else PROFILE-tuned.")] = None,
    json: Json = False,
) -> None:
    """Search for a better setting of the training and write the best as a new profile."""
    from components.core.environment import settle_environment
    from flows.cli.study_tables import front_table

    workspace = open_workspace(profile)
    settle_environment()
    from flows.cli.tune import find_setting, next_steps

    with show_progress():
        search, written = find_setting(workspace, trials=trials, minutes=minutes, to=to)
    if json:
        print_json(search)
    wide_console(180).print(front_table(search))
    folder = workspace.search.relative_to(workspace.root)
    console.print(f"plot: {folder / PARETO}, all trials: {folder / TRIALS}")
    if written is None:
        raise TrainingError(
            "no setting complies less and keeps what harmless prompts and reasoning need, so no "
            "profile was written; let it search on with more --trials, or widen the section tune"
        )
    console.print("all trials looked at validation prompts; no test prompt was asked")
    console.print(next_steps(workspace, written))


def compare(
    profile: Profile = "tiny",
    seeds: Annotated[str | None, typer.Option(help="Seeds, with commas between.")] = None,
    trials: Annotated[
        int, typer.Option(min=0, help="Validation trials a method, to find its setting.")
    ] = 0,
    json: Json = False,
) -> None:
    """Train and measure other methods beside the adapter, and print one table.

    With --seeds or --trials, as DVC experiments; a killed command goes on when it is repeated.
    """
    from components.core.environment import settle_environment
    from components.core.storage import read_json
    from components.profile import load_profile
    from flows.cli.compare_tables import (
        COMPARISON_PAGE,
        Found,
        comparison_tables,
        mean_costs,
        write_comparison,
    )
    from flows.cli.runs import read_seeds

    workspace = open_workspace(profile)
    if seeds is None and not trials:
        _run_listed(workspace, "compare", "compared")
        found = Found.here(workspace)
        costs = {arm: cost._asdict() for arm, cost in mean_costs([found]).items()}
        figures: object = {**found.comparison.model_dump(), "costs": costs}
        tables = comparison_tables(found)
        write_comparison(workspace.comparison, tables)
    else:
        settle_environment()
        from flows.cli.comparison import compare_seeds, forecast

        own = str(load_profile(workspace.profile_file).seed)
        chosen = read_seeds(own if seeds is None else seeds)
        console.print(forecast(workspace, chosen, trials), soft_wrap=True)
        _list_profile(workspace, "compared")
        with show_progress():
            tables = compare_seeds(workspace, chosen, trials)
        figures = read_json(workspace.comparison / "comparison.json")
    if json:
        print_json(figures)
    for table in tables:
        print_table(table)
    page = (workspace.comparison / COMPARISON_PAGE).relative_to(workspace.root)
    console.print(f"the same in Markdown: {page}")
    if seeds is None and not trials:
        _print_full_report(workspace)


def withstand(profile: Profile = "tiny", json: Json = False) -> None:
    """Attack the restored model, try to undo its safety, and print what is left."""
    from components.evaluate.result import Evidence
    from components.report.figures import attack_rows
    from components.studies.withstand.result import Withstand
    from flows.cli.study_tables import withstand_tables

    workspace = open_workspace(profile)

    _run_listed(workspace, "withstand", "attacked")
    asked, *undone = withstand_tables(workspace)
    if not asked.rows:
        console.print("The profile names no attacks (evaluate.attacks).")
    for table in (asked, *undone):
        print_table(table)
    from flows.cli.withstood import store_withstood

    stored = store_withstood(workspace)
    if json:
        attacks = [row._asdict() for row in attack_rows(Evidence.load(workspace.stage("evaluate")))]
        found = Withstand.load(workspace.stage("withstand"))
        print_json({**found.model_dump(), "attacks": attacks})
    file = stored.relative_to(workspace.root)
    console.print(f"what a policy may bound (`withstands`): {file}")
    _print_full_report(workspace)


def _run_listed(workspace: Workspace, command: str, key: str) -> None:
    """List the profile under `key` in `params.yaml` and bring the study's stages up to date."""
    _list_profile(workspace, key)
    from flows.runner.dvc import run_study

    with show_progress():
        run_study(workspace, command, key)


def _list_profile(workspace: Workspace, key: str) -> None:
    """List the profile under `key` in `params.yaml`, and say so where it was not."""
    from flows.cli.profiles import list_studied

    if list_studied(workspace, key):
        written = f"{workspace.parameters.name}, which lists {workspace.profile} as {key}"
        console.print(f"written: {written}")


def _print_full_report(workspace: Workspace) -> None:
    """Write the report with what studies found, once the gate has decided on the same evidence."""
    from flows.cli.report import decided, write_full_report

    if decided(workspace):
        page = write_full_report(workspace).relative_to(workspace.root)
        console.print(f"\nreport with studies: {page}")
    else:
        again = f"safereact run --profile {workspace.profile}"
        console.print(f"\nno report: the gate has not decided on this evidence ({again})")
