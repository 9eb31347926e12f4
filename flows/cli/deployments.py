"""The commands that set a Prefect server up: its deployments, and whom it tells of watches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError
from components.core.paths import find_root
from flows.cli.terminal import console


def deploy() -> None:
    """Put the deployments of prefect.yaml on the Prefect server, with their work pool and what ends
    runs whose process is gone; repeated, bring them up to date."""
    root = _reach_server()
    from flows.deploy import deploy as put_on_server

    put_on_server(root)
    console.print("deployed; now, where the GPU is: prefect worker start --pool local")


def notify(
    block: Annotated[
        str, typer.Argument(metavar="TYPE/NAME", help="Notification block, as slack-webhook/ops.")
    ],
) -> None:
    """Let the Prefect server tell people by a notification block what watches find."""
    _reach_server()
    from flows.runner.notices import AUTOMATION, provision

    how = "made" if provision(block) else "brought up to date"
    console.print(f"automation {AUTOMATION!r} {how}: {block}")


def _reach_server() -> Path:
    """Return the repository's root, once the Prefect server answers that PREFECT_API_URL names."""
    from flows.runner.environment import check_prefect_server, embed_prefect

    root, server = find_root(), os.environ.get("PREFECT_API_URL")
    if not server:
        raise ConfigError(
            "PREFECT_API_URL is not set; deployments and messages are a Prefect server's"
        )
    embed_prefect(root)
    check_prefect_server(server)
    return root
