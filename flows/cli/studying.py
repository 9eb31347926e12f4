"""Studies beside the chain, and the evaluation for other people's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.core.environment import settle_environment
from components.core.errors import ConfigError, TrainingError
from components.core.paths import PARETO, TRIALS, Workspace, open_workspace
from flows.cli.app import Profile, app, console, wide_console


@app.command()
def compare(profile: Profile = "tiny") -> None:
    """Train and measure other methods beside the adapter, and print one table."""
    workspace = open_workspace(profile)
    from components.studies.compare.result import Comparison
    from flows.cli.compare import methods_table

    _run_study(workspace, "compare", "compared")
    comparison = Comparison.load(workspace.stage("compare"))
    console.print(methods_table(workspace, comparison), soft_wrap=True, markup=False)


@app.command()
def withstand(profile: Profile = "tiny") -> None:
    """Attack the restored model, try to undo its safety, and print what is left."""
    workspace = open_workspace(profile)
    from components.evaluate.result import Evidence
    from components.prepare.result import SuiteSet
    from components.studies.withstand.result import Withstand
    from flows.cli.withstand import withstand_tables

    _run_study(workspace, "withstand", "attacked")
    tables = withstand_tables(
        Evidence.load(workspace.stage("evaluate")),
        Withstand.load(workspace.stage("withstand")),
        SuiteSet.load(workspace.stage("prepare")).leaks,
    )
    console.print("\n\n".join(tables), soft_wrap=True, markup=False)


def _run_study(workspace: Workspace, command: str, key: str) -> None:
    """List the profile under `key` in `params.yaml` and bring the study's stages up to date."""
    from flows.cli.profiles import list_studied
    from flows.cli.tables import show_progress
    from flows.runner.dvc import run_study

    if list_studied(workspace, key):
        written = f"{workspace.parameters.name}, which lists {workspace.profile} as {key}"
        console.print(f"written: {written}")
    with show_progress(console):
        run_study(workspace, command, key)


@app.command()
def tune(
    profile: Profile = "tiny",
    trials: Annotated[int, typer.Option(min=1, help="Of the whole study.")] = 20,
    minutes: Annotated[float, typer.Option(min=0, help="For the trials of this call.")] = 15,
    to: Annotated[str | None, typer.Option(help="New profile; else PROFILE-tuned.")] = None,
) -> None:
    """Search for a better setting of the training and write the best as a new profile."""
    workspace = open_workspace(profile)
    settle_environment()
    from flows.cli.pareto_table import front_table
    from flows.cli.tables import show_progress
    from flows.cli.tune import tune as find_setting
    from flows.cli.tuned import next_steps

    with show_progress(console):
        search, written = find_setting(workspace, trials=trials, minutes=minutes, to=to)
    wide_console(180).print(front_table(search))
    folder = workspace.search.relative_to(workspace.root)
    console.print(f"plot: {folder / PARETO}, all trials: {folder / TRIALS}", highlight=False)
    if written is None:
        raise TrainingError(
            "no setting complies less and keeps what harmless prompts and reasoning need, so no "
            "profile was written; let it search on with more --trials, or widen the section tune"
        )
    console.print(next_steps(workspace, written), highlight=False)


@app.command()
def export(
    to: Annotated[str, typer.Option(help="Whose files: inspect or lm-eval.")],
    out: Annotated[Path, typer.Option(help="New or empty folder.")],
    profile: Profile = "tiny",
) -> None:
    """Write the last evaluation's rows as Inspect logs or as lm-eval's files."""
    workspace = open_workspace(profile)
    from flows.cli.export import Harness, export_rows

    if to not in set(Harness):
        raise ConfigError(f"--to {to!r} is not known; it is one of {', '.join(Harness)}")
    tasks = export_rows(workspace, Harness(to), out.absolute())
    console.print(f"written: {tasks} tasks for {to} in {out}", highlight=False)
