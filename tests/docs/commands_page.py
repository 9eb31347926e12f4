"""docs/commands.md from the command line itself: `python -m tests.docs.commands_page` writes it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from typer.core import TyperCommand
from typer.main import get_command

from tests.root import ROOT

PAGE = ROOT / "docs" / "commands.md"

HEAD = """\
# Commands

`.venv/bin/safereact COMMAND --help` says the same. All commands share
their [exit codes](policy.md#exit-codes). With `--json` stdout is one JSON document, and what people
read goes to stderr; a command that fails before it has figures prints none. Colours are for
terminals alone, and `NO_COLOR=1` switches them off. `safereact --install-completion` lets the shell
complete commands, options and profiles.

Where things run is said by the environment, and none of it makes a result stale:

| Variable | What |
|---|---|
| `MLFLOW_TRACKING_URI` | the registry's server |
| `MLFLOW_TRACKING_USERNAME`, `MLFLOW_TRACKING_PASSWORD` | its user |
| `PREFECT_API_URL` | the server of Prefect; without it a run starts its own |
| `SAFEREACT_ROOT` | the repository |
| `SAFEREACT_DEVICE` | a torch device |
| `SAFEREACT_PRECISION` | `float32`, `bfloat16` or `auto`, the checkpoint's own |
| `SAFEREACT_LAUNCHER` | what starts training in several processes ([GPUs](gpu.md)) |
| `SAFEREACT_ENGINE` | what writes the completions ([engines](engines.md)) |
| `SAFEREACT_JUDGE_URL` | the server of a judge ([judges](judges.md)) |
| `SAFEREACT_BASE` | the folder of a version's model ([serving](check.md#serving-a-champion)) |

<!-- Written by `python -m tests.docs.commands_page` from flows/cli/; do not edit. -->
"""


def commands_page() -> str:
    """Return the page: a table of all commands, then a section each with its options."""
    from flows.cli.commands import app

    commands = get_command(app).commands
    parts = [HEAD, "| Command | What it does |\n|---|---|"]
    for name, command in commands.items():
        first = " ".join(_help(command).partition("\n\n")[0].split())
        parts.append(f"| [`{name}`](#{name}) | {_cell(first)} |")
    for name, command in commands.items():
        example = (command.epilog or "").removeprefix("Example: ")
        shell = f"```sh\n{example}\n```"
        parts += ["", f"## {name}", "", _help(command), "", shell, "", *_options(command)]
    return "\n".join(parts).rstrip() + "\n"


def _help(command: TyperCommand) -> str:
    return inspect.cleandoc(command.help or "")


def _options(command: TyperCommand) -> Iterator[str]:
    shown = [each for each in command.params if each.name != "help"]
    if not shown:
        return
    yield "| | Default | What |"
    yield "|---|---|---|"
    for each in shown:
        option = each.param_type_name == "option"
        names = (
            [*each.opts, *each.secondary_opts] if option else [each.metavar or each.name.upper()]
        )
        usual = "" if each.default in (None, False) else f"`{each.default}`"
        default = "required" if each.required else usual
        what = " ".join((getattr(each, "help", None) or "").split())
        yield f"| {', '.join(f'`{name}`' for name in names)} | {default} | {_cell(what)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
