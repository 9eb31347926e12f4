"""The commands between this project and other harnesses: rows for them, and logs of theirs."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError
from components.core.paths import open_workspace
from flows.cli.app import Json, Profile, print_json
from flows.cli.terminal import console, wide_console

_VIEWER_SECONDS = 2  # for its end

_Log = Annotated[Path, typer.Argument(help="File or folder of lm-eval or Inspect.")]


def export(
    to: Annotated[str, typer.Option(help="Whose files: inspect or lm-eval.")],
    out: Annotated[Path, typer.Option(help="New or empty folder.")],
    profile: Profile = "tiny",
) -> None:
    """Write the last evaluation's rows as Inspect logs or as lm-eval's files."""
    workspace = open_workspace(profile)
    from flows.cli.export import export_rows

    tasks = export_rows(workspace, to, out.absolute())
    console.print(f"written: {tasks} tasks for {to} in {out}")


def view(
    profile: Profile = "tiny",
    suite: Annotated[str | None, typer.Option(help="Completions to its prompts alone.")] = None,
    arm: Annotated[str | None, typer.Option(help="Of one model alone, such as restored.")] = None,
    outcome: Annotated[str | None, typer.Option(help="Answers that were read so.")] = None,
    disagreement: Annotated[
        bool, typer.Option("--disagreement", help="Which two judges read differently.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 7575,
) -> None:
    """Look at the last evaluation's completions in Inspect's viewer, until it is ended.

    Those to harmful prompts are withheld unless the profile sets `report.redact: false`.
    """
    workspace = open_workspace(profile)
    from components.evaluate.exports.tasks import Selection
    from flows.cli.export import export_rows
    from flows.runner.model_server import check_free

    chosen = Selection(suite, arm, outcome, disagreement)
    with tempfile.TemporaryDirectory(prefix="safereact-view-") as scratch:
        logs = Path(scratch) / "logs"
        tasks = export_rows(workspace, "inspect", logs, chosen)
        check_free("127.0.0.1", port)  # else Inspect would end the viewer that has it
        console.print(f"{tasks} logs: http://127.0.0.1:{port}")
        if code := _show(logs, port):
            raise ConfigError(f"Inspect's viewer ended with exit code {code}")


def _show(logs: Path, port: int) -> int:
    """Run the viewer until it is ended, and return its exit code."""
    command = [sys.executable, "-m", "inspect_ai", "view", "start", "--no-trust-content"]
    command += ["--log-dir", str(logs), "--port", str(port), "--display", "plain"]
    viewer = subprocess.Popen(command)
    try:
        return viewer.wait()
    finally:
        # Ended in another way it would leave a note of its process, which the next viewer ends.
        viewer.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            viewer.wait(_VIEWER_SECONDS)
        viewer.kill()


def diff(
    a: _Log,
    b: _Log,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of intervals.")] = 0.95,
    json: Json = False,
) -> None:
    """Compare two logs of lm-eval or Inspect by prompt; needs no profile and no repository."""
    from components.studies.diff.differences import compare_logs
    from components.studies.diff.reading import read_log
    from flows.cli.diff import differences_table, notes_of

    found = compare_logs(read_log(a), read_log(b), confidence=confidence)
    if json:
        print_json(found)
        return
    wide_console().print(differences_table(found))
    for note in notes_of(found):
        console.print(note)
