"""Studies beside the chain, and the evaluation for other people's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from components.core.environment import settle_environment
from components.core.errors import ConfigError, TrainingError
from components.core.paths import PARETO, TRIALS, open_workspace
from flows.cli.app import Profile, app, console, wide_console


@app.command()
def compare(profile: Profile = "tiny") -> None:
    """Train and measure other methods beside the adapter, and print one table."""
    workspace = open_workspace(profile)
    from flows.cli.compare import compare_methods, methods_table
    from flows.cli.profiles import list_studied
    from flows.cli.tables import shown

    if list_studied(workspace, "compared"):
        console.print(f"written: {workspace.parameters.name}, which lists {profile} as compared")
    with shown(console):
        comparison = compare_methods(workspace)
    console.print(methods_table(workspace, comparison), soft_wrap=True, markup=False)


@app.command()
def withstand(profile: Profile = "tiny") -> None:
    """Attack the restored model, try to undo its safety, and print what is left."""
    workspace = open_workspace(profile)
    from components.prepare.result import SuiteSet
    from flows.cli import withstand as attacks
    from flows.cli.profiles import list_studied
    from flows.cli.tables import shown

    if list_studied(workspace, "attacked"):
        console.print(f"written: {workspace.parameters.name}, which lists {profile} as attacked")
    with shown(console):
        evidence, withstood = attacks.withstand_attacks(workspace)
    leaks = SuiteSet.load(workspace.stage("prepare")).leaks
    tables = (
        attacks.attacks_table(evidence, leaks)
        or "The profile names no attacks (evaluate.attacks).",
        attacks.undoings_table(withstood.undoings),
        attacks.ablations_table(withstood.ablations),
        attacks.judging_told(withstood),
    )
    console.print("\n\n".join(filter(None, tables)), soft_wrap=True, markup=False)


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
    from flows.cli.tables import shown
    from flows.cli.tune import tune as search_settings
    from flows.cli.tuned import next_steps

    with shown(console):
        tuned = search_settings(workspace, trials=trials, minutes=minutes, to=to)
    wide_console(180).print(front_table(tuned.search))
    folder = workspace.search.relative_to(workspace.root)
    console.print(f"plot: {folder / PARETO}, all trials: {folder / TRIALS}", highlight=False)
    if tuned.profile is None:
        raise TrainingError(
            "no setting complies less and keeps what harmless prompts and reasoning need, so no "
            "profile was written; let it search on with more --trials, or widen the section tune"
        )
    console.print(next_steps(workspace, tuned.profile), highlight=False)


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
