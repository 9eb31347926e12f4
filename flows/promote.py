"""Promotion with a person's approval, on a Prefect server."""

from __future__ import annotations

from prefect import flow
from prefect.context import FlowRunContext
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, State

from components.core.errors import RegistryError
from components.core.paths import find_root
from components.core.untrusted_text import for_markdown, for_terminal
from components.registry.changes import Change, chain_of
from components.registry.delivery import find_version
from components.registry.history import check_decided_on
from components.registry.mlflow_registry import CANDIDATE, Registry
from components.registry.promotion import promote as make_champion


class Approval(RunInput):
    """What the approver says."""

    approve: bool
    by: str
    why: str


@flow(name="promote", flow_run_name="promote {name}", persist_result=False)
def promote(name: str, version: str | None = None, hours: float = 24) -> State[Change | None]:
    """Ask for approval of a version (None: the candidate) and make it champion.

    The run waits up to `hours` in the state Paused. Raises `RegistryError` without a server, since
    nobody could answer, and for a version that somebody rejected or withdrew, meanwhile, too.
    """
    if not PREFECT_API_URL.value():
        raise RegistryError(
            f"approval waits on a Prefect server and PREFECT_API_URL is not set; promote from the "
            f"shell: safereact promote {name} --by WHO --why WHY"
        )
    registry = Registry(find_root())
    found = find_version(registry, name, version or CANDIDATE)
    check_decided_on(found, CANDIDATE, chain_of(registry.model(name).tags))
    chosen = found.number
    context = FlowRunContext.get()
    form = Approval.with_initial_data(
        description=f"Make **{for_markdown(name)}** version {chosen} champion? Its model card and "
        f"evidence lie with run {context.flow_run.name if context and context.flow_run else ''} in "
        "MLflow.",
        approve=False,
        by="",
        why="",
    )
    answer = pause_flow_run(wait_for_input=form, timeout=round(hours * 3600))
    if not answer.approve:
        return Completed(name="Declined", message=for_terminal(f"{answer.by}: {answer.why}"))
    change = make_champion(registry, name, chosen, by=answer.by, why=answer.why)
    get_run_logger().info("%s version %s is champion", name, change.version)
    return Completed(
        name="Promoted", message=for_terminal(f"{change.by}: {change.why}"), data=change
    )
