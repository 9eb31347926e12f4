"""Promotion with a person's approval, on a Prefect server."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, State
from pydantic import Field, StringConstraints

from components.core.errors import RegistryError
from components.core.identity import signatory
from components.core.paths import find_root
from components.core.untrusted_text import for_terminal
from components.registry.approval import describe_candidate
from components.registry.changes import Change, chain_of
from components.registry.delivery import find_version
from components.registry.history import check_decided_on
from components.registry.mlflow_registry import CANDIDATE, Registry
from components.registry.promotion import promote as make_champion
from flows.runner.run_log import warnings_in_run_log
from flows.runner.run_names import say_end

PROMOTED, DECLINED = "Promoted", "Declined"  # the states in which it ends
# The server holds an answer against this, so a blank one is refused where it is given.
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"\S")]


class Approval(RunInput):
    """What the approver says."""

    approve: bool
    by: Words = Field(max_length=200, description="Who decides; nobody verifies it here.")
    why: Words = Field(max_length=1000, description="Why, in a sentence.")


def approval_form(description: str) -> type[Approval]:
    """Return the form with what is known above it; Prefect would drop the constraints of a field
    that is given a value here."""
    return Approval.with_initial_data(description=description, approve=False)


@flow(name="promote", flow_run_name="promote {name}", persist_result=False)
def promote(name: str, version: str | None = None, hours: float = 24) -> State[Change | None]:
    """Ask for approval of a version (None: the candidate) and make it champion.

    The form shows what is known of it and of the champion. The run waits up to `hours` in the state
    Paused. Raises `RegistryError` without a server, since nobody could answer, and for a version
    that somebody rejected or withdrew, meanwhile, too.
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
    answer = pause_flow_run(
        wait_for_input=approval_form(describe_candidate(registry, found)),
        timeout=round(hours * 3600),
    )
    if not answer.approve:
        said = f"{signatory(answer.by, '')}: {answer.why}"
        say_end(f"promote {name}", DECLINED.lower())
        return Completed(name=DECLINED, message=for_terminal(said))
    # Prefect's server knows no users, and the credentials of this process are the worker's.
    with warnings_in_run_log():
        change = make_champion(registry, name, chosen, by=answer.by, why=answer.why, stated=True)
    get_run_logger().info("%s version %s is champion", name, change.version)
    say_end(f"promote {name}", PROMOTED.lower())
    return Completed(
        name=PROMOTED, message=for_terminal(f"{change.who}: {change.why}"), data=change
    )
