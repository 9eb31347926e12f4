"""What the study `withstand` found, where the gate can read it."""

from __future__ import annotations

from pathlib import Path

from components.core.paths import Workspace
from components.core.storage import EVERYBODY, write_text
from components.core.vocabulary import Arm, Role
from components.gate.result import Left, Withstood
from components.profile import load_profile
from components.studies.withstand.result import SafetyRates, Withstand


def store_withstood(workspace: Workspace) -> Path:
    """Return the file of the figures that a policy may bound, after writing it."""
    found = bounded(Withstand.load(workspace.stage("withstand")), _how(workspace))
    text, file = found.model_dump_json(indent=2) + "\n", workspace.withstood
    if not file.is_file() or file.read_bytes() != text.encode():
        write_text(file, text, mode=EVERYBODY)
    return file


def _how(workspace: Workspace) -> str:
    """Return how the profile has its adapters fine-tuned on harmless rows, in words."""
    undo = load_profile(workspace.profile_file).undo
    return f"{undo.answers} answers to {undo.prompts} prompts, rate {undo.lr:g}" if undo else ""


def bounded(found: Withstand, how: str = "") -> Withstood:
    """Return what of a study a policy may bound: refusals of the restored model."""

    def left(rates: SafetyRates) -> dict[str, object]:
        return {"refused": rates.harmful_refused, "unparsed": rates.harmful_unparsed}

    tuned = [
        Left.model_validate({"after": "harmless rows", "steps": point.steps, **left(point.rates)})
        for line in found.undoings
        if line.arm is Arm.RESTORED
        for point in line.points
        if point.steps
    ]
    ablated = [
        Left.model_validate({"after": "ablation", "steps": None, **left(one.after)})
        for one in found.ablations
        if one.arm is Arm.RESTORED
    ]
    return Withstood(
        adapter=found.adapter,
        data=found.data,
        judge=found.judges[Role.HARMFUL],
        confidence=found.confidence,
        left=(*tuned, *ablated),
        how=how,
    )
