"""What all commands share: the application, its exit codes and its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from components.core.disk import disk_trouble
from components.core.errors import ConfigError, SafeReActError
from components.core.paths import Workspace, find_root, open_workspace
from flows.cli.terminal import Terminal, people_on_stderr

if TYPE_CHECKING:
    from components.registry.mlflow_registry import Registry

REJECTED, INTERRUPTED, UNREAD = 3, 130, 141


class Commands(TyperGroup):
    """Commands whose mendable errors are one message on stderr and the error's exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; of what ends it from outside the supervisor tells."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            sys.exit(UNREAD)
        except Exception as error:
            message = mendable(error)
            if message is None:
                _name_profile(error)
                raise
            complain(message)
            sys.exit(error.exit_code if isinstance(error, SafeReActError) else 1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands by group; a terminal gets frames instead."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            row = name, command.get_short_help_str(limit=1000)
            groups.setdefault(command.rich_help_panel, []).append(row)
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)


def _name_profile(error: Any) -> None:
    """Add to what is said of an argument too many, where it may be a profile, how one is named."""
    context, message = getattr(error, "ctx", None), getattr(error, "message", "")
    taken = {option.name for option in context.command.params} if context else set()
    if "unexpected extra argument" in message and "profile" in taken:
        error.message = f"{message}; a profile is named by --profile"


def mendable(error: Exception) -> str | None:
    """Return what people are told of an error that they can mend; None for any other."""
    if isinstance(error, SafeReActError):
        return str(error)
    told = f"{type(error).__name__}: {error}" if isinstance(error, OSError) else None
    return disk_trouble(error) or told


def complain(message: str) -> None:
    """Print what went wrong on stderr."""
    Terminal(stderr=True, soft_wrap=True).print(f"safereact: {message}")


app = typer.Typer(
    cls=Commands,
    name="safereact",
    help="Keep post-trained language models safe: train, measure, register, promote.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,  # no frames in pipes and files
)


def _print_version(wanted: bool) -> None:
    from importlib.metadata import version

    if wanted:
        Terminal(soft_wrap=True).print(f"safereact {version('safereact-ops')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Take what goes before a command."""


def _profiles(incomplete: str) -> list[str]:
    """Return the profiles whose names begin so, for a shell's completion."""
    try:
        files = (find_root() / "profiles").glob("*.yaml")
    except ConfigError:  # no repository has none
        return []
    return sorted(path.stem for path in files if path.stem.startswith(incomplete))


Profile = Annotated[
    str, typer.Option(help="Name of a file in profiles/.", autocompletion=_profiles)
]
Name = Annotated[str | None, typer.Argument(help="Registered model; else that of --profile.")]
ProfileOrNone = Annotated[
    str | None, typer.Option("--profile", help="A file in profiles/.", autocompletion=_profiles)
]
By = Annotated[str, typer.Option(help="Who decides.")]
Why = Annotated[str, typer.Option(help="Why, in a sentence.")]
FileOption = Annotated[
    Path | None,
    typer.Option(dir_okay=False, help="Prompts: .jsonl, .csv or .parquet, a column `text`."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=NAME", help="Column of a prompt's field, where it has another name."
    ),
]
Checkpoint = Annotated[str | None, typer.Option(help="Folder, or hub OWNER/NAME@COMMIT.")]


def _for_machines(context: typer.Context, wanted: bool) -> bool:
    if wanted:
        context.with_resource(people_on_stderr())
    return wanted


Json = Annotated[
    bool,
    typer.Option(
        "--json", callback=_for_machines, help="Print the figures as JSON, the rest on stderr."
    ),
]


def print_json(figures: object) -> None:
    """Print results, data classes or what JSON knows, in ASCII, so that no text steers a terminal.

    Raises `ValueError` for NaN and infinity, which no result holds.
    """
    import json

    from pydantic_core import to_jsonable_python

    typer.echo(json.dumps(to_jsonable_python(figures), indent=2, allow_nan=False))


def open_registry() -> Registry:
    """Return the registry of the repository that this is in."""
    root = find_root()  # before the libraries are loaded
    from components.registry.mlflow_registry import Registry

    return Registry(root)


def model_name(name: str | None, profile: str | None) -> str:
    """Return the registered model's name, given outright or through its profile."""
    if (name is None) == (profile is None):
        raise ConfigError("give the registered model's name or --profile, one of them")
    return name or registered_name(open_workspace(profile or ""))


def registered_name(workspace: Workspace) -> str:
    """Return the registered model's name of a profile."""
    from components.profile import load_profile

    return load_profile(workspace.profile_file).registration.name
