"""Figures of masking that are made up: 40 prompts of each role."""

from __future__ import annotations

from components.probe.answers import rate
from components.probe.result import AucFigure, Intervention, Masking, MeanFigure, TransferFigure


def transfer(auc: float = 1.0, low: float = 0.94, chance: float = 0.8) -> TransferFigure:
    mean = MeanFigure(mean=0.5, low=0.4, high=0.6)
    figure = AucFigure(auc=auc, low=low, high=1)
    return TransferFigure(layer=2, auc=figure, chance=chance, harmful=mean, benign=mean)


def put_in(kind="patch", harmful=0, control=0, benign=0) -> Intervention:
    counts = {"harmful": harmful, "control": control, "benign": benign}
    rates = {name: rate(count, 40) for name, count in counts.items()}
    tokens, layer = ("last" if kind == "patch" else None), (None if kind == "begin" else 3)
    return Intervention(kind=kind, layer=layer, tokens=tokens, amount=1, **rates)


def masking(*interventions, alone=0, seen=None) -> Masking:
    return Masking(
        asked=rate(40, 40),
        alone=rate(alone, 40),
        transfer=(transfer(0.6, 0.5), seen or transfer()),
        interventions=interventions or (put_in(),),
    )
