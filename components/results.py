"""Which result each stage hands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.core.result import Result
from components.evaluate.result import Evidence
from components.gate.result import Decision
from components.models.result import Models
from components.prepare.result import PromptSet
from components.probe.result import Probe
from components.report.result import Report
from components.studies.baselines.result import Baselines
from components.studies.compare.result import Comparison
from components.studies.undo.result import Undo
from components.studies.withstand.result import Withstand
from components.train.result import Adapter

RESULTS: dict[str, type[Result]] = {
    "prepare": PromptSet,
    "models": Models,
    "probe": Probe,
    "train": Adapter,
    "evaluate": Evidence,
    "gate": Decision,
    "report": Report,
    "baselines": Baselines,
    "compare": Comparison,
    "undo": Undo,
    "withstand": Withstand,
}


def load_result(stage: str, folder: Path) -> Any:
    """Return the result of `stage` in `folder`."""
    return RESULTS[stage].load(folder)
