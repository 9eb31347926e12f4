"""What comes of a run: the gate's word and, of an accepted adapter, its version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.config import load_profile
from components.results import Decision
from components.workspace import Workspace

if TYPE_CHECKING:
    from components.release.registration import Registered


@dataclass(frozen=True, slots=True)
class Outcome:
    """The gate's decision; `registered` is None where it said no."""

    decision: Decision
    registered: Registered | None


def register_accepted(workspace: Workspace) -> Registered:
    """Register the accepted adapter in `workspace` as its profile says."""
    from components.release.registration import register

    settings = load_profile(workspace.profile_file).registration
    return register(workspace, name=settings.name, experiment=settings.experiment)
