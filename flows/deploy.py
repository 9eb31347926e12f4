"""The deployments of prefect.yaml on a Prefect server, and what ends a run whose process is gone.

Worker and flow that are killed together leave nobody to say so, and the run stays `Running`. Each
run sends heartbeats (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY` in prefect.yaml), and an automation of the
server sets one that has fallen silent to `Crashed`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from components.core.documents import read_yaml
from components.core.errors import ConfigError, StageError
from components.gate.result import GateOutcome
from flows.promote import DECLINED, PROMOTED, promote
from flows.retrain import retrain
from flows.runner.notices import keep
from flows.watch import ENDS, watch

AUTOMATION = "safereact: end runs whose process is gone"
SILENCE = timedelta(seconds=90)  # three heartbeats
_OWN_ENDS = (*(outcome.capitalize() for outcome in GateOutcome), PROMOTED, DECLINED, *ENDS)
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", *_OWN_ENDS)
_EVENT = "prefect.flow-run."


def deploy(root: Path) -> None:
    """Deploy all that prefect.yaml has, with its work pools and the automation; repeated, bring it
    up to date. Raises `ConfigError` where prefect.yaml has none, and `StageError` with Prefect's
    last lines where it refuses."""
    for pool in _pools(root / "prefect.yaml"):
        with get_client(sync_client=True) as client:
            try:
                client.read_work_pool(pool)
            except ObjectNotFound:
                _prefect(root, "work-pool", "create", pool, "--type", "process")
    _prefect(root, "--no-prompt", "deploy", "--all")
    keep(lost_run_automation())


def _pools(file: Path) -> list[str]:
    """Return the work pools of the deployments in prefect.yaml; raises `ConfigError` where there
    are no deployments, as Prefect would deploy nothing and say that all was well, or one has no
    pool."""
    deployments = read_yaml(file).get("deployments")
    if not isinstance(deployments, list) or not deployments:
        raise ConfigError(f"{file} has no deployments, so there is nothing to deploy")
    try:
        return sorted({str(one["work_pool"]["name"]) for one in deployments})
    except (TypeError, KeyError) as error:
        raise ConfigError(f"{file}: each deployment needs a work_pool with a name") from error


def _prefect(root: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *words],
        cwd=root,
        env={**os.environ, "SAFEREACT_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise StageError(f"prefect {' '.join(words)} failed:\n" + "\n".join(said[-5:]))


def lost_run_automation() -> Automation:
    """Return what sets a run of our flows to `Crashed` that has sent a heartbeat, and then neither
    another one nor its end. States with names of ours have events of these names."""
    return Automation(
        name=AUTOMATION,
        description="A run whose heartbeats stop without an end has no process any more.",
        trigger=EventTrigger(
            after={f"{_EVENT}heartbeat"},
            expect={f"{_EVENT}{name}" for name in ("heartbeat", *_ENDS)},
            match=ResourceSpecification({"prefect.resource.id": f"{_EVENT}*"}),
            # Flows of others on the same server may end in states of other names.
            match_related=ResourceSpecification(
                {
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": [retrain.name, promote.name, watch.name],
                }
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="its process is gone: no heartbeat came any more"
            )
        ],
    )
