"""The pictures of the page, and what is seen in each for those who do not see it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from components.core.vocabulary import Role
from components.probe.result import Probe
from components.report.wording import listed, masking, number, percent

Picture = tuple[str, str]  # its data address, and what is seen in it


def pictures(folder: Path, probe: Probe) -> list[Picture]:
    """Return every SVG in `folder`, in the order in which the diagnosis is told.

    A drawing within an image element runs no script and loads nothing, whatever it holds.
    """
    found = {path.stem: path.read_bytes() for path in folder.glob("*.svg")}
    order = [*(name for name in _SEEN if name in found), *sorted(found.keys() - _SEEN.keys())]
    head = "data:image/svg+xml;base64,"
    return [
        (head + base64.b64encode(found[name]).decode(), _SEEN.get(name, _unknown)(probe))
        for name in order
    ]


def _auc(probe: Probe) -> str:
    parts = [
        f"{name}, {number(aucs[0])} at the first and {number(aucs[-1])} at the last layer"
        for name, aucs in {
            "base": [layer.auc_base.auc for layer in probe.layers if layer.auc_base],
            "post-trained": [
                layer.auc_post_trained.auc for layer in probe.layers if layer.auc_post_trained
            ],
        }.items()
        if aucs
    ]
    layers = ", ".join(str(layer) for layer in probe.target_layers)
    return (
        "Lines over the layers: AUC of a linear probe that tells harmful from benign prompts; "
        f"{'; '.join(parts) or 'not measured'}; chance is 0.5. Target layers: {layers}."
    )


def _drift(probe: Probe) -> str:
    drift = probe.layers[-1].drift or {}
    parts = [
        f"{role} {number(drift[role].cosine)} (CKA {number(drift[role].cka)})"
        for role in Role
        if role in drift
    ]
    return (
        "Lines over the layers: how far post-training turned the last prompt token’s state. At the "
        f"last layer, 1 − cosine: {', '.join(parts) or 'not measured'}."
    )


def _positions(_: Probe) -> str:
    return (
        "Lines over the tokens at the end of the prompt, of the thought and in the answer: the "
        "mean on the refusal direction, 0 as for benign and 1 as for harmful prompts, of harmful "
        "and benign prompts in both models. The figures are in positions.parquet."
    )


def _masking(probe: Probe) -> str:
    seen = masking(probe.masking) if probe.masking else "Not measured."
    return f"Six panels, how the base reads the post-trained model and what is refused. {seen}"


def _teachers(probe: Probe) -> str:
    each = [
        f"{one.teacher} refuses {percent(one.harmful_refused.rate)} of harmful and "
        f"{percent(one.benign_refused.rate)} of benign prompts and is coherent in "
        f"{percent(one.coherent.rate)}"
        for one in probe.teachers
    ]
    return f"Bars for each candidate teacher: {'; '.join(each)}. Chosen: {probe.teacher}."


def _masks(probe: Probe) -> str:
    shares = [
        f"{mask.projection} {percent(mask.removed / mask.top)}" for mask in probe.masks if mask.top
    ]
    return (
        "Squares by layer and projection: the share of the top reasoning weights that the masks "
        f"remove. Over all layers: {', '.join(shares) or 'none'}."
    )


def _pruning(probe: Probe) -> str:
    whole, *points = probe.pruning
    told = [f"{_refused_harmful(whole.harmful_refused.rate)} with nothing removed"]
    told += [
        f"{_refused_harmful(one.harmful_refused.rate)} without {percent(one.removed / one.weights)}"
        f" of the weights by {one.by}"
        for one in points
        if one.chosen
    ]
    return (
        "Three panels over the share of weights removed: refused harmful, refused benign, and "
        f"coherent answers. The model refuses {listed(told)}."
    )


def _refused_harmful(rate: float) -> str:
    return f"{percent(rate)} of harmful prompts"


def _unknown(_: Probe) -> str:
    return "A plot of the stage probe; its figures are in probe.json."


_SEEN: dict[str, Callable[[Probe], str]] = {
    "auc": _auc,
    "drift": _drift,
    "positions": _positions,
    "masking": _masking,
    "teachers": _teachers,
    "masks": _masks,
    "pruning": _pruning,
}
