"""The command that puts the flows on a Prefect server."""

from __future__ import annotations

import os

from components.core.errors import ConfigError
from components.core.paths import find_root
from flows.cli.terminal import console


def deploy() -> None:
    """Put the deployments of prefect.yaml on the Prefect server, with their work pool and what ends
    runs whose process is gone; repeated, bring them up to date."""
    from flows.runner.environment import check_prefect_server, embed_prefect

    root, server = find_root(), os.environ.get("PREFECT_API_URL")
    if not server:
        raise ConfigError("PREFECT_API_URL is not set; deployments lie on a Prefect server")
    embed_prefect(root)
    check_prefect_server(server)
    from flows.deploy import deploy as put_on_server

    put_on_server(root)
    console.print("deployed; now, where the GPU is: prefect worker start --pool local")
