"""What every command of a study does: list the profile, run the stages, write the report again."""

from __future__ import annotations

from components.core.paths import Workspace
from flows.cli.terminal import console, show_progress
from flows.runner.dvc import run_study


def run_listed(workspace: Workspace, command: str, key: str) -> None:
    """List the profile under `key` in `params.yaml` and bring the study's stages up to date."""
    list_profile(workspace, key)
    with show_progress():
        run_study(workspace, command, key)


def list_profile(workspace: Workspace, key: str) -> None:
    """List the profile under `key` in `params.yaml`, and say so where it was not."""
    from flows.cli.profiles import list_studied

    if list_studied(workspace, key):
        written = f"{workspace.parameters.name}, which lists {workspace.profile} as {key}"
        console.print(f"written: {written}")


def print_full_report(workspace: Workspace) -> None:
    """Write the report with what studies found, once the gate has decided on the same evidence."""
    from flows.cli.report import decided, write_full_report

    if decided(workspace):
        page = write_full_report(workspace).relative_to(workspace.root)
        console.print(f"\nreport with studies: {page}")
    else:
        again = f"safereact run --profile {workspace.profile}"
        console.print(f"\nno report: the gate has not decided on this evidence ({again})")
