"""The commands about servers: MLflow's pages on this repository's store, and a Prefect server's
deployments and messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError, RegistryError
from components.core.paths import REPORT, Workspace, find_root
from flows.cli.terminal import console


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of MLflow on this machine.")] = (
        5000
    ),
) -> None:
    """Open MLflow on the registry's store, and say where Prefect's pages and the reports are."""
    root = find_root()
    from components.registry.mlflow_client import address_of, set_up, without_secrets
    from flows.runner.model_server import check_free

    set_up()
    workspace = Workspace(root, "")
    address = address_of(os.environ.get("MLFLOW_TRACKING_URI"), workspace.tracking_store)
    is_server = address.startswith("http")
    if not is_server:
        check_free("127.0.0.1", port)  # else the address that is named here is another's
    place = address if is_server else f"http://127.0.0.1:{port}"
    console.print(f"MLflow: {without_secrets(place)}")
    home = workspace.prefect_home.relative_to(root)
    command = Path(sys.executable).with_name("prefect")
    called = command.relative_to(root) if command.is_relative_to(root) else command.name
    start = f"PREFECT_HOME=$PWD/{home} {called} server start"
    prefect = os.environ.get("PREFECT_API_URL") or start
    console.print(f"Prefect: {without_secrets(prefect)}")
    for page in sorted(root.glob(f"artifacts/*/report/{REPORT}")):
        whole = page.parent.with_name("studies") / REPORT  # with the day, and what studies found
        console.print(f"report: {(whole if whole.is_file() else page).relative_to(root)}")
    if not is_server:
        _serve(address, workspace.tracking_store, port)


def _serve(address: str, store: Path, port: int) -> None:
    """Serve a store until the command is interrupted; what MLflow writes stays within `store`."""
    store.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--default-artifact-root", (store / "artifacts").as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # Others on this machine can read a command, and an address may hold a password.
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": address}
    ended = subprocess.run(command, cwd=store, env=environment, check=False).returncode
    if ended:
        how = f"by signal {-ended}" if ended < 0 else f"with exit code {ended}"
        raise RegistryError(f"MLflow did not start or ended {how}; its lines above say why")


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
