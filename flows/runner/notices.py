"""The events of a watch, and the automation of a Prefect server that makes messages of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError
from components.studies.watch.result import Drift

if TYPE_CHECKING:
    from prefect.automations import Automation
    from prefect.blocks.abstract import NotificationBlock

    from components.studies.watch.result import Watch

AUTOMATION = "safereact watch"
_EVENTS = "safereact.watch"
BELOW, FAILED = f"{_EVENTS}.below-policy", f"{_EVENTS}.failed"
_RESOURCES = "safereact.champion"


def topic(found: Watch) -> str:
    """Return the event that tells of a watch."""
    return BELOW if found.below_policy else _of_drift(found.drift)


def _of_drift(drift: Drift) -> str:
    return f"{_EVENTS}.{drift.replace(' ', '-')}"


def resource(profile: str) -> dict[str, str]:
    """Return what an event is about: the champion of a profile."""
    return {"prefect.resource.id": f"{_RESOURCES}.{profile}", "prefect.resource.name": profile}


def provision(block: str) -> bool:
    """Let the Prefect server send a message through a notification `block`, TYPE/NAME, whenever a
    watch finds anything but no drift, or fails; return whether the automation is new.

    Raises `ConfigError` for a block that is not there or sends no messages.
    """
    from prefect.automations import Automation
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import EventTrigger, Posture

    found = _block(block)
    told = {_of_drift(Drift.FOUND), _of_drift(Drift.UNKNOWN), BELOW, FAILED}
    wanted = Automation(
        name=AUTOMATION,
        description="Tells people what a watch of a champion found.",
        trigger=EventTrigger(
            expect=told,
            match={"prefect.resource.id": f"{_RESOURCES}.*"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=found._block_document_id,
                subject="{{ event.event }}",
                body="{{ event.payload.words }}",
            )
        ],
    )
    return keep(wanted)


def keep(wanted: Automation) -> bool:
    """Create an automation on the Prefect server, or bring the one of its name there up to date;
    return whether it is new."""
    try:
        there: Any = type(wanted).read(name=wanted.name)  # a coroutine within an event loop alone
    except ValueError:
        wanted.create()
        return True
    wanted.id = there.id
    wanted.update()
    return False


def _block(named: str) -> NotificationBlock:
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    try:
        found = Block.load(named)
    except ValueError as error:
        raise ConfigError(
            f"the Prefect server has no block {named!r}; make one in its interface, or by "
            "`prefect block create`, and name it TYPE/NAME, such as slack-webhook/ops"
        ) from error
    if not isinstance(found, NotificationBlock):
        raise ConfigError(f"{named} sends no messages; name a notification block")
    return found
