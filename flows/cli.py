"""`safereact`: the front door for people. Exit codes: 0 done or accepted, 1 failure, 2 usage,
3 the gate said no, 130 interrupted, 143 terminated."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from components.config import load_profile
from components.environment import settle_environment
from components.errors import ConfigError, SafeReActError, TrainingError
from components.records import Role
from components.workspace import PARETO, TRIALS, Workspace, find_root, open_workspace

REJECTED, INTERRUPTED, TERMINATED = 3, 130, 143


class FrontDoor(TyperGroup):
    """Commands whose mendable errors are one message on stderr and the error's exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; a termination ends it as orderly as an interrupt."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        try:
            return super().invoke(ctx)
        except SafeReActError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail("interrupted; what was finished is kept, the next run goes on", INTERRUPTED)


def _fail(message: str, code: int) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(
        f"safereact: {message}", markup=False, highlight=False
    )
    sys.exit(code)


app = typer.Typer(
    cls=FrontDoor,
    name="safereact",
    help="Keep post-trained language models safe: train, prove, register, promote.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(soft_wrap=not sys.stdout.isatty())

Profile = Annotated[str, typer.Option(help="Name of a file in profiles/.")]
Name = Annotated[str | None, typer.Argument(help="Registered model; else that of --profile.")]
ProfileOrNone = Annotated[str | None, typer.Option("--profile", help="A file in profiles/.")]
By = Annotated[str, typer.Option(help="Who decides.")]
Why = Annotated[str, typer.Option(help="Why, in a sentence.")]
FolderOption = Annotated[Path | None, typer.Option(file_okay=False)]
FileOption = Annotated[Path | None, typer.Option(dir_okay=False)]


@app.command()
def run(profile: Profile = "tiny") -> None:
    """Bring a profile up to date and register its adapter if the gate accepts it."""
    workspace = open_workspace(profile)
    from flows.pipeline import check_profile

    check_profile(workspace)
    from flows.embedded import run_retrain
    from flows.screen import rules_table, shown

    with shown(console):
        outcome = run_retrain(workspace)
    decision, registered = outcome.decision, outcome.registered
    console.print(rules_table(decision))
    report = workspace.stage("report") / "report.html"
    console.print(f"report: {report.relative_to(workspace.root)}", highlight=False)
    if registered is None:
        console.print("The gate said no; nothing was registered.", style="bold")
        raise typer.Exit(REJECTED)
    how = "registered" if registered.new else "registered already"
    console.print(f"{how}: {registered.name} version {registered.version}, alias candidate")


@app.command()
def status(profile: ProfileOrNone = None) -> None:
    """Show which stages are stale, the gate's last word, and who is champion."""
    root = find_root()
    from components.release.promotion import status as standings_of
    from components.release.registry import Registry
    from flows.pipeline import stale_stages
    from flows.profiles import list_profiles
    from flows.screen import gate_word, standings_table

    listed = [listing.name for listing in list_profiles(root) if listing.listed]
    registry = Registry(root)
    for name in [profile] if profile else listed:
        workspace = open_workspace(name, root)
        stale = stale_stages(workspace)
        told = f"stale: {', '.join(sorted(stale))}" if stale else "clean"
        console.print(f"{name}: {told}; {gate_word(workspace)}", markup=False)
        model = _registration(workspace)
        console.print(standings_table(model, standings_of(registry, model)))


@app.command()
def promote(
    by: By,
    why: Why,
    name: Name = None,
    profile: ProfileOrNone = None,
    version: Annotated[str | None, typer.Option(help="Else the candidate.")] = None,
) -> None:
    """Make a registered version champion."""
    root, model = find_root(), _model_name(name, profile)
    from components.release import promotion
    from components.release.registry import Registry

    entry = promotion.promote(Registry(root), model, version, by=by, why=why)
    console.print(f"{model} version {entry.version} is champion ({entry.by}: {entry.why})")


@app.command()
def rollback(by: By, why: Why, name: Name = None, profile: ProfileOrNone = None) -> None:
    """Give `champion` back to the version that had it before."""
    root, model = find_root(), _model_name(name, profile)
    from components.release import promotion
    from components.release.registry import Registry

    entry = promotion.rollback(Registry(root), model, by=by, why=why)
    console.print(f"{model} version {entry.version} is champion again ({entry.by}: {entry.why})")


@app.command()
def pull(
    source: Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="Alias or version.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder.")],
) -> None:
    """Bring a registered adapter back, digest checked, ready for PEFT."""
    name, _, alias = source.partition("@")
    if not name or not alias:
        raise ConfigError(f"{source!r} is not NAME@ALIAS, such as tiny-safety@champion")
    root = find_root()
    from components.release import promotion
    from components.release.registry import Registry

    version = promotion.pull(Registry(root), name, alias, folder.absolute())
    console.print(f"{name} version {version} is in {folder}; load it with PeftModel")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The profile's new name.")],
    base: FolderOption = None,
    post_trained: FolderOption = None,
    harmful: FileOption = None,
    benign: FileOption = None,
    reasoning: FileOption = None,
    borderline: FileOption = None,
    licence: Annotated[str, typer.Option(help="SPDX id of the prompts.")] = "LicenseRef-own",
    checkpoints: Annotated[Path | None, typer.Option(help="Folder of both checkpoints.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Folder of the prompt files.")] = None,
) -> None:
    """Add a profile of your own model pair and prompts, or list one that you wrote."""
    from flows.profiles import Pair, add_profile

    files = {
        Role.HARMFUL: harmful,
        Role.BENIGN: benign,
        Role.REASONING: reasoning,
        Role.BORDERLINE: borderline,
    }
    given = {role: path for role, path in files.items() if path}
    pair = None
    if base or post_trained or given:
        lacking = {Role.HARMFUL, Role.BENIGN, Role.REASONING} - given.keys()
        if not base or not post_trained or lacking:
            raise ConfigError(
                "a new profile needs --base, --post-trained, --harmful, --benign and --reasoning"
            )
        pair = Pair(base, post_trained, given, licence)
    workspace = Workspace(find_root(), name)
    written = add_profile(workspace, pair, checkpoints=checkpoints, prompts=prompts)
    told = ", ".join(path.relative_to(workspace.root).as_posix() for path in written)
    console.print(f"written: {told}; now: safereact run --profile {name}", highlight=False)


@app.command()
def profiles() -> None:
    """List the profiles."""
    from flows.profiles import list_profiles

    table = Table("profile", "listed", "description")
    for listing in list_profiles(find_root()):
        table.add_row(listing.name, "yes" if listing.listed else "no", listing.description)
    console.print(table)


@app.command()
def compare(profile: Profile = "tiny") -> None:
    """Train and measure other methods beside the adapter, and print one table."""
    workspace = open_workspace(profile)
    from flows.compare import compare_methods, methods_table
    from flows.profiles import list_compared
    from flows.screen import shown

    if list_compared(workspace):
        console.print(f"written: {workspace.parameters.name}, which lists {profile} as compared")
    with shown(console):
        comparison = compare_methods(workspace)
    console.print(methods_table(workspace, comparison), soft_wrap=True, markup=False)


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
    from flows.front import front_table
    from flows.screen import shown
    from flows.tune import tune as search_settings
    from flows.tuned import next_steps

    with shown(console):
        tuned = search_settings(workspace, trials=trials, minutes=minutes, to=to)
    # In a log, lines are long enough for the figures to be read.
    wide = console if console.is_terminal else Console(width=180)
    wide.print(front_table(tuned.search))
    folder = workspace.search.relative_to(workspace.root)
    console.print(f"plot: {folder / PARETO}, all trials: {folder / TRIALS}", highlight=False)
    if tuned.profile is None:
        raise TrainingError(
            "no setting complies less and keeps what harmless prompts and reasoning need, so no "
            "profile was written; let it search on with more --trials, or widen the section tune"
        )
    console.print(next_steps(workspace, tuned.profile), markup=False, highlight=False)


@app.command()
def doctor(profile: Profile = "tiny") -> None:
    """Say what this machine lacks to run a profile, with the remedies."""
    workspace = open_workspace(profile)
    from flows.doctor import examine
    from flows.findings import State, findings_table

    findings = examine(workspace)
    # In a log, lines are long enough for commands to be copied from it.
    wide = console if console.is_terminal else Console(width=200)
    wide.print(findings_table(findings))
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
    from flows.screen import shown
    from flows.seeds import run_seeds, seeds_table

    with shown(console):
        experiments = run_seeds(workspace, [int(seed) for seed in seeds.split(",")])
    console.print(seeds_table(workspace, experiments), soft_wrap=True, markup=False)


def _model_name(name: str | None, profile: str | None) -> str:
    if (name is None) == (profile is None):
        raise ConfigError("give the registered model's name or --profile, one of them")
    return name or _registration(open_workspace(profile or ""))


def _registration(workspace: Workspace) -> str:
    return load_profile(workspace.profile_file).registration.name


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
