"""Who registered a version and who approves it, and whether these are two people.

The tag is written by the client that registers, after it has asked the server who it is. So it is
as good as the tags of the store, and the model card, which has it as well, as a signature.
"""

from __future__ import annotations

from pathlib import Path

from components.core.errors import EvidenceError
from components.core.identity import are_two_people
from components.core.untrusted_text import for_markdown
from components.registry.changes import Change
from components.registry.mlflow_registry import EVIDENCE, Registry, Version
from components.registry.verification import CARD

REGISTERED_BY = "registered_by"  # the tag with the user that MLflow accepted
NOBODY = "not verified"  # its value where the store knows no users


def registrant(version: Version, folder: Path) -> str:
    """Return the user who registered a version that lies in `folder`; empty: nobody verified who.

    Raises `EvidenceError` where the tag is not what the model card says.
    """
    user = version.tags.get(REGISTERED_BY, "")
    check_card(folder, REGISTERED_BY, user)
    return "" if user == NOBODY else user


def check_card(folder: Path, key: str, value: str) -> None:
    """Raise `EvidenceError` unless the model card of a version in `folder` has a tag as well: the
    card is part of what is signed, and tags are not."""
    card = (folder / EVIDENCE / CARD).read_text(encoding="utf-8")
    if f"| {for_markdown(key)} | {for_markdown(value)} |" not in card:
        raise EvidenceError(f"tag {key} is {value!r}, and the model card says otherwise")


def check_two_people(registry: Registry, version: Version, folder: Path, change: Change) -> None:
    """Raise `EvidenceError` unless one user registered a version that lies in `folder` and another
    makes `change`, and the server verified both."""
    trainer = registrant(version, folder)
    if trainer and change.user and are_two_people(trainer, change.user):
        return
    registered = f"MLflow user {trainer}" if trainer else "somebody whom nobody verified"
    raise EvidenceError(
        f"{version} was registered by {registered} and is approved by {change.who}, which does not "
        f"show the two people that its policy asks for (two_people): "
        f"{_remedy(registry, version, trainer, change)}"
    )


def _remedy(registry: Registry, version: Version, trainer: str, change: Change) -> str:
    command = f"`safereact promote {version.name} --version {version.number}`"
    if not registry.user():
        return (
            "this store knows no users, so nobody can tell two people apart in it; keep versions "
            "on an MLflow server with users (MLFLOW_TRACKING_URI), or let the policy ask for a "
            "signature (signed_by), which holds without one"
        )
    if not trainer:
        return (
            "delete the version in MLflow, and let who trained run `safereact run` with "
            "credentials of the server"
        )
    if not change.user:
        return (
            f"a name in a form is verified by nobody; {change.by} runs {command} with "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of his or her own"
        )
    return f"somebody else runs {command}, with an account whose name cannot be taken for this one"
