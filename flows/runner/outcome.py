"""What comes of a run: the gate's word and, of an accepted adapter, its version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.paths import Workspace
from components.gate.result import Decision
from components.profile import load_profile

if TYPE_CHECKING:
    from components.registry.registration import Registered


@dataclass(frozen=True, slots=True)
class Outcome:
    """The gate's decision; `registered` is None where it said no."""

    decision: Decision
    registered: Registered | None


def register_accepted(workspace: Workspace) -> Registered:
    """Register the accepted adapter in `workspace` as its profile says."""
    from components.registry.registration import register

    settings = load_profile(workspace.profile_file).registration
    return register(workspace, name=settings.name, experiment=settings.experiment)
